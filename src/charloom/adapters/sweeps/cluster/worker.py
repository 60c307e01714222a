"""A worker of Ray's that runs jobs, and whether the packages on its node are those of this machine.

The class of workers travels as a value: on a node that lacks what charloom needs, it can still say so.
"""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from charloom.core.common.errors import EnvironmentFault

PACKAGES = (
    *("numpy", "pydantic", "pyyaml", "threadpoolctl"),
    *("filelock", "hydra-core", "jinja2", "joblib", "matplotlib", "mlflow", "omegaconf", "psutil", "tqdm"),
)
"""What a job needs."""
_SHAPE_RESULTS = {"Python", "numpy"}  # in another version, they find other bytes


def versions() -> dict[str, str | None]:
    """The versions of Python and of what a job needs on this machine; None for what is missing."""
    found: dict[str, str | None] = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def differences(here: Mapping[str, str | None], there: Mapping[str, str | None], host: str) -> str | None:
    """In what a node differs, if it does.

    Raises EnvironmentFault where jobs could not run there, or would find other bytes.
    """
    differing = {name: there[name] for name in here if there[name] != here[name]}
    listed = ", ".join(f"{name} {found or 'missing'} in place of {here[name]}" for name, found in differing.items())
    if any(found is None or name in _SHAPE_RESULTS for name, found in differing.items()):
        advice = "install requirements.lock there, or set hydra.launcher.requirements=requirements.lock"
        raise EnvironmentFault(f"{host} must have the packages of this machine, got {listed}; {advice}")
    return f"{host} has {listed}" if differing else None


def worker_class() -> Any:
    """The class of workers, as Ray takes it."""
    import ray

    class Worker:
        """Runs one job at a time; the first call is `introduce`."""

        def introduce(self, names: list[str]) -> dict[str, Any]:
            """The node, its host's name and what it has of these packages."""
            import os
            import platform
            from importlib.metadata import PackageNotFoundError, version

            self._code = os.getcwd()  # Ray's copy of what travelled
            self._node = ray.get_runtime_context().get_node_id()
            found: dict[str, str | None] = {"Python": platform.python_version()}
            for name in names:
                try:
                    found[name] = version(name)
                except PackageNotFoundError:
                    found[name] = None
            return {"node": self._node, "host": platform.node(), "versions": found}

        def start(self, shipment: Any, contents: dict[str, Any]) -> Any:
            """Start a job, and return what is new of it."""
            from pathlib import Path

            from charloom.adapters.sweeps.cluster.node import NodeJob

            self._job = NodeJob(shipment, Path(self._code), self._node, lambda sha256: ray.get(contents[sha256]))
            return self._job.look(0.0)

        def look(self, seconds: float) -> Any:
            """What is new of the job; after this time at the latest."""
            return self._job.look(seconds)

        def stop(self) -> None:
            """End the job, which keeps its checkpoint."""
            self._job.stop()

        def clear(self) -> None:
            """Remove what the job left on the node."""
            self._job.clear()

    return ray.remote(Worker)
