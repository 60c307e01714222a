"""Where Hydra finds charloom's launchers: it takes plugins of the package `hydra_plugins` alone.

The underscore keeps Hydra from importing this whenever it starts; a sweep registers the launchers itself.
"""

from charloom.adapters.sweeps.launchers import LocalLauncher

__all__ = ["LocalLauncher"]
