"""The plain recurrent cell: h_t = tanh(W h_{t-1} + U x_t + b)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from charloom.cells.cell import Array, Cell, blocks, rows


class RNN(Cell):
    """a_t = W h_{t-1} + U x_t + b;  h_t = tanh(a_t).  Backward: da_t = (1 - h_t²) (dh_t + Wᵀ da_{t+1})."""

    gates = 1
    states = 1
    buffers = 3

    def __init__(self, T: int, B: int, m: int, dtype: Any) -> None:
        self.drive = np.empty((T, B, m), dtype)
        self.h = np.empty((T + 1, B, m), dtype)
        self.dh = np.empty((T, B, m), dtype)
        self._da = self.drive  # which the way back needs no more
        self._product = rows(np.empty((1, B, m), dtype))[0]
        self._forward_t = list(zip(rows(self.drive), rows(self.h[1:]), strict=True))
        self._backward_t = []
        for block in blocks(T, B * m):
            h, slope = self.h[1:][block], self._da[block]  # each slope stands where its da_t will
            backward = zip(rows(self.dh[block]), rows(slope), strict=True)
            self._backward_t.append((h, slope, list(backward)[::-1]))

    def steps(self, params: Mapping[str, Array], state: Array) -> Iterator[Array]:
        W_T, a, tanh, add = self.transposed(params["W"]), self._product, np.tanh, np.add
        self.h[0] = state[0]
        h = rows(self.h[:1])[0]
        for drive, h_next in self._forward_t:
            h.dot(W_T, a)
            add(a, drive, a)
            h = tanh(a, h_next)
            yield h

    def last_state(self) -> Array:
        return self.h[-1:].copy()

    def backward(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> tuple[Array, Array]:
        W, from_next, add, multiply = params["W"], self._product, np.add, np.multiply
        from_next[...] = 0
        for h, slope, backward_t in self._backward_t:
            np.subtract(1, multiply(h, h, slope), slope)  # tanh' from the output value
            for dh, da in backward_t:
                add(from_next, dh, from_next)
                multiply(from_next, da, da)
                da.dot(W, from_next)
        return self._da, self._da
