"""Hydra's launchers: where a sweep's jobs run, and how many at a time."""

import os
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from charloom.adapters.sweeps import folder
from charloom.adapters.sweeps.process import Prunes, Supervisor
from charloom.adapters.sweeps.records import JobRecord, Task
from charloom.adapters.sweeps.terminal import JobProgress, common


class JobLauncher(Launcher):
    """What all launchers have in common; a subclass runs tasks."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra knows: the sweep's folder. A job's process composes its own configuration."""
        self.sweep = Path(config.hydra.sweep.dir)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs to their ends; a failure is in a job's record, and no exception."""
        tasks = folder.tasks(self.sweep, job_overrides, initial_job_idx)
        folder.expect(self.sweep, initial_job_idx + len(tasks))
        waiting = [task for task in tasks if not folder.is_done(task)]
        if len(waiting) < len(tasks):
            print(f"{len(tasks) - len(waiting)} of {len(tasks)} jobs have their results already", file=sys.stderr)
        shared, objective = common(task.overrides for task in tasks), folder.read(self.sweep)["objective"]
        with (
            JobProgress(self.sweep, len(tasks), shared, objective, done=len(tasks) - len(waiting)) as progress,
            closing(self.run(waiting)) as ended,
        ):
            for record in ended:
                progress.tell(record)
        return [JobReturn(overrides=task.overrides, status=JobStatus.COMPLETED, _return_value=None) for task in tasks]

    def run(self, tasks: Iterable[Task], prunes: Prunes | None = None) -> Generator[JobRecord]:
        """Run tasks, taken from the iterable as there is room for them, and yield each one's record once it has ended.

        A running job for which `prunes` gives a reason is ended. When the generator is closed, or an exception passes
        through it, all jobs are ended.
        """
        raise NotImplementedError


class LocalLauncher(JobLauncher):
    """Jobs on this machine, `n_jobs` at a time; as in joblib, -1 stands for as many as there are cores."""

    def __init__(self, n_jobs: int) -> None:
        """Run `n_jobs` at a time."""
        self.n_jobs = n_jobs

    def run(self, tasks: Iterable[Task], prunes: Prunes | None = None) -> Generator[JobRecord]:
        """Run tasks as processes, each supervised by a thread."""
        from joblib import Parallel, delayed, effective_n_jobs

        workers = effective_n_jobs(self.n_jobs)
        supervisor = Supervisor(max(len(os.sched_getaffinity(0)) // workers, 1), prunes)
        # A job is dispatched when a thread is free for it.
        parallel = Parallel(
            workers, backend="threading", return_as="generator_unordered", batch_size=1, pre_dispatch=workers
        )
        try:
            yield from parallel(delayed(supervisor.run)(task) for task in tasks)
        finally:
            supervisor.stop()
