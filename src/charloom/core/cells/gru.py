"""The gated recurrent unit, with the reset gate applied after the product, as in cuDNN and PyTorch."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from charloom.core.cells.cell import Cell, blocks, by_gate, columns, rows, sigmoid
from charloom.core.common.types import Array


class GRU(Cell):
    """Gates in the order r, z, n; `bn` is a bias of the candidate's product.

        r_t = σ(W_r h_{t-1} + U_r x_t + b_r)        z_t = σ(W_z h_{t-1} + U_z x_t + b_z)
        q_t = W_n h_{t-1} + bn                      n_t = tanh(r_t q_t + U_n x_t + b_n)
        h_t = n_t + z_t (h_{t-1} - n_t)

    Source: Cho et al., Learning phrase representations using RNN encoder-decoder, 2014, in the variant of cuDNN.
    """

    gates = 3
    states = 1
    buffers = 12

    @classmethod
    def shapes(cls, m: int, inputs: int) -> dict[str, tuple[int, ...]]:
        return super().shapes(m, inputs) | {"bn": (m,)}

    def __init__(self, T: int, B: int, m: int, dtype: Any, rows_above: int = 0) -> None:
        super().__init__(T, B, m, dtype, rows_above)
        self._gates = np.empty((T, 3, B, m), dtype)  # r, z, n
        self._q = np.empty((T, B, m), dtype)
        self._d_product = np.empty((T, B, 3 * m), dtype)
        self._ones = np.ones(T * B, dtype)
        self._from_next, self._total, self._kept = (rows(np.empty((1, B, m), dtype))[0] for _ in range(3))
        drive, gates = by_gate(self.drive, 3), self._gates
        self.forward_t = list(
            zip(
                rows(drive[:, :2], 2),
                rows(drive[:, 2]),
                rows(gates[:, :2], 2),
                *(rows(gates[:, gate]) for gate in range(3)),
                rows(self._q),
                rows(self.h[1:]),
                columns(self.h[1:]),
                strict=True,
            )
        )
        runs = blocks(T, B * m)
        slopes = np.empty((runs[-1].stop, 3, B, m), dtype)
        self._backward_t = [self._block(run, slopes[: run.stop - run.start]) for run in runs]

    def _block(self, run: slice, slopes: Array) -> tuple[tuple[Array, ...], list[tuple[Array, ...]]]:
        """Views of a run of steps: its slopes and what they are made of; and what each step needs, the last first."""
        gates = self._gates[run]
        d_drive, d_product = by_gate(self.drive, 3)[run], by_gate(self._d_product, 3)[run]
        of_slopes = (*(array[:, gate] for array in (slopes, gates) for gate in range(3)), self._q[run], self.h[run])
        of_steps = zip(
            rows(self.dh[run]),
            rows(slopes[:, 0]),
            rows(slopes[:, 1:], 2),
            *(rows(gates[:, gate]) for gate in range(2)),
            *(rows(d_drive[:, gate]) for gate in (0, 2)),
            rows(d_drive[:, 1:], 2),
            rows(d_drive[:, :2], 2),
            rows(d_product[:, 2]),
            rows(d_product[:, :2], 2),
            rows(self._d_product[run]),
            strict=True,
        )
        return of_slopes, list(of_steps)[::-1]

    def steps(
        self, forward_t: Iterable[tuple[Array, ...]], params: Mapping[str, Array], state: Array
    ) -> Iterator[None]:
        W_times, bn, products = params["W"].dot, params["bn"], self.products
        product_rz, product_n = self.product[:2], self.product[2]
        add, multiply, subtract, tanh = np.add, np.multiply, np.subtract, np.tanh
        self.h[0] = state[0]
        h, h_column = rows(self.h[:1])[0], columns(self.h[:1])[0]
        for drive_rz, drive_n, rz, r, z, n, q, h_next, h_next_column in forward_t:
            W_times(h_column, products)
            yield
            sigmoid(add(product_rz, drive_rz, rz))
            add(product_n, bn, q)
            multiply(r, q, n)
            add(n, drive_n, n)
            tanh(n, n)
            subtract(h, n, h_next)
            multiply(h_next, z, h_next)
            h, h_column = add(h_next, n, h_next), h_next_column

    def last_state(self) -> Array:
        return self.h[-1:].copy()

    def backward(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> tuple[Array, Array]:
        W, add, multiply, subtract = params["W"], np.add, np.multiply, np.subtract
        total, from_next, kept = self._total, self._from_next, self._kept
        from_next[...] = 0
        kept[...] = 0
        for (slope_r, slope_z, slope_n, r, z, n, q, h_before), backward_t in self._backward_t:
            # With these slopes  da_z = dh slope_z,  da_n = dh slope_n,  da_r = da_n slope_r.
            subtract(1, multiply(n, n, slope_n), slope_n)
            subtract(1, z, slope_r)
            multiply(slope_n, slope_r, slope_n)
            multiply(subtract(h_before, n, slope_z), z, slope_z)
            multiply(slope_z, slope_r, slope_z)
            subtract(1, r, slope_r)
            multiply(multiply(slope_r, r, slope_r), q, slope_r)
            for dh, slope_r_t, slope_zn, r_t, z_t, da_r, da_n, da_zn, da_rz, dq, dp_rz, dp in backward_t:
                add(from_next, dh, total)
                add(total, kept, total)
                multiply(total, slope_zn, da_zn)
                multiply(da_n, slope_r_t, da_r)
                multiply(da_n, r_t, dq)
                dp_rz[...] = da_rz
                multiply(total, z_t, kept)
                dp.dot(W, from_next)
        dq = by_gate(self._d_product, 3)[:, 2]
        np.dot(self._ones, dq.reshape(-1, dq.shape[-1]), out=grads["bn"])
        return self.drive, self._d_product
