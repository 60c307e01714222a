"""Hydra's sweeper for searches: what a study asks for, run by the launcher."""

from contextlib import closing
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from charloom.adapters.configuration.search import read_search
from charloom.adapters.sweeps import folder
from charloom.adapters.sweeps.launchers import JobLauncher
from charloom.adapters.sweeps.terminal import JobProgress


class OptunaSweeper(Sweeper):
    """A search with Optuna; its options are those of `configuration.search.Optuna`."""

    def __init__(self, **options: Any) -> None:
        """Take the options, which are checked once the space is known."""
        self._options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take the configuration that all jobs have in common, and the launcher that it names."""
        self._config = config
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        assert isinstance(launcher, JobLauncher)
        self._launcher = launcher

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
