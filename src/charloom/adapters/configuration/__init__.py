"""The configuration: composed by Hydra, checked once against the schema, handed on as typed values.

What needs Hydra is imported when it is first used: the schema and its checks are also those of a program that imports
charloom, where Hydra need not be installed.
"""

from typing import TYPE_CHECKING, Any

from charloom.adapters.configuration.recorded import from_recorded
from charloom.adapters.configuration.schema import (
    Config,
    OptimizerConfig,
    Parameters,
    SynthesizeConfig,
    TrackingConfig,
    TrainConfig,
    flatten,
)
from charloom.adapters.configuration.sources import project_root

if TYPE_CHECKING:
    from charloom.adapters.configuration.composition import load, override

__all__ = [
    "Config",
    "OptimizerConfig",
    "Parameters",
    "SynthesizeConfig",
    "TrackingConfig",
    "TrainConfig",
    "flatten",
    "from_recorded",
    "load",
    "override",
    "project_root",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from charloom.adapters.configuration import composition

    return getattr(composition, name)
