"""The gated recurrent unit, with the reset gate applied after the product, as in cuDNN and PyTorch."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from charloom.cells.cell import Array, Cell, rows, sigmoid


class GRU(Cell):
    """Gates in the order r, z, n; `bn` is a bias of the candidate's product.

        r_t = σ(W_r h_{t-1} + U_r x_t + b_r)        z_t = σ(W_z h_{t-1} + U_z x_t + b_z)
        q_t = W_n h_{t-1} + bn                      n_t = tanh(r_t q_t + U_n x_t + b_n)
        h_t = n_t + z_t (h_{t-1} - n_t)

    Source: Cho et al., Learning phrase representations using RNN encoder-decoder, 2014, in the variant of cuDNN.
    """

    gates = 3
    states = 1
    buffers = 17

    @classmethod
    def shapes(cls, m: int, inputs: int) -> dict[str, tuple[int, ...]]:
        return super().shapes(m, inputs) | {"bn": (m,)}

    def __init__(self, T: int, B: int, m: int, dtype: Any) -> None:
        self.drive = np.empty((T, B, 3 * m), dtype)
        self.h = np.empty((T + 1, B, m), dtype)
        self._gates = np.empty((T, B, 3, m), dtype)  # r, z, n
        self._q = np.empty((T, B, m), dtype)
        self._slopes = np.empty((T, B, 3, m), dtype)  # what the backward pass multiplies with
        self._d_drive = np.empty((T, B, 3, m), dtype)
        self._d_product = np.empty((T, B, 3, m), dtype)
        self._ones = np.ones(T * B, dtype)
        self._product, self._from_next, self._dh, self._dh_next = (
            rows(np.empty((1, B, n), dtype))[0] for n in (3 * m, m, m, m)
        )
        drive = self.drive.reshape(T, B, 3, m)
        self._forward_t = list(
            zip(
                rows(drive[:, :, :2]),
                rows(drive[:, :, 2]),
                rows(self._gates[:, :, :2]),
                *(rows(self._gates[:, :, gate]) for gate in range(3)),
                rows(self._q),
                rows(self.h[1:]),
                strict=True,
            )
        )
        product = rows(self._d_product.reshape(T, B, 3 * m))
        self._backward_t = list(
            zip(
                rows(self._slopes[:, :, 0]),
                rows(self._slopes[:, :, 1:]),
                rows(self._gates[:, :, 0]),
                rows(self._gates[:, :, 1]),
                rows(self._d_drive[:, :, 0]),
                rows(self._d_drive[:, :, 1:]),
                rows(self._d_drive[:, :, 2]),
                rows(self._d_product[:, :, 2]),
                rows(self._d_product[:, :, :2]),
                rows(self._d_drive[:, :, :2]),
                product,
                strict=True,
            )
        )[::-1]

    def forward(self, params: Mapping[str, Array], state: Array) -> None:
        W_T, bn, product = self.transposed(params["W"]), params["bn"], self._product
        add, multiply, subtract, tanh = np.add, np.multiply, np.subtract, np.tanh
        m = bn.shape[0]
        product_rz = product[..., : 2 * m].reshape(*product.shape[:-1], 2, m)
        product_n = product[..., 2 * m :]
        self.h[0] = state[0]
        h = rows(self.h)[0]
        for drive_rz, drive_n, rz, r, z, n, q, h_next in self._forward_t:
            h.dot(W_T, product)
            sigmoid(add(product_rz, drive_rz, rz))
            add(product_n, bn, q)
            multiply(r, q, n)
            add(n, drive_n, n)
            tanh(n, n)
            subtract(h, n, h_next)
            multiply(h_next, z, h_next)
            h = add(h_next, n, h_next)

    def last_state(self) -> Array:
        return self.h[-1:].copy()

    def backward(self, params: Mapping[str, Array], dh: Array, grads: Mapping[str, Array]) -> tuple[Array, Array]:
        W, add, multiply = params["W"], np.add, np.multiply
        T, B, m = dh.shape
        r, z, n = (self._gates[:, :, gate] for gate in range(3))
        # With these slopes  da_z = dh slope_z,  da_n = dh slope_n,  da_r = da_n slope_r.
        slope_r, slope_z, slope_n = (self._slopes[:, :, gate] for gate in range(3))
        multiply(np.subtract(1, r, out=slope_r), multiply(r, self._q, out=slope_z), out=slope_r)
        np.subtract(1, z, out=slope_n)
        multiply(np.subtract(self.h[:-1], n, out=slope_z), z, out=slope_z)
        multiply(slope_z, slope_n, out=slope_z)
        work = self._d_drive[:, :, 2]  # free until the loop
        multiply(slope_n, np.subtract(1, multiply(n, n, out=work), out=work), out=slope_n)

        total, from_next, kept = self._dh, self._from_next, self._dh_next
        from_next[...] = 0
        kept[...] = 0
        for dh_t, step in zip(reversed(rows(dh)), self._backward_t, strict=True):
            slope_r_t, slope_zn, r_t, z_t, da_r, da_zn, da_n, dq, dp_rz, da_rz, dp = step
            add(from_next, dh_t, total)
            add(total, kept, total)
            multiply(total[..., None, :], slope_zn, da_zn)
            multiply(da_n, slope_r_t, da_r)
            multiply(da_n, r_t, dq)
            dp_rz[...] = da_rz
            multiply(total, z_t, kept)
            dp.dot(W, from_next)
        np.dot(self._ones, self._d_product[:, :, 2].reshape(-1, m), out=grads["bn"])
        return self._d_drive.reshape(T, B, 3 * m), self._d_product.reshape(T, B, 3 * m)
