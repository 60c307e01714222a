"""The figures, the report and the explorer of a sweep's best job, drawn at the sweep's end.

They take more time than a small training, so that only the job whose pages are looked at has them.
"""

import os
import subprocess
import sys
from pathlib import Path

from charloom.adapters.configuration import Config, override
from charloom.adapters.files import artifacts
from charloom.adapters.sweeps.objectives import Objective
from charloom.adapters.sweeps.records import LOG, JobRecord, is_finished, records
from charloom.adapters.tracking import SWEEP


def draw_best(sweep: Path, config: Config) -> None:
    """Draw for the best job of a sweep, where that is asked for, and record the result anew with what is drawn."""
    finished = [(folder, record) for folder, record in records(sweep) if is_finished(folder, record)]
    if config.sweep.plot != "best" or not finished:
        return
    objective = Objective.named(config.sweep.objective)
    folder, record = min(finished, key=lambda found: objective.read_or_training(found[0]))
    if artifacts.REPORT.name in artifacts.RESULT.read(folder).files:
        return
    for stage in ("plot", "track"):
        if not _run(stage, sweep, folder, record):
            print(f"charloom: warning: the best job has no figures; {folder / LOG} says why", file=sys.stderr)
            return


def _run(stage: str, sweep: Path, folder: Path, record: JobRecord) -> bool:
    """Run a stage on a job's result, as a process, and tell whether it went well."""
    where = [override("inp", str(folder)), override("out", str(folder / stage))]
    environment = os.environ | {SWEEP: str(sweep), "CHARLOOM_PARENT": str(os.getpid())}
    with (folder / LOG).open("ab") as log:
        command = [sys.executable, "-m", f"charloom.stages.{stage}", *record.overrides, *where]
        return not subprocess.call(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
