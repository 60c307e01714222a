"""Where Hydra finds charloom's launchers and sweepers: it takes plugins of the package `hydra_plugins` alone.

The underscore keeps Hydra from importing this whenever it starts; a sweep registers them itself.
"""

from charloom.adapters.sweeps.cluster import RayLauncher
from charloom.adapters.sweeps.launchers import LocalLauncher
from charloom.adapters.sweeps.sweeper import GridSweeper, OptunaSweeper

__all__ = ["GridSweeper", "LocalLauncher", "OptunaSweeper", "RayLauncher"]
