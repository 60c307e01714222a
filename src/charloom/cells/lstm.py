"""Long short-term memory, with a forget gate whose bias begins at 1."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from charloom.cells.cell import Array, Cell, rows, sigmoid


class LSTM(Cell):
    """Gates in the order o, i, f, g: the first three are sigmoids, the last three reach the loss through c.

        o, i, f = σ(a)      g = tanh(a)      with a = W h_{t-1} + U x_t + b
        c_t = f c_{t-1} + i g                h_t = o tanh(c_t)

    The state is (h, c). Source: Hochreiter and Schmidhuber, 1997; forget gate: Gers, Schmidhuber, Cummins, 2000; its
    bias: Jozefowicz, Zaremba, Sutskever, 2015.
    """

    gates = 4
    states = 2
    buffers = 20

    def __init__(self, T: int, B: int, m: int, dtype: Any) -> None:
        self.drive = np.empty((T, B, 4 * m), dtype)
        self.h = np.empty((T + 1, B, m), dtype)
        self._c = np.empty((T + 1, B, m), dtype)
        self._tanh_c = np.empty((T, B, m), dtype)
        self._gates = np.empty((T, B, 4, m), dtype)  # o, i, f, g
        self._slopes = np.empty((T, B, 4, m), dtype)
        self._slope_c = np.empty((T, B, m), dtype)
        self._da = np.empty((T, B, 4 * m), dtype)
        self._product = rows(np.empty((1, B, 4 * m), dtype))[0]
        self._from_next, self._dh, self._dc, self._work = (rows(np.empty((1, B, m), dtype))[0] for _ in range(4))
        gates = [rows(self._gates[:, :, gate]) for gate in range(4)]
        self._forward_t = list(
            zip(
                rows(self.drive),
                rows(self._gates.reshape(T, B, 4 * m)),
                rows(self._gates[:, :, :3]),
                *gates,
                rows(self._c[1:]),
                rows(self._tanh_c),
                rows(self.h[1:]),
                strict=True,
            )
        )
        da = self._da.reshape(T, B, 4, m)
        self._backward_t = list(
            zip(
                rows(self._slopes[:, :, 0]),
                rows(self._slopes[:, :, 1:]),
                rows(self._slope_c),
                gates[2],
                rows(da[:, :, 0]),
                rows(da[:, :, 1:]),
                rows(self._da),
                strict=True,
            )
        )[::-1]

    @classmethod
    def initialize(cls, params: Mapping[str, Array]) -> None:
        m = params["W"].shape[1]
        params["b"][2 * m : 3 * m] = 1

    def forward(self, params: Mapping[str, Array], state: Array) -> None:
        W_T, product, work = self.transposed(params["W"]), self._product, self._work
        add, multiply, tanh = np.add, np.multiply, np.tanh
        self.h[0], self._c[0] = state
        h, c = rows(self.h)[0], rows(self._c)[0]
        for drive, gates, oif, o, i, f, g, c_next, tanh_c, h_next in self._forward_t:
            h.dot(W_T, product)
            add(product, drive, gates)
            sigmoid(oif)
            tanh(g, g)
            multiply(f, c, c_next)
            c = add(c_next, multiply(i, g, work), c_next)
            h = multiply(o, tanh(c, tanh_c), h_next)

    def last_state(self) -> Array:
        return np.stack([self.h[-1], self._c[-1]])

    def backward(self, params: Mapping[str, Array], dh: Array, grads: Mapping[str, Array]) -> tuple[Array, Array]:
        W, add, multiply, subtract = params["W"], np.add, np.multiply, np.subtract
        o, i, _, g = (self._gates[:, :, gate] for gate in range(4))
        # With these slopes  da_o = dh slope_o,  dc = dh slope_c + what comes from later,  da_i = dc slope_i, and so on.
        slope_o, slope_i, slope_f, slope_g = (self._slopes[:, :, gate] for gate in range(4))
        sigmoids = self._gates[:, :, :3]
        multiply(subtract(1, sigmoids, out=self._slopes[:, :, :3]), sigmoids, out=self._slopes[:, :, :3])
        multiply(slope_o, self._tanh_c, out=slope_o)
        multiply(slope_i, g, out=slope_i)
        multiply(slope_f, self._c[:-1], out=slope_f)
        multiply(subtract(1, multiply(g, g, out=slope_g), out=slope_g), i, out=slope_g)
        slope_c = self._slope_c
        multiply(subtract(1, multiply(self._tanh_c, self._tanh_c, out=slope_c), out=slope_c), o, out=slope_c)

        total, from_next, dc, work = self._dh, self._from_next, self._dc, self._work
        from_next[...] = 0
        dc[...] = 0
        for dh_t, step in zip(reversed(rows(dh)), self._backward_t, strict=True):
            slope_o_t, slopes, slope_c_t, f_t, da_o, da_ifg, da = step
            add(from_next, dh_t, total)
            multiply(total, slope_o_t, da_o)
            add(dc, multiply(total, slope_c_t, work), dc)
            multiply(dc[..., None, :], slopes, da_ifg)
            multiply(dc, f_t, dc)
            da.dot(W, from_next)
        return self._da, self._da
