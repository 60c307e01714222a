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
class Ray:
    """Jobs on a Ray cluster, as many at a time as it has CPUs for; docs/cluster.md has more."""

    _target_: str = f"{PLUGINS}.RayLauncher"
    address: str | None = None  # host:port | auto: the one that runs on this machine | null: one for this sweep, here
    num_cpus: int = 1  # of each job
    max_retries: int = 3  # of a job whose worker or node dies
    storage: str | None = None  # a folder that every node sees, with the sweep's; null: results come back as they are
    requirements: str | None = None  # a file that nodes install with pip; null: they have what is needed


@dataclass
class Grid:
    """Every combination of the values; the options are those of Hydra's own sweeper."""

    _target_: str = f"{PLUGINS}.GridSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


LAUNCHERS = {"basic": Serial, "serial": Serial, "joblib": Joblib, "ray": Ray}  # basic is Hydra's own default
GRIDS = {"basic": Grid}  # Hydra's own default
