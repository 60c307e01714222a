"""Hydra's sweepers: for grids, its own; for searches, what a study asks for, run by the launcher."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from charloom.adapters.configuration.search import read_search
from charloom.adapters.sweeps import folder
from charloom.adapters.sweeps.launchers import JobLauncher
from charloom.adapters.sweeps.terminal import JobProgress


class _JobSweeper(Sweeper):
    """What both have in common."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take the configuration that all jobs have in common, and the launcher that it names."""
        self._config, self._loader = config, hydra_context.config_loader
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        assert isinstance(launcher, JobLauncher)
        self._launcher = launcher


class GridSweeper(_JobSweeper):
    """Every combination of values, as Hydra's own sweeper makes them; its options are `configuration.launchers.Grid`.

    Hydra's own composes each job in advance, which takes ten seconds for a hundred. A job's process composes it anyway.
    """

    def __init__(self, max_batch_size: int | None, params: Mapping[str, str] | None) -> None:
        """Run so many jobs in one batch; `params` are swept besides the command line's."""
        self._max_batch_size, self._params = max_batch_size, params or {}

    def sweep(self, arguments: list[str]) -> None:
        """Run the jobs that these overrides describe, to their ends."""
        OmegaConf.save(self._config, Path(self._config.hydra.sweep.dir) / "multirun.yaml")
        texts = [*(f"{key}={value}" for key, value in self._params.items()), *arguments]
        overrides, first = OverridesParser.create(config_loader=self._loader).parse_overrides(texts), 0
        for batch in BasicSweeper.split_arguments(overrides, self._max_batch_size):
            self._launcher.launch(batch, initial_job_idx=first)
            first += len(batch)


class OptunaSweeper(_JobSweeper):
    """A search with Optuna; its options are those of `configuration.search.Optuna`."""

    def __init__(self, **options: Any) -> None:
        """Take the options, which are checked once the space is known."""
        self._options = options

    def sweep(self, arguments: list[str]) -> None:
        """Run the search that the options and these overrides describe, to its end."""
        from charloom.adapters.sweeps.trials import Trials  # and Optuna with it: half a second

        config, sweep = self._config, Path(self._config.hydra.sweep.dir)
        OmegaConf.save(config, sweep / "multirun.yaml")
        search = read_search(self._options, arguments)
        options = {"validate_every": config.train.validate_every, "steps": config.train.steps}
        trials = Trials(sweep, search, config.sweep.objective, **options)
        folder.expect(sweep, search.jobs)
        with (
            JobProgress(sweep, search.jobs, search.common, config.sweep.objective, done=trials.done) as progress,
            closing(self._launcher.run(trials.tasks(), trials.prunes)) as records,
        ):
            for record in records:
                trials.note(record)
                progress.tell(record)
