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
from charloom.adapters.sweeps.reading import read_jobs
from charloom.adapters.sweeps.records import LOG, Task, records
from charloom.adapters.sweeps.summary import summarize
from charloom.adapters.tracking import SWEEP


def draw_best(sweep: Path, config: Config) -> None:
    """Draw for the best job of a sweep, where that is asked for, and record the result anew with what is drawn."""
    if config.sweep.plot != "best" or not any(records(sweep)):
        return
    job = summarize(read_jobs(sweep), Objective.named(config.sweep.objective)).best_job
    if job is None or artifacts.REPORT.name in artifacts.RESULT.read(sweep / str(job.number)).files:
        return
    for stage in ("plot", "track"):
        if not _run(stage, Task(job.number, job.overrides, sweep)):
            log = sweep / str(job.number) / LOG
            print(f"charloom: warning: the best job has no figures; {log} says why", file=sys.stderr)
            return


def _run(stage: str, task: Task) -> bool:
    """Run a stage on a job's result, as a process, and tell whether it went well."""
    where = [override("inp", str(task.folder)), override("out", str(task.folder / stage))]
    environment = os.environ | {SWEEP: str(task.sweep), "CHARLOOM_PARENT": str(os.getpid())}
    with (task.folder / LOG).open("ab") as log:
        command = [sys.executable, "-m", f"charloom.stages.{stage}", *task.overrides, *where]
        return not subprocess.call(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
