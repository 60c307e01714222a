"""The options of `hydra/launcher`, and those of `hydra/sweeper` for a grid; what they name is in `adapters.sweeps`."""

from dataclasses import dataclass

PLUGINS = "hydra_plugins._charloom"  # the module in which Hydra looks for launchers and sweepers
_LOCAL = f"{PLUGINS}.LocalLauncher"


@dataclass
class Serial:
    """One job at a time."""

    _target_: str = _LOCAL
    n_jobs: int = 1


@dataclass
class Joblib:
    """Several jobs at a time on this machine; -1: as many as there are cores."""

    _target_: str = _LOCAL
    n_jobs: int = -1


@dataclass
class Grid:
    """Every combination of the values; the options are those of Hydra's own sweeper."""

    _target_: str = f"{PLUGINS}.GridSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


LAUNCHERS = {"basic": Serial, "serial": Serial, "joblib": Joblib}  # basic is Hydra's own default
GRIDS = {"basic": Grid}  # Hydra's own default
