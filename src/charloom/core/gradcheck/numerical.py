"""The gradient of a window in three ways: by the backward pass, by central differences, and by the complex step.

    central        g_n = (L(θ + ξ) - L(θ - ξ)) / 2ξ       error from rounding ~ u|L|/ξ and from truncation ~ ξ²|L'''|/6
    complex_step   g_n = Im L(θ + iξ) / ξ, ξ = 1e-20      nothing is subtracted: exact to rounding

The numerical methods call the network's forward pass and nothing else; gradients are raw, never clipped. Source of the
complex step: Squire and Trapp, Using complex variables to estimate derivatives of real functions, SIAM Review 40
(1998).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charloom.core.common.types import Array, IntArray, Vector
from charloom.core.network import Network

METHODS = ("central", "complex_step")
COMPLEX_STEP = 1e-20
_PIECES = 16  # of the vector, for the processes of a pool

Map = Callable[..., Iterable[Vector]]


@dataclass(frozen=True)
class Window:
    """What a gradient is checked on: ids (T, B), and the state before them, which should not be zero."""

    inputs: IntArray
    targets: IntArray
    state: Array


def analytic_gradient(network: Network, window: Window) -> tuple[float, Vector]:
    """The loss in nats and its raw gradient by the backward pass, a copy of the flat vector."""
    loss, _ = network.forward(window.inputs, window.targets, window.state)
    return float(loss), network.backward(window.inputs).vector.copy()


def numerical_gradient(
    network: Network, window: Window, method: str, step: float, *, indices: Iterable[int] | None = None, map: Map = map
) -> Vector:
    """The gradient by `method` with the step size ξ = `step`; for all entries of the vector or those at `indices`.

    Each entry takes one forward pass or two. `map` may be that of a pool of processes.
    """
    all_indices = np.arange(network.parameters.vector.size) if indices is None else np.fromiter(indices, int)
    pieces = [piece for piece in np.array_split(all_indices, _PIECES) if len(piece)]
    return np.concatenate(list(map(_differentiate, [(network, window, method, step, piece) for piece in pieces])))


def _differentiate(job: tuple[Network, Window, str, float, NDArray[np.intp]]) -> Vector:
    network, window, method, step, indices = job
    network = network.astype(np.complex128 if method == "complex_step" else np.float64)
    theta, state = network.parameters.vector, window.state.astype(network.dtype)

    def loss(i: int, change: complex) -> Any:
        value = theta[i]
        theta[i] = value + change
        found, _ = network.forward(window.inputs, window.targets, state)
        theta[i] = value
        return found

    if method == "complex_step":
        return np.array([loss(i, 1j * step).imag / step for i in indices])
    return np.array([(loss(i, step) - loss(i, -step)) / (2 * step) for i in indices])
