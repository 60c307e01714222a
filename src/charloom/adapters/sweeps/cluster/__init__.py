"""A sweep's jobs on the nodes of a Ray cluster: they take what they need with them, and what they write comes back."""

from charloom.adapters.sweeps.cluster.launcher import RayLauncher

__all__ = ["RayLauncher"]
