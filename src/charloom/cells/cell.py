"""What the network asks of a cell."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_COPY_FROM = 8  # steps
IN_CACHE = 16384  # elements of an array that is written and read again while it is near


class Cell(ABC):
    """One layer's recurrence over a window of T steps of B streams, with the buffers that it needs.

    `gates` is the number of blocks of m rows in W, U and b; `states` the number of arrays (B, m) carried from step to
    step, of which the first is h, and `buffers` that of arrays (T, B, m) that a window takes in memory. Three buffers
    are the network's to fill and to read: `drive` (T, B, gates·m), that is U x_t + b; `h` (T + 1, B, m), whose first
    row is the state before the window; and `dh` (T, B, m), what comes down on each h_t from above.
    """

    gates: ClassVar[int]
    states: ClassVar[int]
    buffers: ClassVar[int]
    drive: Array
    h: Array
    dh: Array
    _W_T: Array | None = None

    @classmethod
    def shapes(cls, m: int, inputs: int) -> dict[str, tuple[int, ...]]:
        """The shapes of the cell's parameters by name, where `inputs` is the length of x_t."""
        return {"W": (cls.gates * m, m), "U": (cls.gates * m, inputs), "b": (cls.gates * m,)}

    @classmethod  # noqa: B027 - a cell may well have nothing to set
    def initialize(cls, params: Mapping[str, Array]) -> None:
        """Set what does not begin as small weights and zero biases."""

    @abstractmethod
    def __init__(self, T: int, B: int, m: int, dtype: Any) -> None:
        """Allocate all buffers; nothing is allocated in `forward` and `backward`."""

    def transposed(self, W: Array) -> Array:
        """Wᵀ as the loop over time multiplies with it: laid out anew where there are many streams and steps.

        Measured at m = 512, B = 64, float32, one thread: 1.3 ms for the product with the copy, 2.1 ms with the view;
        the copy takes about as long as one product. One stream's product with a vector does not care.
        """
        T, B, _ = self.drive.shape
        if B == 1 or T < _COPY_FROM:
            return W.T
        if self._W_T is None:
            self._W_T = np.empty(W.shape[::-1], W.dtype)
        np.copyto(self._W_T, W.T)
        return self._W_T

    @abstractmethod
    def steps(self, params: Mapping[str, Array], state: Array) -> Iterator[Array]:
        """Fill `h[1:]` from the state before the window, (states, B, m), and yield each h_t as soon as it is there.

        A step reads its row of `drive` when it is asked for, so the row may depend on the step before it. What is
        yielded is (B, m), or (m,) for one stream.
        """

    def forward(self, params: Mapping[str, Array], state: Array) -> None:
        """All steps, from a `drive` that is filled."""
        for _ in self.steps(params, state):
            pass

    @abstractmethod
    def last_state(self) -> Array:
        """The state after the window, (states, B, m), a copy."""

    @abstractmethod
    def backward(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> tuple[Array, Array]:
        """The loss's gradients for `drive` and for the product W h_{t-1}, both (T, B, gates·m), from `dh`.

        Of `grads` the cell fills what only it knows: parameters beside W, U and b.
        """


def rows(array: Array, streams: int = 1) -> list[Array]:
    """The array's views along time; for one stream without the axis `streams`: vectors (n,), not rows (1, n).

    Measured at m = 100, float64: 1.0 µs for a vector's product with W, 1.35 µs for that of a row.
    """
    return list(array.squeeze(streams) if array.shape[streams] == 1 else array)


def by_gate(array: Array, gates: int) -> Array:
    """(T, B, gates·m) seen as (T, gates, B, m)."""
    T, B, n = array.shape
    return array.reshape(T, B, gates, n // gates).swapaxes(1, 2)


def blocks(T: int, size: int) -> list[slice]:
    """The steps from the last to the first, in runs of as many as stay in the cache, where a step has `size` elements.

    What is computed for such a run at once is read again while it is near, and needs no memory for all T steps.
    Measured for a GRU's way back at m = 384, B = 32, T = 64, float32: 27.7 ms in runs, 28.7 ms in one piece.
    """
    length = max(1, min(T, IN_CACHE // size))
    return [slice(start, min(start + length, T)) for start in range(0, T, length)][::-1]


def sigmoid(a: Array) -> None:
    """σ(a) in place, as (1 + tanh(a / 2)) / 2: no overflow, and NumPy's tanh is vectorized."""
    np.multiply(a, 0.5, a)
    np.tanh(a, a)
    np.multiply(a, 0.5, a)
    np.add(a, 0.5, a)
