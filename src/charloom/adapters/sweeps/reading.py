"""What a sweep's folder says of its jobs, read from local files alone, at any time: while it runs and after a kill."""

import fcntl
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charloom.adapters.configuration.saved import composed
from charloom.adapters.configuration.schema import KEYS
from charloom.adapters.files import artifacts
from charloom.adapters.sweeps.folder import LOCK as SWEEP_LOCK
from charloom.adapters.sweeps.jobs import Job, key_of
from charloom.adapters.sweeps.objectives import read_figures
from charloom.adapters.sweeps.records import LOG, JobRecord, is_finished, records
from charloom.adapters.tracking import FOLDER
from charloom.adapters.tracking.journal import read as read_journal
from charloom.core.common.errors import ConfigError, StateError


@dataclass(frozen=True)
class Point:
    """What is known of a training at a step: losses in nats per character, None where one is not measured."""

    step: int
    training: float | None
    validation: float | None


def read_jobs(sweep: Path) -> list[Job]:
    """The jobs in a sweep's folder, by number.

    Raises ConfigError where it is no such folder, and StateError where what it says of a job cannot be read.
    """
    try:
        found = [_read_job(folder, record) for folder, record in records(sweep)]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StateError(f"{sweep} must have a job.json for each job that can be read, got {error}") from None
    if not found:
        must = f"{sweep} must be the folder of a sweep, such as multirun/2026-11-28/12-00-00-4711"
        raise ConfigError(f"{must}, got one without jobs")
    return found


def read_history(sweep: Path, job: Job) -> list[Point]:
    """The history of a job's training, or what its journal has of it to date; empty where nothing is known."""
    folder, seq_length = sweep / str(job.number), job.parameters.get("train.seq_length")
    rows: list[dict[str, Any]] = []
    with suppress(StateError):
        rows = [vars(row) for row in artifacts.HISTORY.read(folder)]
    return [
        Point(
            row["step"],
            row["smooth_loss"] / seq_length if seq_length and row["smooth_loss"] is not None else None,
            row["validation_nats_per_char"],
        )
        for row in rows or (event for event, _ in read_journal(folder / FOLDER) if event["event"] == "row")
    ]


def read_sample(sweep: Path, job: Job) -> str:
    """What the network of a job wrote at the end of its training, or an empty text."""
    with suppress(StateError):
        samples = artifacts.SAMPLES.read(sweep / str(job.number))
        return samples[-1].text if samples else ""
    return ""


def _read_job(folder: Path, record: JobRecord) -> Job:
    status, reason, exit_code, figures = record.status, record.message, record.exit_code or 0, dict[str, float]()
    if status == "finished":
        try:
            if not is_finished(folder, record):
                raise StateError("its result is gone; resume the sweep")
            figures = read_figures(folder)
        except StateError as error:
            status, reason, exit_code = "failed", str(error), error.exit_code
    if status == "running" and not _is_held(folder / LOG) and not _is_held(folder.parent / SWEEP_LOCK):
        status, reason = "interrupted", "its sweep was killed"
    seconds = None if record.ended is None else record.ended - record.started
    parameters = _parameters(folder, record)
    return Job(record.number, record.overrides, status, parameters, figures, reason, exit_code, seconds)


def _is_held(path: Path) -> bool:
    """Whether a process holds the lock on a file: a job does on its log, and a sweep on its folder's."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _parameters(folder: Path, record: JobRecord) -> dict[str, Any]:
    """The parameters of a job: as its stages recorded them, as Hydra composed them, or what its overrides say."""
    found: dict[str, Any] = {}
    for stage in ("train", *artifacts.PARAMETERS):
        with suppress(StateError):
            found = artifacts.PARAMETERS[stage].read(folder) | found
    found = composed(folder) | found
    if not found:
        typed = ((key_of(override), override.partition("=")[2]) for override in record.overrides)
        found = {key: _parsed(text) for key, text in typed if key in KEYS}
    shaping = {key: value for key, value in found.items() if key.partition(".")[0] not in ("tracking", "sweep")}
    return {key: _plain(shaping[key]) for key in KEYS if key in shaping}


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _plain(value: object) -> object:
    """The value, or its text where it is none that a parameter has: of a job that was refused."""
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
