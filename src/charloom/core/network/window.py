"""The buffers of a window of T time steps and B streams, and the output layer on them."""

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from charloom.core.cells import CELLS
from charloom.core.common.types import Array, IntArray, Masks
from charloom.core.network.parameters import Parameters


class Window:
    """All that a network's forward and backward pass write: nothing of that size is allocated while training.

    Arrays of all T time steps are seen as (T·B, n), one row for each character.
    """

    def __init__(
        self, T: int, B: int, *, vocabulary_size: int, hidden_size: int, cell: str, layers: int, dtype: DTypeLike
    ) -> None:
        """Allocate the buffers for a network of these sizes."""
        K, m, self._B = vocabulary_size, hidden_size, B
        self.cells = [CELLS[cell](T, B, m, dtype) for _ in range(layers)]
        self.input_projection = [cell.input_projection.reshape(T * B, -1) for cell in self.cells]
        self.h = [cell.h[1:].reshape(T * B, m) for cell in self.cells]
        self.h_prev = [cell.h[:-1].reshape(T * B, m) for cell in self.cells]
        self.dh = [cell.dh.reshape(T * B, m) for cell in self.cells]
        self.layer_output = list(self.h)  # h as the layer above reads it: with dropout, a masked copy
        self.masks: Masks = ()
        self.o = np.empty((T * B, K), dtype)
        self._one_hot = np.zeros((K, T * B), dtype)
        self._sum = np.empty(T * B, dtype)
        self.ones, self.ones_K = np.ones(T * B, dtype), np.ones(K, dtype)  # a product with ones is a fast sum
        self._row_starts = np.arange(T * B) * K
        self._columns = np.arange(T * B)

    @staticmethod
    def size(T: int, B: int, *, vocabulary_size: int, hidden_size: int, cell: str, layers: int) -> int:
        """The number of elements in the buffers: those of the cells, o and the one-hot inputs, and vectors."""
        K, products = vocabulary_size, CELLS[cell].gates * hidden_size * B
        per_layer = products + sum(map(math.prod, CELLS[cell].buffer_shapes(T, B, hidden_size).values()))
        return layers * per_layer + 2 * T * B * K + 4 * T * B + K  # indices are counted as elements, too

    def outputs(self, params: Parameters) -> Array:
        """o_t = V h_t + c for all time steps and streams, (T·B, K)."""
        np.dot(self.layer_output[-1], params["V"].T, out=self.o)
        return np.add(self.o, params["c"], out=self.o)

    def loss(self, targets: IntArray) -> Any:
        """L = sum_t (log sum_k exp o_tk - o_t[y_t]), with o shifted by its real maximum; o becomes exp o.

        `losses` has the terms of the sum, (T·B,).
        """
        o = self.o
        np.subtract(o, o.real.max(axis=1, keepdims=True), out=o)
        self._at_targets = self._row_starts + targets
        o_at_targets = o.reshape(-1).take(self._at_targets)
        np.dot(np.exp(o, out=o), self.ones_K, out=self._sum)
        self.losses = np.log(self._sum) - o_at_targets
        return self.losses.sum() / self._B

    def output_gradient(self) -> Array:
        """do_t = (p_t - one_hot(y_t)) / B, (T·B, K), in the memory of exp o."""
        do, B = self.o, self._B
        np.divide(do, (self._sum * B)[:, None], out=do)
        do.reshape(-1)[self._at_targets] -= 1 / B
        return do

    def one_hot(self, inputs: IntArray) -> Array:
        """The inputs as columns, (K, T·B): a product with it takes half the time of `np.add.at`."""
        self._one_hot[...] = 0
        self._one_hot[inputs, self._columns] = 1
        return self._one_hot
