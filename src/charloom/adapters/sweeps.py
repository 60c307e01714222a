"""What a sweep sums up: a row for each of its jobs, and MLflow's run above theirs.

The sweep and its jobs, which may run in processes of their own, meet in the sweep's folder: each job leaves in its own
what it found, or why it failed. Knows nothing about how a job is run.
"""

import csv
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from charloom.adapters.configuration import Config, load
from charloom.adapters.tracking import tracking
from charloom.core.common.errors import CharloomError

_PARENT = "CHARLOOM_SWEEP_RUN"  # in the environment, which every job's process inherits
_FAILURE = "failure.json"
_FIGURES = ("smooth_loss", "bits_per_char", "validation_nats_per_char")


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
def sweep(overrides: Sequence[str]) -> Iterator[Path]:
    """Open MLflow's run of a sweep, and sum the sweep up at its end, whatever that is.

    Yields the folder that the jobs' folders must lie in. Raises ConfigError for overrides that suit no job, SweepError
    where jobs failed.
    """
    config = load(overrides, multirun=True)
    assert config.out is not None
    folder = Path(config.out)
    parent = tracking.open_parent(config.tracking, f"sweep {folder.name}")
    os.environ[_PARENT] = parent or ""
    status: Literal["FINISHED", "FAILED", "KILLED"] = "KILLED"
    try:
        yield folder
        status = "FINISHED"
    finally:
        jobs = read_jobs(folder)
        failed = [job for job in jobs if job.error]
        if failed and status == "FINISHED":
            status = "FAILED"
        _write(folder, jobs)
        tracking.close_parent(config.tracking, parent, [job.row() for job in jobs], status=status)
        del os.environ[_PARENT]
    if failed:
        listed = "; ".join(f"job {job.number} ({' '.join(job.overrides)}): {job.error}" for job in failed)
        raise SweepError(f"{len(failed)} of {len(jobs)} jobs failed: {listed}", failed[0].exit_code)


def parent_run() -> str | None:
    """MLflow's run of the sweep that this job belongs to, if any."""
    return os.environ.get(_PARENT) or None


def note_failure(folder: Path, config: Config | None, error: CharloomError) -> None:
    """Leave a job's failure in its folder, and in MLflow as a failed run: the sweep goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    failure = {"error": str(error), "exit_code": error.exit_code}
    (folder / _FAILURE).write_text(json.dumps(failure, indent=2) + "\n", encoding="utf-8")
    if config is not None:
        tracking.record_failure(config, str(error), parent=parent_run())


def read_jobs(folder: Path) -> list[Job]:
    """The jobs that have left something in the sweep's folder, by their numbers."""
    return sorted(
        (_read_job(path.parent.parent) for path in folder.glob("*/.hydra/overrides.yaml")), key=lambda j: j.number
    )


def _read_job(folder: Path) -> Job:
    overrides = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text(encoding="utf-8"))
    number = int(folder.name)
    if (folder / _FAILURE).exists():
        return Job(number, overrides, {}, **json.loads((folder / _FAILURE).read_text(encoding="utf-8")))
    if not (folder / "track" / "result.json").exists():
        return Job(number, overrides, {}, "ended before its result", 1)
    metrics = json.loads((folder / "train" / "metrics.json").read_text(encoding="utf-8"))
    return Job(number, overrides, {name: metrics[name] for name in _FIGURES if metrics[name] is not None})


def _write(folder: Path, jobs: Sequence[Job]) -> None:
    """The summary as sweep.csv in the sweep's folder and as a table on the terminal, best first."""
    if not jobs:
        return
    columns = list(dict.fromkeys(column for job in jobs for column in job.row()))
    with (folder / "sweep.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, columns, lineterminator="\n")
        rows.writeheader()
        rows.writerows(job.row() for job in jobs)
    print(f"{'job':>4}  {'smooth loss':>11}  {'bits/char':>9}  {'validation':>10}  overrides", file=sys.stderr)
    for job in sorted(jobs, key=lambda job: job.figures.get("smooth_loss", math.inf)):
        figures = (job.figures.get(name) for name in _FIGURES)
        texts = (
            f"{'-' if value is None else format(value, '.3f'):>{n}}"
            for value, n in zip(figures, (11, 9, 10), strict=True)
        )
        print(f"{job.number:>4}  {'  '.join(texts)}  {' '.join(job.overrides)}  {job.error}".rstrip(), file=sys.stderr)
    print(f"summary in {folder / 'sweep.csv'}", file=sys.stderr)
