"""The configuration."""

from charloom.adapters.configuration.config import Config, TrackingConfig, flatten, load, project_root

__all__ = ["Config", "TrackingConfig", "flatten", "load", "project_root"]
