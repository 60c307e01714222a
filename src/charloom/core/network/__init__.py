"""The network around the cells, dropout, evaluation, sampling, and the model that it makes with its vocabulary."""

from charloom.core.network.dropout import Dropout
from charloom.core.network.evaluation import evaluate, evaluate_text, evaluation_memory
from charloom.core.network.model import Model
from charloom.core.network.network import Network
from charloom.core.network.parameters import Parameters
from charloom.core.network.sampling import Stepper, sample

__all__ = [
    "Dropout",
    "Model",
    "Network",
    "Parameters",
    "Stepper",
    "evaluate",
    "evaluate_text",
    "evaluation_memory",
    "sample",
]
