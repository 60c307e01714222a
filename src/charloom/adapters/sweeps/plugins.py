"""Hydra's plugins of charloom, launchers and sweepers, by the names that Hydra knows them by."""

from hydra.core.plugins import Plugins

from charloom.adapters.configuration.launchers import PLUGINS
from charloom.adapters.sweeps.cluster import RayLauncher
from charloom.adapters.sweeps.launchers import LocalLauncher
from charloom.adapters.sweeps.sweeper import GridSweeper, OptunaSweeper


def register() -> None:
    """Make them known to Hydra, which finds their names and options in the configuration."""
    for plugin in (LocalLauncher, RayLauncher, GridSweeper, OptunaSweeper):
        plugin.__module__ = PLUGINS
        Plugins.instance().register(plugin)
