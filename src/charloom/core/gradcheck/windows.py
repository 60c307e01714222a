"""The window that a gradient is checked on: the second of two, short enough that rounding stays small.

A network with large weights amplifies rounding from time step to time step. Beyond some length nothing can be verified:
the backward pass and the complex step are both right, and differ.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from charloom.core.gradcheck.copies import Window, forward
from charloom.core.gradcheck.numerical import directional_derivative
from charloom.core.network import Network

_DIRECTIONS = 3  # random directions of each tensor
SAFETY = 10  # how much more rounding an entry or a direction may have than is measured along random directions
_SAME_LOSS = 1e-9  # how far two sums of the same losses may differ, in proportion


def well_conditioned(network: Network, window: Window, threshold: float, *, rng: np.random.Generator) -> Window:
    """The beginning of the window over which rounding stays well below `threshold` of a tensor's gradient.

    The window is halved until it does; two time steps remain at least.
    """
    while (T := len(window.inputs)) > 3 and SAFETY * amplified_rounding(network, window, rng=rng) > threshold:
        window = window.part(0, T // 2)
    return window


def amplified_rounding(network: Network, window: Window, *, rng: np.random.Generator) -> float:
    """By how much a change of all parameters in their last place changes the gradient; in proportion, of all tensors.

    The rounding of a pass changes it about as much. Measured along random directions of each tensor by the forward
    pass alone: measured with the backward pass, a wrong one would excuse itself.
    """
    eps = np.finfo(np.float64).eps
    nearby = network.astype(network.dtype)
    nearby.parameters.vector[:] *= 1 + eps * rng.choice([-1, 1], nearby.parameters.vector.size)
    nearby_window = replace(window, state=window.state * (1 + eps * rng.choice([-1, 1], window.state.shape)))
    largest = 0.0
    for part in network.parameters.slices.values():
        directions = np.zeros((_DIRECTIONS, network.parameters.vector.size))
        directions[:, part] = rng.choice([-1.0, 1.0], (_DIRECTIONS, part.stop - part.start))
        here = np.array([directional_derivative(network, window, d) for d in directions])
        there = np.array([directional_derivative(nearby, nearby_window, d) for d in directions])
        if size := float(np.linalg.norm(here)):
            largest = max(largest, float(np.linalg.norm(here - there)) / size)
    return largest


def second_window(network: Network, window: Window) -> tuple[Window, list[str]]:
    """The second half of a window, with the state that the first half leaves; and what is wrong with it, in words.

    Both halves together must have the loss of the whole, and all streams the mean of each one's, with the dropout masks
    and without. The network has then gone forward and backward through the first half: what its buffers keep from there
    is in the gradient of the second.
    """
    half, problems = len(window.inputs) // 2, []
    for masks in ((), window.masks) if window.masks else ((),):
        whole, fresh = replace(window, masks=masks).part(0, 2 * half), network.astype(network.dtype)
        first = whole.part(0, half)
        loss, state = forward(network, first)
        network.backward(first.inputs)
        second = whole.part(half, 2 * half, state)
        both = loss + forward(network, second)[0]
        expected = {
            "one of twice the length has": forward(fresh, whole)[0],
            "the mean of its streams is": np.mean([forward(fresh, stream)[0] for stream in _streams(whole)]),
        }
        for what, other in expected.items():
            if not abs(both - other) <= _SAME_LOSS * abs(other):
                problems.append(
                    f"two windows with the state carried have the loss {both:.12g} where {what} {other:.12g}"
                    + (" (with dropout masks)" if masks else "")
                )
    return second, problems


def _streams(window: Window) -> Iterator[Window]:
    """Each stream of a window as one of its own."""
    B = window.inputs.shape[1]
    for b in range(B):
        masks = [mask if mask is None else mask[b::B] for mask in window.masks]
        yield Window(window.inputs[:, [b]], window.targets[:, [b]], window.state[:, :, [b]], masks)
