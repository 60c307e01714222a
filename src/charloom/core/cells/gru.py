"""The gated recurrent unit, its reset gate applied after the product, as in cuDNN and PyTorch."""

import numpy as np

from charloom.core.cells.cell import Cell, Params, by_gate, sigmoid, sigmoid_slope, tanh_slope, time_step_view
from charloom.core.common.types import Array


class GRUStep:
    """The views of one time step, (B, m) each; those of two gates (2, B, m)."""

    def __init__(self, cell: "GRU", t: int, before: int) -> None:
        self.product_rz, self.product_n = cell.product[:2], cell.product[2]  # W h_{t-1}, the same at every time step
        projection = time_step_view(by_gate(cell.input_projection, 3)[t])  # U x_t + b; then its gradient
        self.projection_rz = self.da_rz = projection[:2]
        self.projection_n = self.da_n = projection[2]
        self.da_r, self.da_zn = projection[0], projection[1:]
        self.rz = time_step_view(cell.activations[t, :2])
        self.r, self.z, self.n = time_step_view(cell.activations[t])
        self.q = time_step_view(cell.q[t])
        self.h_prev, self.h = time_step_view(cell.h[before]), time_step_view(cell.h[t + 1])
        self.dh = time_step_view(cell.dh[t])  # the upstream gradient
        self.factor_r, self.factor_zn = time_step_view(cell.factors[t, 0]), time_step_view(cell.factors[t, 1:])
        self.d_product = time_step_view(cell.d_product[t])  # da_r, da_z, dq: the gradient of W h_{t-1}, (B, 3m)
        d_product = time_step_view(by_gate(cell.d_product, 3)[t])
        self.d_product_rz, self.dq = d_product[:2], d_product[2]


class GRU(Cell[GRUStep]):
    """The gated recurrent unit. Gates in the order r, z, n; `bn` is a bias of the candidate's product.

    Forward:

        r_t = σ(W_r h_{t-1} + U_r x_t + b_r)        z_t = σ(W_z h_{t-1} + U_z x_t + b_z)
        q_t = W_n h_{t-1} + bn                      n_t = tanh(r_t q_t + U_n x_t + b_n)
        h_t = n_t + z_t (h_{t-1} - n_t)

    Backward, with dh_next = 0 after the last time step:

        dh_t    = upstream gradient of h_t + dh_next
        da_z    = dh_t (h_{t-1} - n_t) z_t (1 - z_t)
        da_n    = dh_t (1 - z_t) (1 - n_t²)
        da_r    = da_n q_t r_t (1 - r_t)            dq = da_n r_t
        dh_next = W_rᵀ da_r + W_zᵀ da_z + W_nᵀ dq + dh_t z_t

    Source: Cho et al., Learning phrase representations using RNN encoder-decoder, 2014, in the variant of cuDNN.
    """

    gates = 3
    states = 1
    gate_names = ("r", "z", "n")
    activations: Array
    q: Array
    factors: Array
    d_product: Array
    work: Array

    @classmethod
    def parameter_shapes(cls, m: int, inputs: int) -> dict[str, tuple[int, ...]]:
        return super().parameter_shapes(m, inputs) | {"bn": (m,)}

    @classmethod
    def buffer_shapes(cls, T: int, B: int, m: int) -> dict[str, tuple[int, ...]]:
        return super().buffer_shapes(T, B, m) | {
            "activations": (T, 3, B, m),  # r, z, n
            "q": (T, B, m),
            "factors": (T, 3, B, m),
            "d_product": (T, B, 3 * m),
            "work": (B, m),
        }

    def time_step(self, t: int, before: int) -> GRUStep:
        return GRUStep(self, t, before)

    def vectors(self) -> dict[str, Array]:
        return super().vectors() | dict(zip(self.gate_names, self.activations.swapaxes(0, 1), strict=True))

    def step(self, params: Params, t: GRUStep) -> None:
        add, multiply = np.add, np.multiply
        sigmoid(add(t.product_rz, t.projection_rz, t.rz))
        add(t.product_n, params["bn"], t.q)
        a_n = add(multiply(t.r, t.q, t.n), t.projection_n, t.n)
        np.tanh(a_n, t.n)
        difference = np.subtract(t.h_prev, t.n, t.h)
        add(multiply(difference, t.z, t.h), t.n, t.h)

    def backward(self, params: Params, grads: Params) -> tuple[Array, Array]:
        W, add, multiply, subtract = params["W"], np.add, np.multiply, np.subtract
        r, z, n = self.activations.swapaxes(0, 1)
        factor_r, factor_z, factor_n = self.factors.swapaxes(0, 1)
        # For all time steps at once: da_r = da_n factor_r, da_z = dh factor_z, da_n = dh factor_n.
        multiply(tanh_slope(n, factor_n), subtract(1, z, factor_z), factor_n)  # (1 - n²) (1 - z)
        multiply(factor_z, z, factor_z)
        multiply(factor_z, subtract(self.h[:-1], n, factor_r), factor_z)  # (1 - z) z (h_prev - n)
        multiply(sigmoid_slope(r, factor_r), self.q, factor_r)  # (1 - r) r q

        dh_next, work = time_step_view(self.dh_next), time_step_view(self.work)
        dh_next[...] = 0
        for t in reversed(self.time_steps):
            dh = add(t.dh, dh_next, t.dh)
            multiply(dh, t.factor_zn, t.da_zn)
            multiply(t.da_n, t.factor_r, t.da_r)
            multiply(t.da_n, t.r, t.dq)
            t.d_product_rz[...] = t.da_rz
            t.d_product.dot(W, dh_next)
            add(dh_next, multiply(dh, t.z, work), dh_next)  # h_{t-1} also reaches h_t directly
        dq = by_gate(self.d_product, 3)[:, 2]
        np.sum(dq, axis=(0, 1), out=grads["bn"])
        return self.input_projection, self.d_product
