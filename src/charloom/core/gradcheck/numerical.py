"""The gradient of a window in three ways: by the backward pass, by central differences, and by the complex step.

    central        g_n = (L(θ + ξ) - L(θ - ξ)) / 2ξ       error from rounding ~ u|L|/ξ and from truncation ~ ξ²|L'''|/6
    complex_step   g_n = Im L(θ + iξ) / ξ, ξ = 1e-20      nothing is subtracted: exact to rounding

The numerical methods call the network's forward pass and nothing else; gradients are raw, never clipped. Source of the
complex step: Squire and Trapp, Using complex variables to estimate derivatives of real functions, SIAM Review 40
(1998).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

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
    differentiate = _complex_step if method == "complex_step" else _central
    return np.concatenate(list(map(differentiate, [(network, window, step, piece) for piece in pieces])))


_Job = tuple[Network, Window, float, NDArray[np.intp]]


def _complex_step(job: _Job) -> Vector:
    network, window, step, indices = job
    network, state = network.astype(np.complex128), window.state.astype(np.complex128)
    theta, gradient = network.parameters.vector, np.empty(len(indices))
    for n, i in enumerate(indices):
        value = theta[i]
        theta[i] = value + 1j * step
        gradient[n] = network.forward(window.inputs, window.targets, state)[0].imag / step
        theta[i] = value
    return gradient


def _central(job: _Job) -> Vector:
    network, window, step, indices = job
    network = network.astype(np.float64)
    theta, gradient = network.parameters.vector, np.empty(len(indices))

    def loss() -> float:
        return float(network.forward(window.inputs, window.targets, window.state)[0])

    for n, i in enumerate(indices):
        value = theta[i]
        theta[i] = value + step
        above = loss()
        theta[i] = value - step
        below = loss()
        theta[i] = value
        gradient[n] = (above - below) / (2 * step)
    return gradient
