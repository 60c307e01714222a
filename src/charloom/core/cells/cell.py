"""What the network asks of a cell."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from itertools import cycle
from typing import Any, ClassVar

import numpy as np

from charloom.core.common.types import Array

IN_CACHE = 16384  # elements of an array that is written and read again while it is near


class Cell(ABC):
    """One layer's recurrence over a window of T steps of B streams, with the buffers that it needs.

    `gates` is the number of blocks of m rows in W, U and b; `states` the number of arrays (B, m) carried from step to
    step, of which the first is h, and `buffers` that of arrays (T, B, m) that a window takes in memory. Three buffers
    are the network's to fill and to read: `drive` (T, B, gates·m), that is U x_t + b, in whose place its gradient comes
    on the way back; `h` (T + 1, B, m), whose first row is the state before the window; and `dh` (T, B, m), what comes
    down on each h_t from above.

    A step begins with `products` = W h_{t-1}, of which `product` (gates, B, m) is the view gate by gate. A cell that is
    to `read` is made with the number of rows that its W has below those of the gates: the matrix that h is multiplied
    with on its way up, in the same product, of which `above` (B, rows) is the view. For one stream all three are
    without the axis B.
    """

    gates: ClassVar[int]
    states: ClassVar[int]
    buffers: ClassVar[int]
    forward_t: list[tuple[Array, ...]]  # what each step needs: views of the buffers

    @classmethod
    def shapes(cls, m: int, inputs: int) -> dict[str, tuple[int, ...]]:
        """The shapes of the cell's parameters by name, where `inputs` is the length of x_t."""
        return {"W": (cls.gates * m, m), "U": (cls.gates * m, inputs), "b": (cls.gates * m,)}

    @classmethod  # noqa: B027 - a cell may well have nothing to set
    def initialize(cls, params: Mapping[str, Array]) -> None:
        """Set what does not begin as small weights and zero biases."""

    def __init__(self, T: int, B: int, m: int, dtype: Any, rows_above: int = 0) -> None:
        """Allocate all buffers; nothing is allocated in `forward` and `backward`."""
        self.drive = np.empty((T, B, self.gates * m), dtype)
        self.h = np.empty((T + 1, B, m), dtype)
        self.dh = np.empty((T, B, m), dtype)
        products = np.empty((self.gates * m + rows_above, B), dtype).T[None]  # (1, B, rows): one step's
        self.products = columns(products)[0]
        self.product = rows(by_gate(products[:, :, : self.gates * m], self.gates), 2)[0]
        self.above = rows(products[:, :, self.gates * m :])[0]

    @abstractmethod
    def steps(
        self, forward_t: Iterable[tuple[Array, ...]], params: Mapping[str, Array], state: Array
    ) -> Iterator[None]:
        """Go from the state before the window, (states, B, m), from step to step, and fill the views `forward_t`.

        Yields when the product with h_{t-1} is there and before the row of `drive` is read, so that the row may depend
        on the product. Each h_t is there when the next step has been asked for.
        """

    def forward(self, params: Mapping[str, Array], state: Array) -> None:
        """All steps, from a `drive` that is filled."""
        for _ in self.steps(self.forward_t, params, state):
            pass

    def read(self, params: Mapping[str, Array], state: Array) -> Iterator[None]:
        """Steps without end, in the place of the T that there are buffers for; see `steps`."""
        return self.steps(cycle(self.forward_t), params, state)

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


def columns(array: Array) -> list[Array]:
    """The array's views along time, (n, B): what W is multiplied with; for one stream vectors (n,).

    Measured for an LSTM of m = 512, B = 32, float32, one thread: 0.78 ms for W h with these columns, 1.19 ms for h Wᵀ,
    and 1.02 ms when Wᵀ is laid out anew.
    """
    return [row.T for row in rows(array)]


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
