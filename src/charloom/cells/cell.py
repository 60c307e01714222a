"""What the network asks of a cell."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from numpy.typing import NDArray

Array = NDArray[Any]


class Cell(ABC):
    """One layer's recurrence over a window of T steps of B streams, with the buffers that it needs.

    `gates` is the number of blocks of m rows in W, U and b; `states` the number of arrays (B, m) carried from step to
    step, of which the first is h. The two buffers that the network fills and reads are `drive` (T, B, gates·m), that is
    U x_t + b, and `h` (T + 1, B, m), whose first row is the state before the window.
    """

    gates: ClassVar[int]
    states: ClassVar[int]
    drive: Array
    h: Array

    @abstractmethod
    def __init__(self, T: int, B: int, m: int, dtype: Any) -> None:
        """Allocate all buffers; nothing is allocated in `forward` and `backward`."""

    @abstractmethod
    def forward(self, params: Mapping[str, Array], state: Array) -> None:
        """Fill `h[1:]` from `drive` and the state before the window, (states, B, m)."""

    @abstractmethod
    def last_state(self) -> Array:
        """The state after the window, (states, B, m), a copy."""

    @abstractmethod
    def backward(self, params: Mapping[str, Array], dh: Array) -> tuple[Array, Array]:
        """The loss's gradients for `drive` and for the product W h_{t-1}, both (T, B, gates·m).

        `dh` (T, B, m) is what comes down on each h_t from above; it may be overwritten.
        """


def rows(array: Array) -> list[Array]:
    """The array's views along time; for one stream vectors (n,), which NumPy multiplies faster than rows (1, n).

    Measured at m = 100, float64: 1.0 µs for a vector's product with W, 1.35 µs for that of a row.
    """
    return list(array[:, 0] if array.shape[1] == 1 else array)
