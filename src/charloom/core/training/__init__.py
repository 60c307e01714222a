"""Training: optimizers, schedules, dropout, the worker pool, and one update after the other."""

from charloom.core.training.dropout import Dropout
from charloom.core.training.optimizers import OPTIMIZERS, SGD, AdaGrad, Adam, Optimizer, RMSprop
from charloom.core.training.schedules import SCHEDULES, warm_up
from charloom.core.training.training import Training, Update, evaluate
from charloom.core.training.workers import WorkerPool

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "AdaGrad",
    "Adam",
    "Dropout",
    "Optimizer",
    "RMSprop",
    "Training",
    "Update",
    "WorkerPool",
    "evaluate",
    "warm_up",
]
