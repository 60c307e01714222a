"""Training: optimizers, schedules, the worker pool, and one update after the other."""

from charloom.core.training.optimizers import OPTIMIZERS, Optimizer
from charloom.core.training.resets import Resets
from charloom.core.training.schedules import SCHEDULES, warm_up
from charloom.core.training.training import Training
from charloom.core.training.workers import WorkerPool

__all__ = ["OPTIMIZERS", "SCHEDULES", "Optimizer", "Resets", "Training", "WorkerPool", "warm_up"]
