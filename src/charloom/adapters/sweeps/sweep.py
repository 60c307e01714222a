"""A sweep from its first job to its summary: what became of each job, in the sweep's folder and in MLflow.

The sweep and its jobs, which run in processes of their own, meet in the sweep's folder: each job leaves its result
there, in a folder of its own, beside a record of what became of it. In
MLflow, a run stands above the runs of the jobs; where MLflow cannot be written to, that is a warning, and the sweep
goes on. Knows nothing about how a job is run.
"""

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from charloom.adapters.configuration import Config
from charloom.adapters.files import artifacts
from charloom.adapters.sweeps.drawing import draw_best
from charloom.adapters.sweeps.folder import command, find, held
from charloom.adapters.sweeps.jobs import FIGURES, Job, configurations, table
from charloom.adapters.sweeps.parent import note_jobs
from charloom.adapters.sweeps.records import JobRecord, is_finished, records
from charloom.adapters.sweeps.terminal import failures
from charloom.adapters.tracking import live_sweep
from charloom.core.common.errors import CharloomError


class SweepError(CharloomError):
    """Some of a sweep's jobs failed; its exit code is the first failed job's."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@contextmanager
def sweep(config: Config, overrides: Sequence[str]) -> Iterator[Path]:
    """Open MLflow's run of a sweep, and write the summary at the sweep's end, however it ends.

    `config` is what all its jobs have in common, and `overrides` is the command line. Yields the folder for the jobs'
    folders, which may hold those of a sweep that is taken up again. Raises SweepError where jobs failed.
    """
    folder = find(config, overrides)
    with held(folder, config, overrides):
        try:
            with live_sweep(config.tracking, folder) as journal:
                try:
                    yield folder
                    draw_best(folder, config)
                finally:
                    found = list(records(folder))
                    jobs = [_read_job(path, record) for path, record in found]
                    _write(folder, jobs)
                    for line in failures([record for _, record in found]):
                        print(line, file=sys.stderr)
                    note_jobs(journal, jobs)
                if failed := [job for job in jobs if job.error]:
                    first = f"job {failed[0].number} ({' '.join(failed[0].overrides)}): {failed[0].error}"
                    raise SweepError(
                        f"{len(failed)} of {len(jobs)} jobs failed, the first: {first}", failed[0].exit_code
                    )
        except BaseException:
            print(f"to run what has no result yet: {command(folder, overrides)}", file=sys.stderr)
            raise


def _read_job(folder: Path, record: JobRecord) -> Job:
    if record.status == "pruned":
        return Job(record.number, list(record.overrides), {})
    if not is_finished(folder, record):
        message = record.message or "ended before its result"
        return Job(record.number, list(record.overrides), {}, message, record.exit_code or 1)
    metrics = vars(artifacts.METRICS.read(folder))
    figures = {name: metrics[name] for name in FIGURES if metrics[name] is not None}
    return Job(record.number, list(record.overrides), figures)


def _write(folder: Path, jobs: Sequence[Job]) -> None:
    """The jobs as sweep.csv, the configurations as summary.csv and, best first, as a table on the terminal."""
    if not jobs:
        return
    found = configurations(jobs)
    _write_csv(folder / "sweep.csv", [job.row() for job in jobs])
    _write_csv(folder / "summary.csv", [configuration.row() for configuration in found])
    print(*table(found), f"summary in {folder / 'summary.csv'}", sep="\n", file=sys.stderr)


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as a file; where a row lacks a column, its cell is empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(
            file, list(dict.fromkeys(column for row in rows for column in row)), lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)
