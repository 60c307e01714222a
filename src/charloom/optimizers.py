"""Optimizers: what one update does to the flat vector of parameters. Clipping is here, and nowhere else.

Knows nothing about networks: parameters and gradient are two vectors of the same length.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]


class Optimizer(ABC):
    """A rule that turns gradients into updates; its state is in named vectors, as long as the parameters."""

    state: dict[str, Array]

    @abstractmethod
    def update(self, params: Array, grads: Array) -> None:
        """Change `params` in place. `grads` is used as a work space and is not the gradient afterwards."""


class AdaGrad(Optimizer):
    """AdaGrad: a step size for each parameter, which falls with the sum of its squared gradients to date.

        g <- clip(g, -clip_value, clip_value)
        s <- s + g²
        θ <- θ - η g / sqrt(s + ε)

    `state["sum_of_squares"]` is s. Source: Duchi, Hazan, Singer, Adaptive subgradient methods for online learning and
    stochastic optimization, JMLR 12 (2011), with ε inside the root as in the reference run.

    >>> theta, optimizer = np.array([1.0]), AdaGrad(1, np.float64, learning_rate=0.1, epsilon=0.0, clip_value=5.0)
    >>> optimizer.update(theta, np.array([-7.0]))
    >>> theta, optimizer.state["sum_of_squares"]
    (array([1.1]), array([25.]))
    """

    def __init__(self, size: int, dtype: DTypeLike, *, learning_rate: float, epsilon: float, clip_value: float) -> None:
        self.learning_rate, self.epsilon, self.clip_value = learning_rate, epsilon, clip_value
        self.state = {"sum_of_squares": np.zeros(size, dtype)}
        self._work = np.empty(size, dtype)

    def update(self, params: Array, grads: Array) -> None:
        g, s, work = grads, self.state["sum_of_squares"], self._work
        np.clip(g, -self.clip_value, self.clip_value, out=g)
        np.add(s, np.multiply(g, g, out=work), out=s)
        root = np.sqrt(np.add(s, self.epsilon, out=work), out=work)
        np.divide(g, root, out=work)
        np.subtract(params, np.multiply(work, self.learning_rate, out=work), out=params)


OPTIMIZERS: dict[str, type[AdaGrad]] = {"adagrad": AdaGrad}
