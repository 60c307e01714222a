"""The gradient of a window in three ways: by the backward pass, by central differences, and by the complex step.

    central        g_n = (L(θ + ξ) - L(θ - ξ)) / 2ξ       error from rounding ~ u|L|/ξ and from truncation ~ ξ²|L'''|/6
    complex_step   g_n = Im L(θ + iξ) / ξ, ξ = 1e-20      nothing is subtracted: exact to rounding

The numerical methods call the network's forward pass and nothing else; gradients are raw, never clipped. Source of the
complex step: Squire and Trapp, Using complex variables to estimate derivatives of real functions, SIAM Review 40
(1998).
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from charloom.core.common.types import Array, Vector
from charloom.core.gradcheck.copies import Copies, Window, forward
from charloom.core.network import Network

METHODS = ("central", "complex_step")
COMPLEX_STEP = 1e-20
_PASSES = 8  # of a job, for a process of a pool

Map = Callable[..., Iterable[Vector]]


def analytic_gradient(network: Network, window: Window) -> tuple[float, Vector]:
    """The loss in nats and its raw gradient by the backward pass, a copy of the flat vector."""
    loss, _ = forward(network, window)
    return float(loss), network.backward(window.inputs).vector.copy()


def numerical_gradient(
    network: Network, window: Window, method: str, step: float, *, indices: Iterable[int] | None = None, map: Map = map
) -> Vector:
    """The gradient by `method` with the step size ξ = `step`; for all entries of the vector or those at `indices`.

    Each entry takes one forward pass or two; many passes are made at once, as the streams of one batch. The columns of
    the first layer's U that belong to characters outside the window take one pass together, along a random direction:
    where that derivative is exactly 0, so is each of theirs. `map` may be that of a pool of processes.
    """
    parameters = network.parameters
    wanted = np.arange(parameters.vector.size) if indices is None else np.fromiter(indices, int)
    copies = Copies.at_once(*window.inputs.shape, **network.sizes)
    unread = _unread(network, window, wanted)
    found, jobs, places = np.empty(len(wanted)), [], []
    if unread.any():
        direction = np.zeros(parameters.vector.size)
        direction[wanted[unread]] = np.random.default_rng(0).uniform(1, 2, unread.sum())
        found[unread] = directional_derivative(network, window, direction, method, step)
    for name, part in parameters.slices.items():
        own = np.flatnonzero((part.start <= wanted) & (wanted < part.stop) & ~unread)
        size = _PASSES * copies
        for piece in np.array_split(own, range(size, len(own), size)) if len(own) else ():
            jobs.append((network, window, method, step, name, wanted[piece], copies))
            places.append(piece)
    for piece, derivatives in zip(places, map(_differentiate, jobs), strict=True):
        found[piece] = derivatives
    return found


def directional_derivative(
    network: Network, window: Window, direction: Vector, method: str = "complex_step", step: float = COMPLEX_STEP
) -> float:
    """The derivative of the loss along a direction d, (L(θ + ξd) - L(θ)) / ξ for a small ξ, by `method`.

    Takes one forward pass or two, with the parameters themselves changed; Σ_i g_i d_i has the errors of all entries of
    a gradient in it.
    """
    changed = network.astype(_dtype(method))

    def loss(change: complex) -> Array:
        np.add(network.parameters.vector, change * direction, out=changed.parameters.vector)
        return np.asarray(forward(changed, window.astype(changed.dtype))[0])

    return float(_derivative(loss, method, step))


def _unread(network: Network, window: Window, indices: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which of the entries are those of U that belong to characters outside the window."""
    U, part = network.parameters["U"], network.parameters.slices["U"]
    unread: NDArray[np.bool_] = (part.start <= indices) & (indices < part.stop)
    unread &= ~np.isin((indices - part.start) // len(U), window.inputs)
    return unread


def _differentiate(job: tuple[Network, Window, str, float, str, NDArray[np.intp], int]) -> Vector:
    network, window, method, step, name, positions, copies = job
    network = network.astype(_dtype(method))  # its buffers serve all passes
    pieces = np.array_split(positions, range(copies, len(positions), copies))
    losses = (Copies(network, window, name, piece).losses for piece in pieces)
    return np.concatenate([_derivative(loss, method, step) for loss in losses])


def _derivative(loss: Callable[[complex], Array], method: str, step: float) -> Vector:
    if method == "complex_step":
        return loss(1j * step).imag / step
    return (loss(step) - loss(-step)) / (2 * step)


def _dtype(method: str) -> type:
    return np.complex128 if method == "complex_step" else np.float64
