"""A sweep from its first job to its summary: what became of each job, in the sweep's folder and in MLflow.

The sweep and its jobs, which may run in processes of their own, meet in the sweep's folder: each job leaves its result
there, in a folder of its own, or why it failed. In MLflow, a run stands above the runs of the jobs; where MLflow cannot
be written to, that is a warning, and the sweep goes on. Knows nothing about how a job is run.
"""

import csv
import json
import logging
import math
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from charloom.adapters.configuration import Config, TrackingConfig
from charloom.adapters.files import artifacts
from charloom.adapters.files.formats import replacing, to_json
from charloom.adapters.tracking.payload import NOTE_TAG, as_text, model_name, parameter_texts
from charloom.adapters.tracking.runs import create_run, ended_run, send_parameters, send_table
from charloom.adapters.tracking.store import Store, opened
from charloom.core.common.errors import CharloomError, EnvironmentFault
from charloom.core.common.formatting import in_one_line

_PARENT = "CHARLOOM_SWEEP_RUN"  # in the environment, which every job's process inherits
_PROCESS_TAG = "charloom.process"  # that runs the sweep
_MAX_TAG = 5000  # characters that MLflow takes in a tag's value
_FAILURE = "failure.json"
_FIGURES = ("smooth_loss", "bits_per_char", "validation_nats_per_char")
_LINE = "{:>4}  {:>11}  {:>9}  {:>10}  {}"  # of the table on the terminal


class SweepError(CharloomError):
    """Some of a sweep's jobs failed; its exit code is the first failed job's."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Job:
    """A job of a sweep: its number, its overrides, and its figures or its failure."""

    number: int
    overrides: list[str]
    figures: dict[str, float]
    error: str = ""
    exit_code: int = 0

    def row(self) -> dict[str, Any]:
        """The job as a row of the summary."""
        values = dict(override.partition("=")[::2] for override in self.overrides)
        return {"job": self.number, **values, **self.figures, "error": self.error}


@contextmanager
def sweep(config: Config) -> Iterator[Path]:
    """Open MLflow's run of a sweep, and write the summary at the sweep's end, however it ends.

    `config` is what all its jobs have in common. Yields the folder for the jobs' folders. Raises SweepError where jobs
    failed.
    """
    folder = Path(config.out)
    parent = open_parent(config.tracking, f"sweep {folder.name}")
    os.environ[_PARENT] = parent or ""
    status = "KILLED"
    try:
        yield folder
        status = "FINISHED"
    finally:
        found = (_read_job(path.parents[1]) for path in folder.glob("*/.hydra/overrides.yaml"))
        jobs = sorted(found, key=lambda job: job.number)
        failed = [job for job in jobs if job.error]
        if failed and status == "FINISHED":
            status = "FAILED"
        _write(folder, jobs)
        close_parent(config.tracking, parent, [job.row() for job in jobs], status=status)
        del os.environ[_PARENT]
    if failed:
        listed = "; ".join(f"job {job.number} ({' '.join(job.overrides)}): {job.error}" for job in failed)
        raise SweepError(f"{len(failed)} of {len(jobs)} jobs failed: {listed}", failed[0].exit_code)


def parent_run() -> str | None:
    """MLflow's run of the sweep that this job belongs to, if any."""
    return os.environ.get(_PARENT) or None


def note_failure(folder: Path, config: Config | None, error: CharloomError) -> None:
    """Leave a job's failure in its folder, and in MLflow as a failed run: the sweep goes on."""
    failure = {"error": str(error), "exit_code": error.exit_code}
    with replacing(folder / _FAILURE) as file:
        file.write((to_json(failure, indent=2) + "\n").encode())
    if config is not None:
        record_failure(config, str(error), parent=parent_run())


def open_parent(tracking: TrackingConfig, name: str) -> str | None:
    """Make the run that the runs of a sweep go under, and leave it open; end those whose sweep was killed.

    Its id, for `close_parent` and for the runs below it; None where there is none, because tracking is off or
    MLflow cannot be written to.
    """
    if tracking.mode == "off":
        return None
    run_id = None
    with _only_warning(), opened(tracking, "the sweep goes on without a run above its runs") as store:
        _end_killed_sweeps(store)
        run_id = create_run(store, name, {"charloom.sweep": "true", _PROCESS_TAG: _identify(os.getpid())})
    return run_id


def record_failure(config: Config, message: str, *, parent: str | None = None) -> None:
    """Make a failed run of a job that ended in an error, with `message` in the tag `charloom.error`."""
    if config.tracking.mode == "off":
        return
    note = f"    {in_one_line(message)}"  # indented: of code, Markdown shows every character
    tags = {"charloom.error": message[:_MAX_TAG], NOTE_TAG: note[:_MAX_TAG]}
    with _only_warning(), opened(config.tracking, "the failed job is not in MLflow") as store:
        run_id = create_run(store, f"{model_name(config)}, failed", tags, parent)
        with ended_run(store, run_id, "FAILED"):
            send_parameters(store.client, run_id, parameter_texts(config))


def close_parent(
    tracking: TrackingConfig, run_id: str | None, rows: Sequence[Mapping[str, Any]], *, status: str = "FINISHED"
) -> None:
    """End a sweep's run with a table of its jobs, `sweep.json`, a row for each: number, overrides, figures.

    The lowest smooth loss becomes the metric `best/smooth_loss`, and its row the run's description.
    """
    if run_id is None:
        return
    finite = [row for row in rows if math.isfinite(row.get("smooth_loss", math.inf))]
    hint = "the sweep's runs are there, its summary is not"
    with _only_warning(), opened(tracking, hint) as store, ended_run(store, run_id, status):
        send_table(store.client, run_id, rows, "sweep.json")
        if finite:
            best = min(finite, key=lambda row: float(row["smooth_loss"]))
            store.client.log_metric(run_id, "best/smooth_loss", best["smooth_loss"], synchronous=True)
            note = ", ".join(f"{column} {as_text(value)}" for column, value in best.items())
            store.client.set_tag(run_id, NOTE_TAG, f"Best: {note}", synchronous=True)


@contextmanager
def _only_warning() -> Iterator[None]:
    """Warn of an EnvironmentFault instead of raising it."""
    try:
        yield
    except EnvironmentFault as error:
        logging.getLogger(__name__).warning("%s", in_one_line(str(error)))


def _end_killed_sweeps(store: Store) -> None:
    """End the runs of this machine's sweeps that were left open by a process which is gone."""
    running = f"attributes.status = 'RUNNING' and tags.`{_PROCESS_TAG}` != ''"
    for run in store.client.search_runs([store.experiment_id], running):
        identity = run.data.tags[_PROCESS_TAG]
        host, pid, _ = identity.rsplit(" ", 2)
        if host == platform.node() and _identify(int(pid)) != identity:
            store.client.set_terminated(run.info.run_id, "KILLED")


def _identify(pid: int) -> str:
    """The machine's name, the id of a process and its start, if there is one: no other process has the same."""
    try:
        start = f"{psutil.Process(pid).create_time():.2f}"
    except psutil.NoSuchProcess:
        start = "none"
    return f"{platform.node()} {pid} {start}"


def _read_job(folder: Path) -> Job:
    overrides = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text(encoding="utf-8"))
    number = int(folder.name)
    if (folder / _FAILURE).exists():
        return Job(number, overrides, {}, **json.loads((folder / _FAILURE).read_text(encoding="utf-8")))
    if not (folder / artifacts.RESULT.name).exists():
        return Job(number, overrides, {}, "ended before its result", 1)
    metrics = vars(artifacts.METRICS.read(folder))
    return Job(number, overrides, {name: metrics[name] for name in _FIGURES if metrics[name] is not None})


def _write(folder: Path, jobs: Sequence[Job]) -> None:
    """The summary as sweep.csv in the sweep's folder and as a table on the terminal, best first."""
    if not jobs:
        return
    with (folder / "sweep.csv").open("w", newline="", encoding="utf-8") as file:
        columns = dict.fromkeys(column for job in jobs for column in job.row())
        rows = csv.DictWriter(file, list(columns), lineterminator="\n")
        rows.writeheader()
        rows.writerows(job.row() for job in jobs)
    print(_LINE.format("job", "smooth loss", "bits/char", "validation", "overrides"), file=sys.stderr)
    for job in sorted(jobs, key=lambda job: job.figures.get("smooth_loss", math.inf)):
        figures = (f"{job.figures[name]:.3f}" if name in job.figures else "-" for name in _FIGURES)
        line = _LINE.format(job.number, *figures, f"{' '.join(job.overrides)}  {job.error}")
        print(in_one_line(line.rstrip()), file=sys.stderr)
    print(f"summary in {folder / 'sweep.csv'}", file=sys.stderr)
