"""What the network asks of a cell: one layer's recurrence, forward and backward along time.

Shapes are those of a window of T time steps, B streams and m hidden units. Where B = 1, the views of single time steps
leave the axis B out: a product of W and a vector takes 1.0 µs at m = 100, one of a row 1.35 µs.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from charloom.core.common.types import Array

SATURATED = 0.999  # |h|, where tanh passes 0.2 % of the gradient

Params = Mapping[str, Array]
TimeStep = TypeVar("TimeStep")


class Cell(ABC, Generic[TimeStep]):
    """One layer's recurrence h_t = f(W h_{t-1}, U x_t + b, state), and the buffers that a window of it needs.

    A cell has `gates` blocks of m rows in W, U and b, and carries `states` arrays (B, m) from time step to time step,
    of which h is the first. Three of its buffers are shared with the network:

        input_projection  (T, B, gates·m)  U x_t + b, filled by the network; the backward pass leaves its gradient here
        h                 (T + 1, B, m)    h_0 (the state before the window), h_1, …, h_T
        dh                (T, B, m)        the upstream gradient of h_1, …, h_T, filled by the network; the backward
                                           pass leaves their whole gradient here, that of later time steps added

    A subclass writes the equations of one time step, on a `TimeStep` of named views of these and of its own buffers.
    """

    gates: ClassVar[int]
    states: ClassVar[int]
    # The gates in their order, where they have a name; σ is applied to all but the last.
    gate_names: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def parameter_shapes(cls, m: int, inputs: int) -> dict[str, tuple[int, ...]]:
        """The shapes of the cell's parameters by name, where `inputs` is the length of x_t."""
        return {"W": (cls.gates * m, m), "U": (cls.gates * m, inputs), "b": (cls.gates * m,)}

    @classmethod
    def initialize(cls, params: Params) -> None:
        """Set what does not start as small random weights and zero biases."""

    @classmethod
    def buffer_shapes(cls, T: int, B: int, m: int) -> dict[str, tuple[int, ...]]:
        """The shapes of the buffers by name; each becomes an attribute."""
        return {
            "input_projection": (T, B, cls.gates * m),
            "h": (T + 1, B, m),
            "dh": (T, B, m),
            "dh_next": (B, m),  # the gradient that h_t receives from time step t + 1, in the backward pass
        }

    input_projection: Array
    h: Array
    dh: Array
    dh_next: Array

    def __init__(self, T: int, B: int, m: int, dtype: DTypeLike, rows_above: int = 0) -> None:
        """Allocate all buffers, once: `forward` and `backward` allocate nothing.

        `rows_above` is the number of rows that W has below those of the gates where a `Stepper` uses the cell: those of
        the matrix above, which h_t is multiplied with next.
        """
        for name, shape in self.buffer_shapes(T, B, m).items():
            setattr(self, name, np.empty(shape, dtype))
        products = np.empty((self.gates * m + rows_above, B), dtype)  # W h_{t-1}, and the rows above
        self.products = products[:, 0] if B == 1 else products
        self.product = time_step_view(products[: self.gates * m].reshape(self.gates, m, B).swapaxes(1, 2))
        self.product_above = time_step_view(products[self.gates * m :].T)
        self.time_steps = [self.time_step(t, t) for t in range(T)]
        self._h_columns = [column(h) for h in self.h]

    @abstractmethod
    def time_step(self, t: int, before: int) -> TimeStep:
        """The views of a time step whose x_t is at the index t, h_t at t + 1, and h_{t-1} at the index `before`."""

    @abstractmethod
    def step(self, params: Params, t: TimeStep) -> None:
        """One time step forward: h_t from `product`, which holds W h_{t-1}, and the input projection."""

    @abstractmethod
    def backward(self, params: Params, grads: Params) -> tuple[Array, Array]:
        """The gradients of U x_t + b and of W h_{t-1} for all time steps, each (T, B, gates·m), from `dh`.

        Fills those of `grads` that only the cell knows: of parameters beside W, U and b. Overwrites buffers, so it can
        be called once after `forward`.
        """

    def state_gradients(self) -> dict[str, Array]:
        """The gradient of the loss with respect to each state at all time steps, (T, B, m), after `backward`."""
        return {"h": self.dh}

    def forward(self, params: Params, state: Array) -> None:
        """All T time steps, from the state before the window (states, B, m) and a filled `input_projection`."""
        self.set_state(0, state)
        W_times, step, products = params["W"].dot, self.step, self.products
        for h_prev, t in zip(self._h_columns, self.time_steps, strict=False):  # h_T is nobody's h_prev
            W_times(h_prev, products)
            step(params, t)

    def set_state(self, t: int, state: Array) -> None:
        """Make `state` (states, B, m) the one at the index t."""
        self.h[t] = state[0]

    def vectors(self) -> dict[str, Array]:
        """The states and gates of the window's time steps by their names in the equations, views (T, B, m)."""
        return {"h": self.h[1:]}

    def last_state(self) -> Array:
        """The state after the window, (states, B, m), a copy."""
        return self.h[-1:].copy()


def time_step_view(array: Array) -> Array:
    """A view (…, B, n) as it is used in a time step: (…, n) for one stream."""
    return array.squeeze(-2) if array.shape[-2] == 1 else array


def column(h: Array) -> Array:
    """H (B, m) as what W is multiplied with: (m, B), or (m,) for one stream.

    Measured for an LSTM with m = 512, B = 32, float32, one thread: 0.78 ms for W times these columns, 1.19 ms for h Wᵀ.
    """
    return time_step_view(h).T


def by_gate(array: Array, gates: int) -> Array:
    """(T, B, gates·m) as (T, gates, B, m)."""
    T, B, n = array.shape
    return array.reshape(T, B, gates, n // gates).swapaxes(1, 2)


def sigmoid(a: Array) -> Array:
    """σ(a) in place, as (1 + tanh(a / 2)) / 2: no overflow, and NumPy's tanh is vectorized."""
    np.multiply(a, 0.5, a)
    np.tanh(a, a)
    np.multiply(a, 0.5, a)
    return np.add(a, 0.5, a)


def sigmoid_slope(y: Array, out: Array) -> Array:
    """σ'(a) = (1 - y) y from the value y = σ(a)."""
    return np.multiply(np.subtract(1, y, out), y, out)


def tanh_slope(y: Array, out: Array) -> Array:
    """tanh'(a) = 1 - y² from the value y = tanh(a); `out` may be y."""
    return np.subtract(1, np.multiply(y, y, out), out)
