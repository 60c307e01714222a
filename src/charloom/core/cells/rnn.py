"""The plain recurrent cell: h_t = tanh(W h_{t-1} + U x_t + b)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from charloom.core.cells.cell import Cell, blocks, columns, rows
from charloom.core.common.types import Array


class RNN(Cell):
    """a_t = W h_{t-1} + U x_t + b;  h_t = tanh(a_t).  Backward: da_t = (1 - h_t²) (dh_t + Wᵀ da_{t+1})."""

    gates = 1
    states = 1
    buffers = 3

    def __init__(self, T: int, B: int, m: int, dtype: Any, rows_above: int = 0) -> None:
        super().__init__(T, B, m, dtype, rows_above)
        self._from_next = rows(np.empty((1, B, m), dtype))[0]
        self.forward_t = list(zip(rows(self.drive), rows(self.h[1:]), columns(self.h[1:]), strict=True))
        self._backward_t = []
        for block in blocks(T, B * m):
            h, slope = self.h[1:][block], self.drive[block]  # each slope stands where its da_t will
            backward = zip(rows(self.dh[block]), rows(slope), strict=True)
            self._backward_t.append((h, slope, list(backward)[::-1]))

    def steps(
        self, forward_t: Iterable[tuple[Array, ...]], params: Mapping[str, Array], state: Array
    ) -> Iterator[None]:
        W_times, products, product = params["W"].dot, self.products, self.product[0]
        add, tanh = np.add, np.tanh
        self.h[0] = state[0]
        h = columns(self.h[:1])[0]
        for drive, h_next, h_next_column in forward_t:
            W_times(h, products)
            yield
            tanh(add(product, drive, h_next), h_next)
            h = h_next_column

    def last_state(self) -> Array:
        return self.h[-1:].copy()

    def backward(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> tuple[Array, Array]:
        W, from_next, add, multiply = params["W"], self._from_next, np.add, np.multiply
        from_next[...] = 0
        for h, slope, backward_t in self._backward_t:
            np.subtract(1, multiply(h, h, slope), slope)  # tanh' from the output value
            for dh, da in backward_t:
                add(from_next, dh, from_next)
                multiply(from_next, da, da)
                da.dot(W, from_next)
        return self.drive, self.drive
