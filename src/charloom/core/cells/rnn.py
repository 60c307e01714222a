"""The plain recurrent cell (Elman, Finding structure in time, 1990)."""

import numpy as np

from charloom.core.cells.cell import Cell, Params, tanh_slope, time_step_view
from charloom.core.common.types import Array


class RNNStep:
    """The views of one time step, (B, m) each."""

    def __init__(self, cell: "RNN", t: int, before: int) -> None:
        self.product = cell.product[0]  # W h_{t-1}; the same memory at every time step
        self.input_projection = self.da = time_step_view(cell.input_projection[t])  # U x_t + b; then da_t
        self.h = time_step_view(cell.h[t + 1])
        self.dh = time_step_view(cell.dh[t])  # the upstream gradient


class RNN(Cell[RNNStep]):
    """The plain cell.

    Forward:

        a_t = W h_{t-1} + U x_t + b
        h_t = tanh(a_t)

    Backward, with dh_next = 0 after the last time step:

        dh_t    = upstream gradient of h_t + dh_next
        da_t    = dh_t (1 - h_t²)
        dh_next = Wᵀ da_t
    """

    gates = 1
    states = 1

    def time_step(self, t: int, before: int) -> RNNStep:
        return RNNStep(self, t, before)

    def step(self, params: Params, t: RNNStep) -> None:
        a = np.add(t.product, t.input_projection, t.h)
        np.tanh(a, t.h)

    def backward(self, params: Params, grads: Params) -> tuple[Array, Array]:
        W, add, multiply = params["W"], np.add, np.multiply
        da = tanh_slope(self.h[1:], self.input_projection)  # for all time steps at once

        dh_next = time_step_view(self.dh_next)
        dh_next[...] = 0
        for t in reversed(self.time_steps):
            dh = add(t.dh, dh_next, t.dh)
            multiply(dh, t.da, t.da)
            t.da.dot(W, dh_next)  # Wᵀ da_t, of rows: da_t W
        return da, da
