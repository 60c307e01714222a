"""Optimizers: what one update does to the flat vector of parameters. Clipping is here, and nowhere else.

Knows nothing about networks: parameters θ and gradient g are two vectors of the same length, parts of which may be
matrices.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from charloom.core.common.types import Array

Matrices = Mapping[str, tuple[slice, tuple[int, int]]]


class Optimizer(ABC):
    """A rule that turns gradients into updates of a flat vector of parameters.

    `state` holds all that it remembers, by name; `learning_rate`, η, may be set between updates.
    """

    options: ClassVar[tuple[str, ...]]  # the keywords that the rule takes besides those of every rule
    vectors: ClassVar[tuple[str, ...]]  # the names of its vectors, zeros at the start

    def __init__(
        self,
        size: int,
        dtype: DTypeLike,
        *,
        learning_rate: float,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        matrices: Matrices | None = None,
        **options: float,
    ) -> None:
        """A rule at its start.

        Arguments:
            size: the number of parameters.
            dtype: their type.
            learning_rate: η > 0.
            clip_value: each element of g is clipped to [-clip_value, clip_value]; None: clipping off.
            clip_norm: after that, a g whose Euclidean norm is above `clip_norm` is scaled down to it; None: off.
            matrices: by name, the parts of the vector that are matrices, with their shapes, row by row. Only SOAP
                distinguishes them.
            options: the rule's own keywords, see its equations.

        Raises TypeError where an option is missing or unknown.
        """
        if set(options) != set(self.options):
            raise TypeError(f"{type(self).__name__} takes the options {list(self.options)}, got {list(options)}")
        self.learning_rate, self.clip_value, self.clip_norm = learning_rate, clip_value, clip_norm
        self.__dict__ |= options
        self.matrices = dict(matrices or {})
        self.state: dict[str, Array] = {name: np.zeros(size, dtype) for name in self.vectors}
        self._work = np.empty(size, dtype)

    def update(self, params: Array, grads: Array) -> None:
        """Update `params` (size,) in place. `grads` (size,) is overwritten: it is not the gradient afterwards."""
        if self.clip_value is not None:
            grads.clip(-self.clip_value, self.clip_value, out=grads)
        if self.clip_norm is not None:
            norm = math.sqrt(grads.dot(grads))
            if norm > self.clip_norm:
                np.multiply(grads, self.clip_norm / norm, out=grads)
        self._apply(params, grads)

    def step_sizes(self) -> Array | None:
        """The effective step size of each parameter, (size,): what its gradient, or the mean of its gradients, is
        multiplied with in an update. NaN for parameters that never had a gradient; None for a rule that has no such
        size for each.
        """
        return None

    @abstractmethod
    def _apply(self, params: Array, grads: Array) -> None:
        """Apply the rule to a clipped gradient."""


class AdaGrad(Optimizer):
    """AdaGrad: a learning rate for each parameter, which falls with the sum of its squared gradients to date.

        s <- s + g²
        θ <- θ - η g / sqrt(s + ε)

    `state["sum_of_squares"]` is s. Source: Duchi, Hazan, Singer, Adaptive subgradient methods for online learning and
    stochastic optimization, JMLR 12 (2011), with ε inside the root as in the reference run.

    >>> theta, optimizer = np.array([1.0]), AdaGrad(1, np.float64, learning_rate=0.1, epsilon=0.0, clip_value=5.0)
    >>> optimizer.update(theta, np.array([-7.0]))
    >>> theta, optimizer.state["sum_of_squares"]
    (array([1.1]), array([25.]))
    """

    options = ("epsilon",)
    vectors = ("sum_of_squares",)
    epsilon: float  # >= 0

    def _apply(self, params: Array, grads: Array) -> None:
        g, s, work = grads, self.state["sum_of_squares"], self._work
        np.add(s, np.multiply(g, g, out=work), out=s)
        root = np.sqrt(np.add(s, self.epsilon, out=work), out=work)
        np.divide(g, root, out=work)
        np.subtract(params, np.multiply(work, self.learning_rate, out=work), out=params)

    def step_sizes(self) -> Array:
        """η / sqrt(s + ε), which can only fall."""
        s = self.state["sum_of_squares"]
        return np.where(s > 0, self.learning_rate / np.sqrt(s + self.epsilon), np.nan)


class RMSprop(Optimizer):
    """RMSprop: like AdaGrad, with an exponential moving average of the squares.

        s <- α s + (1 - α) g²
        θ <- θ - η g / (sqrt(s) + ε)

    `state["mean_square"]` is s, and α = `decay`. Source: Tieleman and Hinton, lecture 6.5 of Neural networks for
    machine learning, 2012, with ε outside the root.
    """

    options = ("epsilon", "decay")
    vectors = ("mean_square",)
    epsilon: float  # > 0
    decay: float  # in [0, 1)

    def _apply(self, params: Array, grads: Array) -> None:
        g, s, work = grads, self.state["mean_square"], self._work
        np.multiply(g, g, out=work)
        np.multiply(s, self.decay, out=s)
        np.add(s, np.multiply(work, 1 - self.decay, out=work), out=s)
        root = np.add(np.sqrt(s, out=work), self.epsilon, out=work)
        np.divide(g, root, out=work)
        np.subtract(params, np.multiply(work, self.learning_rate, out=work), out=params)

    def step_sizes(self) -> Array:
        """η / (sqrt(s) + ε)."""
        s = self.state["mean_square"]
        return np.where(s > 0, self.learning_rate / (np.sqrt(s) + self.epsilon), np.nan)


class Adam(Optimizer):
    """Adam, and with `weight_decay` λ > 0 AdamW.

        μ <- β1 μ + (1 - β1) g                  v <- β2 v + (1 - β2) g²
        θ <- θ - η (μ / (1 - β1^n) / (sqrt(v / (1 - β2^n)) + ε) + λ θ)         at the n-th update

    `state` has "mean" μ, "mean_square" v and "count" n. Sources: Kingma and Ba, Adam, 2015; Loshchilov and Hutter,
    Decoupled weight decay regularization, 2019.
    """

    options = ("epsilon", "beta1", "beta2", "weight_decay")
    vectors = ("mean", "mean_square")
    epsilon: float  # > 0
    beta1: float  # in [0, 1)
    beta2: float  # in [0, 1)
    weight_decay: float  # >= 0

    def __init__(self, size: int, dtype: DTypeLike, **options: Any) -> None:
        """See `Optimizer`."""
        super().__init__(size, dtype, **options)
        self.state["count"] = np.zeros(1, np.int64)

    def _apply(self, params: Array, grads: Array) -> None:
        self.state["count"] += 1
        step = self._step(grads)
        if self.weight_decay:
            np.multiply(params, 1 - self.learning_rate * self.weight_decay, out=params)
        np.subtract(params, step, out=params)

    def _step(self, g: Array) -> Array:
        """What the gradient `g`, which is overwritten, takes from the parameters, weight decay aside."""
        work, mean, mean_square = self._work, self.state["mean"], self.state["mean_square"]
        n = int(self.state["count"][0])
        np.multiply(g, g, out=work)
        np.multiply(mean_square, self.beta2, out=mean_square)
        np.add(mean_square, np.multiply(work, 1 - self.beta2, out=work), out=mean_square)
        np.multiply(mean, self.beta1, out=mean)
        np.add(mean, np.multiply(g, 1 - self.beta1, out=g), out=mean)
        np.sqrt(mean_square, out=work)
        np.multiply(work, 1 / math.sqrt(1 - self.beta2**n), out=work)
        np.divide(mean, np.add(work, self.epsilon, out=work), out=work)
        return np.multiply(work, self.learning_rate / (1 - self.beta1**n), out=work)

    def step_sizes(self) -> Array | None:
        """η / (sqrt(v / (1 - β2^n)) + ε), what the mean of gradients μ / (1 - β1^n) is multiplied with."""
        v, n = self.state["mean_square"], int(self.state["count"][0])
        return np.where(v > 0, self.learning_rate / (np.sqrt(v / (1 - self.beta2 ** max(n, 1))) + self.epsilon), np.nan)


class SOAP(Adam):
    """SOAP: Adam in the eigenbasis of each matrix's gradients, on the smaller side of the matrix.

    Of a matrix Θ (a, b), a >= b, with the gradient G, at the n-th update:

        C <- β2 C + (1 - β2) Gᵀ G
        Q <- the eigenvectors of C, in columns                  where n = 1, P + 1, 2 P + 1, … with P = `PERIOD`
        Θ <- Θ - η (Adam's step of G Q) Qᵀ - η λ Θ

    The mean of gradients is kept in the basis Q, and turned with it; where a < b, all of this is of Θᵀ. What is not in
    a matrix is updated as Adam does. `state` has, beside Adam's, Q as "basis.NAME" and C in the basis Q as
    "covariance.NAME". Source: Vyas et al., SOAP: improving and stabilizing Shampoo using Adam, 2024, its one-sided
    form, with C's decay that of the squares.
    """

    PERIOD: ClassVar[int] = 20  # updates between computations of Q, which take longer than the rest of an update

    def __init__(self, size: int, dtype: DTypeLike, **options: Any) -> None:
        """See `Optimizer`."""
        super().__init__(size, dtype, **options)
        self._product = np.empty(size, dtype)
        for name, (_, shape) in self.matrices.items():
            self.state |= {
                f"basis.{name}": np.eye(min(shape), dtype=dtype),
                f"covariance.{name}": np.zeros((min(shape), min(shape)), dtype),
            }

    def _step(self, g: Array) -> Array:
        turning = int(self.state["count"][0]) % self.PERIOD == 1
        for name in self.matrices:
            basis, covariance = self.state[f"basis.{name}"], self.state[f"covariance.{name}"]
            G = self._multiply(g, name, basis)
            np.multiply(covariance, self.beta2, out=covariance)
            np.add(covariance, (1 - self.beta2) * (G.T @ G), out=covariance)
            if turning and np.isfinite(covariance).all():
                eigenvalues, turn = np.linalg.eigh(covariance)
                basis[...] = basis @ turn
                covariance[...] = np.diag(eigenvalues)
                for vector in (g, self.state["mean"]):
                    self._multiply(vector, name, turn)
        step = super()._step(g)
        for name in self.matrices:
            self._multiply(step, name, self.state[f"basis.{name}"].T)
        return step

    def _multiply(self, vector: Array, name: str, right: Array) -> Array:
        """Multiply a matrix in a vector with `right` (b, b), in place; the view (a, b), a >= b, of the matrix."""
        part, shape = self.matrices[name]
        matrix, product = (v[part].reshape(shape) for v in (vector, self._product))
        if shape[0] < shape[1]:
            matrix, product = matrix.T, product.T
        matrix[...] = np.matmul(matrix, right, out=product)
        return matrix

    def step_sizes(self) -> None:
        """None: the sizes are those of directions, not of parameters."""


class SGD(Optimizer):
    """Stochastic gradient descent with momentum μ; 0 is the plain rule.

        v <- μ v + g
        θ <- θ - η v

    `state["velocity"]` is v. Source: Polyak, Some methods of speeding up the convergence of iteration methods, 1964.
    """

    options = ("momentum",)
    vectors = ("velocity",)
    momentum: float  # in [0, 1)

    def _apply(self, params: Array, grads: Array) -> None:
        v = self.state["velocity"]
        np.add(np.multiply(v, self.momentum, out=v), grads, out=v)
        np.subtract(params, np.multiply(v, self.learning_rate, out=self._work), out=params)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adagrad": AdaGrad,
    "rmsprop": RMSprop,
    "adam": Adam,
    "soap": SOAP,
    "sgd": SGD,
}
