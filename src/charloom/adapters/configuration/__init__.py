"""The configuration: composed by Hydra, checked once against the schema, handed on as typed values."""

from charloom.adapters.configuration.composition import load, override, project_root
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
