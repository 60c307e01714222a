"""The plain recurrent cell: h_t = tanh(W h_{t-1} + U x_t + b)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from charloom.cells.cell import Array, Cell, rows


class RNN(Cell):
    """a_t = W h_{t-1} + U x_t + b;  h_t = tanh(a_t).  Backward: da_t = (1 - h_t²) (dh_t + Wᵀ da_{t+1})."""

    gates = 1
    states = 1
    buffers = 4

    def __init__(self, T: int, B: int, m: int, dtype: Any) -> None:
        self.drive = np.empty((T, B, m), dtype)
        self.h = np.empty((T + 1, B, m), dtype)
        self._da = np.empty((T, B, m), dtype)
        self._slope = np.empty((T, B, m), dtype)
        self._product = rows(np.empty((1, B, m), dtype))[0]
        self._drive_t, self._h_t, self._da_t, self._slope_t = map(rows, (self.drive, self.h, self._da, self._slope))

    def forward(self, params: Mapping[str, Array], state: Array) -> None:
        W_T, a, tanh, add = self.transposed(params["W"]), self._product, np.tanh, np.add
        self.h[0] = state[0]
        h = self._h_t[0]
        for drive, h_next in zip(self._drive_t, self._h_t[1:], strict=True):
            h.dot(W_T, a)
            add(a, drive, a)
            h = tanh(a, h_next)

    def last_state(self) -> Array:
        return self.h[-1:].copy()

    def backward(self, params: Mapping[str, Array], dh: Array, grads: Mapping[str, Array]) -> tuple[Array, Array]:
        W, from_next, add, multiply = params["W"], self._product, np.add, np.multiply
        h = self.h[1:]
        np.subtract(1, multiply(h, h, out=self._slope), out=self._slope)  # tanh' from the output value
        dh_t, slope_t, da_t = rows(dh), self._slope_t, self._da_t
        da = multiply(dh_t[-1], slope_t[-1], da_t[-1])
        for t in range(len(dh_t) - 2, -1, -1):
            da.dot(W, from_next)
            add(from_next, dh_t[t], from_next)
            da = multiply(from_next, slope_t[t], da_t[t])
        return self._da, self._da
