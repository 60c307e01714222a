"""A model being served: a page, a stream and MLflow's API at one address. Knows nothing of how a model is made."""

from charloom.adapters.serving.command import main

__all__ = ["main"]
