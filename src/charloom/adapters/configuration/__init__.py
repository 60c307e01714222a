"""The configuration: composed by Hydra, checked once against the schema, handed on as typed values."""

from charloom.adapters.configuration.composition import load, project_root
from charloom.adapters.configuration.schema import (
    Config,
    OptimizerConfig,
    SynthesizeConfig,
    TrackingConfig,
    TrainConfig,
    flatten,
)

__all__ = [
    "Config",
    "OptimizerConfig",
    "SynthesizeConfig",
    "TrackingConfig",
    "TrainConfig",
    "flatten",
    "load",
    "project_root",
]
