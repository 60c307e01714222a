"""The options of `hydra/launcher`, by name; the classes that they name are in `adapters.sweeps`."""

from dataclasses import dataclass

PLUGINS = "hydra_plugins._charloom"  # the module in which Hydra looks for the launchers
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


LAUNCHERS = {"basic": Serial, "serial": Serial, "joblib": Joblib}  # basic is Hydra's own default
