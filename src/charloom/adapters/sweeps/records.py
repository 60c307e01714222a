"""What a sweep's folder says of each job: `<number>/job.json`, written by who supervises the job's process."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from charloom.adapters.files import artifacts
from charloom.adapters.files.formats import replacing, to_json

_NAME = "job.json"
LOG = "job.log"

Status = Literal["running", "finished", "failed", "pruned", "interrupted"]


@dataclass(frozen=True)
class Task:
    """A job that is to run: its number in the sweep, its overrides and the sweep's folder."""

    number: int
    overrides: tuple[str, ...]
    sweep: Path

    @property
    def folder(self) -> Path:
        """The job's own folder, which its process writes to."""
        return self.sweep / str(self.number)


@dataclass(frozen=True)
class JobRecord:
    """What became of a job. Times are in seconds since 1970; `exit_code` is as a shell has it, 128 + n for signal n.

    `log` has the last lines that a failed job printed.
    """

    number: int
    overrides: tuple[str, ...]
    status: Status
    started: float
    ended: float | None = None
    exit_code: int | None = None
    message: str = ""
    log: str = ""

    def write(self, folder: Path) -> None:
        """Write the record into the job's folder."""
        with replacing(folder / _NAME) as file:
            file.write((to_json(asdict(self), indent=2) + "\n").encode())


def read_record(folder: Path) -> JobRecord:
    """The record in a job's folder. Raises OSError and ValueError where there is none that can be read."""
    values = json.loads((folder / _NAME).read_text(encoding="utf-8"))
    return JobRecord(**values | {"overrides": tuple(values["overrides"])})


def records(sweep: Path) -> Iterator[tuple[Path, JobRecord]]:
    """The jobs' folders in the sweep's folder with their records, by number."""
    folders = (path.parent for path in sweep.glob(f"*/{_NAME}") if path.parent.name.isdecimal())
    for folder in sorted(folders, key=lambda folder: int(folder.name)):
        yield folder, read_record(folder)


def shaping(overrides: Iterable[str]) -> tuple[str, ...]:
    """The overrides that shape a job's result, in an order of their own: two jobs with the same have the same result.

    >>> shaping(["tracking=off", "seed=1", "model=gru"])
    ('model=gru', 'seed=1')
    """
    return tuple(sorted(text for text in overrides if not re.match(r"[+~]*(sweep|tracking|hydra)\b", text)))


def is_finished(folder: Path, record: JobRecord) -> bool:
    """Whether a job ended well and left its result."""
    return record.status == "finished" and artifacts.RESULT.path(folder / artifacts.RESULT.stage).is_file()
