"""What the terminal shows of a sweep: a line for each job that has ended, a bar, and a table of what failed."""

import sys
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from charloom.adapters.progress import job_bar
from charloom.adapters.sweeps.objectives import Objective
from charloom.adapters.sweeps.records import JobRecord
from charloom.core.common.errors import CharloomError
from charloom.core.common.formatting import in_one_line

_LINE = "{:>5}  {:11}  {:>10}  {:>7}  {}"
_FAILED = "{:>5}  {:>4}  {}"


class JobProgress:
    """A context in which jobs end: a line for each, above a bar where standard error is a terminal."""

    def __init__(self, sweep: Path, jobs: int, common: Container[str], objective: str, *, done: int = 0) -> None:
        """Of the `jobs`, so many are done. A line has the `objective` and the overrides that are not `common`."""
        self._objective = Objective.named(objective)
        self._sweep, self._common = sweep, common
        self._told = False
        self._bar = job_bar(jobs, done=done)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._bar.close()

    def tell(self, record: JobRecord) -> None:
        """Show what became of a job."""
        if not self._told:
            self._write(_LINE.format("job", "status", f"{self._objective.unit}/char", "seconds", "overrides"))
            self._told = True
        seconds = "-" if record.ended is None else f"{record.ended - record.started:.1f}"
        own = _own(record.overrides, self._common)
        self._write(_LINE.format(record.number, record.status, self._figure(record), seconds, own))
        self._bar.update()

    def _figure(self, record: JobRecord) -> str:
        """The objective of a job that has a result, or its training loss where nothing was validated."""
        if record.status == "finished":
            with suppress(CharloomError):
                return f"{self._objective.read_or_training(self._sweep / str(record.number)):.4f}"
        return "-"

    def _write(self, line: str) -> None:
        self._bar.write(in_one_line(line.rstrip()), file=sys.stderr)


def failures(records: Sequence[JobRecord]) -> Iterator[str]:
    """The lines of a table of the jobs that failed, and why; none where none did."""
    shared = common(record.overrides for record in records)
    failed = [record for record in records if record.status == "failed"]
    if failed:
        yield "Jobs that failed; the folder of each has its job.log"
        yield _FAILED.format("job", "exit", "overrides: why")
    for record in failed:
        why = f"{_own(record.overrides, shared)}: {record.message}"
        yield in_one_line(_FAILED.format(record.number, record.exit_code, why))


def common(overrides: Iterable[Sequence[str]]) -> set[str]:
    """The overrides that all of several jobs have."""
    every = [set(job) for job in overrides]
    return set.intersection(*every) if len(every) > 1 else set()


def _own(overrides: Sequence[str], common: Container[str]) -> str:
    """The overrides of a job that not all of its sweep have."""
    return " ".join(text for text in overrides if text not in common)
