"""Long short-term memory, with a forget gate whose bias begins at 1."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from charloom.core.cells.cell import Cell, blocks, by_gate, columns, rows, sigmoid
from charloom.core.common.types import Array


class LSTM(Cell):
    """Gates in the order o, i, f, g: the first three are sigmoids, the last three reach the loss through c.

        o, i, f = σ(a)      g = tanh(a)      with a = W h_{t-1} + U x_t + b
        c_t = f c_{t-1} + i g                h_t = o tanh(c_t)

    The state is (h, c). Source: Hochreiter and Schmidhuber, 1997; forget gate: Gers, Schmidhuber, Cummins, 2000; its
    bias: Jozefowicz, Zaremba, Sutskever, 2015.
    """

    gates = 4
    states = 2
    buffers = 12

    def __init__(self, T: int, B: int, m: int, dtype: Any, rows_above: int = 0) -> None:
        super().__init__(T, B, m, dtype, rows_above)
        self._c = np.empty((T + 1, B, m), dtype)
        self._tanh_c = np.empty((T, B, m), dtype)
        self._gates = np.empty((T, 4, B, m), dtype)  # o, i, f, g
        self._total, self._dc, self._work = (rows(np.empty((1, B, m), dtype))[0] for _ in range(3))
        self._da_t, self._from_gates = (np.empty((4, B, m), dtype) for _ in range(2))
        self._from_next = np.empty((1, B, m), dtype)
        gates = self._gates
        self.forward_t = list(
            zip(
                rows(by_gate(self.drive, 4), 2),
                rows(gates, 2),
                rows(gates[:, :3], 2),
                *(rows(gates[:, gate]) for gate in range(4)),
                rows(self._c[1:]),
                rows(self._tanh_c),
                rows(self.h[1:]),
                columns(self.h[1:]),
                strict=True,
            )
        )
        runs = blocks(T, B * m)
        slopes = np.empty((runs[-1].stop, 4, B, m), dtype)
        self._backward_t = [self._block(run, slopes[: run.stop - run.start]) for run in runs]

    def _block(self, run: slice, slopes: Array) -> tuple[tuple[Array, ...], list[tuple[Array, ...]]]:
        """Views of a run of steps: its slopes and what they are made of; and what each step needs, the last first.

        The slopes of c_t stand where tanh c_t was.
        """
        gates, tanh_c = self._gates[run], self._tanh_c[run]
        of_steps = zip(
            rows(self.dh[run]),
            rows(slopes[:, 0]),
            rows(slopes[:, 1:], 2),
            rows(tanh_c),
            rows(gates[:, 2]),
            by_gate(self.drive, 4)[run],
            strict=True,
        )
        return (slopes, gates, self._c[run], tanh_c), list(of_steps)[::-1]

    @classmethod
    def initialize(cls, params: Mapping[str, Array]) -> None:
        m = params["W"].shape[1]
        params["b"][2 * m : 3 * m] = 1

    def steps(
        self, forward_t: Iterable[tuple[Array, ...]], params: Mapping[str, Array], state: Array
    ) -> Iterator[None]:
        W_times, products, product, work = params["W"].dot, self.products, self.product, self._work
        add, multiply, tanh = np.add, np.multiply, np.tanh
        self.h[0], self._c[0] = state
        h, c = columns(self.h[:1])[0], rows(self._c[:1])[0]
        for drive, gates, oif, o, i, f, g, c_next, tanh_c, h_next, h_next_column in forward_t:
            W_times(h, products)
            yield
            add(product, drive, gates)
            sigmoid(oif)
            tanh(g, g)
            multiply(f, c, c_next)
            c = add(c_next, multiply(i, g, work), c_next)
            multiply(o, tanh(c, tanh_c), h_next)
            h = h_next_column

    def last_state(self) -> Array:
        return np.stack([self.h[-1], self._c[-1]])

    def backward(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> tuple[Array, Array]:
        m = self.h.shape[-1]
        W, add, multiply, subtract = params["W"].reshape(4, m, m), np.add, np.multiply, np.subtract
        total, dc, work, da_t, from_gates = self._total, self._dc, self._work, self._da_t, self._from_gates
        from_next_rows = self._from_next[0]  # the same memory as from_next, with the axis B for one stream too
        (from_next,), (of_gates,) = rows(self._from_next), rows(da_t[None], 2)
        da_o, da_ifg = of_gates[0], of_gates[1:]
        from_next[...] = 0
        dc[...] = 0
        for (slopes, gates, c_before, tanh_c), backward_t in self._backward_t:
            # With these slopes  da_o = dh slope_o,  dc = dh slope_c + what comes from later,  da_i = dc slope_i, and
            # so on.
            o, i, g = (gates[:, gate] for gate in (0, 1, 3))
            slope_o, slope_i, slope_f, slope_g = (slopes[:, gate] for gate in range(4))
            subtract(1, gates[:, :3], slopes[:, :3])
            multiply(slopes[:, :3], gates[:, :3], slopes[:, :3])
            multiply(slope_o, tanh_c, slope_o)
            multiply(slope_i, g, slope_i)
            multiply(slope_f, c_before, slope_f)
            multiply(subtract(1, multiply(g, g, slope_g), slope_g), i, slope_g)
            slope_c = multiply(tanh_c, tanh_c, tanh_c)
            multiply(subtract(1, slope_c, slope_c), o, slope_c)
            # A step's da is put together gate by gate, where it stays in the cache.
            for dh, slope_o_t, slope_ifg, slope_c_t, f, da in backward_t:
                add(from_next, dh, total)
                multiply(total, slope_o_t, da_o)
                add(dc, multiply(total, slope_c_t, work), dc)
                multiply(dc, slope_ifg, da_ifg)
                multiply(dc, f, dc)
                da[...] = da_t
                add.reduce(np.matmul(da_t, W, from_gates), 0, None, from_next_rows)
        return self.drive, self.drive
