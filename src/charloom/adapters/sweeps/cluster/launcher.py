"""The launcher of jobs on a Ray cluster: its options, checked, and the sweep from the connection to its end."""

import json
import os
import tempfile
from collections.abc import Generator, Iterable
from pathlib import Path

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from charloom.adapters.sweeps.cluster.connection import connected, require_address
from charloom.adapters.sweeps.cluster.jobs import Jobs
from charloom.adapters.sweeps.cluster.shipping import copy_code
from charloom.adapters.sweeps.launchers import JobLauncher
from charloom.adapters.sweeps.process import Prunes
from charloom.adapters.sweeps.records import JobRecord, Task
from charloom.adapters.tracking import ORIGIN, origin
from charloom.core.common.errors import ConfigError


class RayLauncher(JobLauncher):
    """Jobs on a Ray cluster, as many at a time as it has CPUs for."""

    def __init__(
        self, address: str | None, num_cpus: int, max_retries: int, storage: str | None, requirements: str | None
    ) -> None:
        """Take the options of conf's `hydra/launcher=ray`."""
        self.address, self.num_cpus, self.max_retries = address, num_cpus, max_retries
        self.storage = Path(storage).absolute() if storage else None
        self.requirements = requirements

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra knows. Raises ConfigError for options that cannot be."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        require_address(self.address)
        for key, value, least in (("num_cpus", self.num_cpus, 1), ("max_retries", self.max_retries, 0)):
            if value < least:
                raise ConfigError(f"hydra.launcher.{key} must be >= {least}, got {value}")
        for key, path in (("storage", self.storage), ("requirements", self.requirements)):
            if path is not None and not Path(path).exists():
                raise ConfigError(f"hydra.launcher.{key} must be there, got none at {str(path)!r}")
        if self.storage and not self.sweep.absolute().is_relative_to(self.storage):
            must = f"the sweep's folder must be in hydra.launcher.storage={self.storage}, got {self.sweep}"
            raise ConfigError(
                f"{must}; run in a project there, or add hydra.sweep.dir={self.storage / self.sweep.name}"
            )

    def run(self, tasks: Iterable[Task], prunes: Prunes | None = None) -> Generator[JobRecord]:
        """Run tasks on the cluster."""
        with tempfile.TemporaryDirectory(prefix="charloom-") as code:
            copy_code(Path(code))
            os.environ[ORIGIN] = json.dumps(origin())  # of the code as it is now, whenever a job starts
            with connected(self.address, Path(code), self.requirements):
                jobs = Jobs(prunes, cores=self.num_cpus, max_retries=self.max_retries, storage=self.storage)
                yield from jobs.run(tasks)
