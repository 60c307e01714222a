"""Long short-term memory, with a forget gate whose bias starts at 1."""

import numpy as np

from charloom.core.cells.cell import Cell, Params, by_gate, sigmoid, sigmoid_slope, tanh_slope, time_step_view
from charloom.core.common.types import Array


class LSTMStep:
    """The views of one time step, (B, m) each; those of several gates (gates, B, m)."""

    def __init__(self, cell: "LSTM", t: int, before: int) -> None:
        self.product = cell.product  # W h_{t-1}; the same memory at every time step
        self.input_projection = time_step_view(by_gate(cell.input_projection, 4)[t])  # U x_t + b; then da_t
        self.da = time_step_view(cell.input_projection[t])  # (B, 4m)
        self.da_o, self.da_ifg = self.input_projection[0], self.input_projection[1:]
        self.oifg = time_step_view(cell.activations[t])
        self.oif = self.oifg[:3]
        self.o, self.i, self.f, self.g = self.oifg
        self.c_prev, self.c = time_step_view(cell.c[before]), time_step_view(cell.c[t + 1])
        self.tanh_c = self.factor_c = time_step_view(cell.tanh_c[t])
        self.h = time_step_view(cell.h[t + 1])
        self.dh = time_step_view(cell.dh[t])  # the upstream gradient
        self.factor_o, self.factor_ifg = time_step_view(cell.factors[t, 0]), time_step_view(cell.factors[t, 1:])


class LSTM(Cell[LSTMStep]):
    """Long short-term memory. Gates in the order o, i, f, g; the state is (h, c).

    Forward:

        a_t = W h_{t-1} + U x_t + b                 o_t, i_t, f_t = σ(a_o, a_i, a_f)      g_t = tanh(a_g)
        c_t = f_t c_{t-1} + i_t g_t                 h_t = o_t tanh(c_t)

    Backward, with dh_next = dc_next = 0 after the last time step:

        dh_t    = upstream gradient of h_t + dh_next
        dc_t    = dh_t o_t (1 - tanh²(c_t)) + dc_next
        da_o    = dh_t tanh(c_t) o_t (1 - o_t)      da_i = dc_t g_t i_t (1 - i_t)
        da_f    = dc_t c_{t-1} f_t (1 - f_t)        da_g = dc_t i_t (1 - g_t²)
        dh_next = Wᵀ da_t                           dc_next = dc_t f_t

    Sources: Hochreiter and Schmidhuber, Long short-term memory, 1997; forget gate: Gers, Schmidhuber, Cummins,
    Learning to forget, 2000; its bias: Jozefowicz, Zaremba, Sutskever, An empirical exploration of recurrent network
    architectures, 2015.
    """

    gates = 4
    states = 2
    gate_names = ("o", "i", "f", "g")
    activations: Array
    c: Array
    tanh_c: Array
    factors: Array
    dc: Array
    work: Array

    @classmethod
    def initialize(cls, params: Params) -> None:
        m = params["W"].shape[1]
        params["b"][2 * m : 3 * m] = 1  # f

    @classmethod
    def buffer_shapes(cls, T: int, B: int, m: int) -> dict[str, tuple[int, ...]]:
        return super().buffer_shapes(T, B, m) | {
            "activations": (T, 4, B, m),  # o, i, f, g
            "c": (T + 1, B, m),
            "tanh_c": (T, B, m),
            "factors": (T, 4, B, m),
            "dc": (B, m),
            "work": (B, m),
        }

    def time_step(self, t: int, before: int) -> LSTMStep:
        return LSTMStep(self, t, before)

    def set_state(self, t: int, state: Array) -> None:
        self.h[t], self.c[t] = state

    def vectors(self) -> dict[str, Array]:
        return (
            super().vectors()
            | {"c": self.c[1:]}
            | dict(zip(self.gate_names, self.activations.swapaxes(0, 1), strict=True))
        )

    def last_state(self) -> Array:
        return np.stack([self.h[-1], self.c[-1]])

    def state_gradients(self) -> dict[str, Array]:
        """Those of h, and of c, which `backward` did not keep: dc_t = dh_t factor_c + f_{t+1} dc_{t+1}."""
        factor_c, f = self.tanh_c, self.activations[:, 2]
        dc = self.dh * factor_c
        for t in reversed(range(len(dc) - 1)):
            dc[t] += f[t + 1] * dc[t + 1]
        return {"h": self.dh, "c": dc}

    def step(self, params: Params, t: LSTMStep) -> None:
        add, multiply = np.add, np.multiply
        add(t.product, t.input_projection, t.oifg)
        sigmoid(t.oif)
        np.tanh(t.g, t.g)
        i_g = multiply(t.i, t.g, t.h)
        add(multiply(t.f, t.c_prev, t.c), i_g, t.c)
        multiply(t.o, np.tanh(t.c, t.tanh_c), t.h)

    def backward(self, params: Params, grads: Params) -> tuple[Array, Array]:
        W, add, multiply = params["W"], np.add, np.multiply
        o, i, _, g = self.activations.swapaxes(0, 1)
        factor_o, factor_i, factor_f, factor_g = self.factors.swapaxes(0, 1)
        tanh_c = factor_c = self.tanh_c
        # For all time steps at once: da_o = dh factor_o, dc = dh factor_c + dc_next, da_i = dc factor_i, …
        sigmoid_slope(self.activations[:, :3], self.factors[:, :3])  # of o, i, f
        multiply(factor_o, tanh_c, factor_o)  # (1 - o) o tanh(c)
        multiply(factor_i, g, factor_i)  # (1 - i) i g
        multiply(factor_f, self.c[:-1], factor_f)  # (1 - f) f c_prev
        multiply(tanh_slope(g, factor_g), i, factor_g)  # (1 - g²) i
        multiply(tanh_slope(tanh_c, factor_c), o, factor_c)  # (1 - tanh²(c)) o

        dh_next, dc, work = (time_step_view(array) for array in (self.dh_next, self.dc, self.work))
        dh_next[...] = 0
        dc[...] = 0
        for t in reversed(self.time_steps):
            dh = add(t.dh, dh_next, t.dh)
            multiply(dh, t.factor_o, t.da_o)
            add(multiply(dh, t.factor_c, work), dc, dc)
            multiply(dc, t.factor_ifg, t.da_ifg)
            t.da.dot(W, dh_next)
            multiply(dc, t.f, dc)  # dc_next
        return self.input_projection, self.input_projection
