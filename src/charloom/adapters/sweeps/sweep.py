"""A sweep from its first job to its summary: what became of each job, in the sweep's folder and in MLflow.

The sweep and its jobs, which run in processes of their own, meet in the sweep's folder: each job leaves its result
there, in a folder of its own, beside a record of what became of it. In MLflow, a run stands above the runs of the jobs;
where MLflow cannot be written to, that is a warning, and the sweep goes on. Knows nothing about how a job is run.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from charloom.adapters.configuration import Config
from charloom.adapters.sweeps.drawing import draw_best
from charloom.adapters.sweeps.folder import command, find, held
from charloom.adapters.sweeps.parent import note_summary
from charloom.adapters.sweeps.records import records
from charloom.adapters.sweeps.summary import lines
from charloom.adapters.sweeps.terminal import failures
from charloom.adapters.sweeps.writing import PAGE, write_summary
from charloom.adapters.tracking import Journal, live_sweep
from charloom.core.common.errors import CharloomError
from charloom.core.common.formatting import in_one_line


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
                    found = [record for _, record in records(folder)]
                    if found:
                        _sum_up(folder, config.sweep.objective, journal)
                    for line in failures(found):
                        print(line, file=sys.stderr)
                if failed := [record for record in found if record.status not in ("finished", "pruned")]:
                    first = failed[0]
                    why = f"job {first.number} ({' '.join(first.overrides)}): {first.message or first.status}"
                    told = f"{len(failed)} of {len(found)} jobs failed, the first: {why}"
                    raise SweepError(told, first.exit_code or 1)
        except BaseException:
            print(f"to run what has no result yet: {command(folder, overrides)}", file=sys.stderr)
            raise


def _sum_up(folder: Path, objective: str, journal: Journal | None) -> None:
    """Write, print and note the summary; where that is impossible, say so: the jobs are what they are."""
    try:
        summary = write_summary(folder, objective)
    except (CharloomError, OSError) as error:
        print(f"charloom: warning: there is no summary: {in_one_line(str(error))}", file=sys.stderr)
        return
    print(*lines(summary), f"page: {folder / PAGE}", sep="\n", file=sys.stderr)
    note_summary(journal, summary, folder)
