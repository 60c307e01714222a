"""What happens in a network while it reads a text: its surprise, its states and gates, and what a loss depends on."""

from dataclasses import dataclass

import numpy as np

from charloom.core.common.errors import DataError
from charloom.core.common.types import Array, IntArray
from charloom.core.network.network import Network
from charloom.core.network.units import vectors

_LONGEST = 10_000  # characters; everything of each is kept


@dataclass(frozen=True)
class Reading:
    """A text of n characters, read from a zero state.

        losses         (n - 1,)  the surprise at the second character and those after it, -log p, in nats
        probabilities  (n, K)    what the network predicts after each character
        vectors        (n, m)    by layer and name: h, and c of an LSTM, and the gates, as in the cell's equations
        gradient       (at, K)   ∂L/∂x_s of the loss L of the character at the index `at`, for each x_s before it

    The gradient is that of a real vector x_s in the place of the one-hot: its length is how much the prediction depends
    on the character at s, its entry k how the loss would change with a little of character k in that place.
    """

    losses: Array
    probabilities: Array
    vectors: dict[tuple[int, str], Array]
    at: int
    gradient: Array


def inspect(network: Network, ids: IntArray, at: int = -1) -> Reading:
    """Read a text `ids` (n,), 2 <= n <= 10,000, and look inside.

    `at` >= 1 is the index of the character whose loss is differentiated; negative ones count from the end. Raises
    DataError for a text of another length, and for an index that is no predicted character's.
    """
    n = len(ids)
    if not 2 <= n <= _LONGEST:
        raise DataError(f"a text to inspect must have 2 to {_LONGEST:,} characters, got {n:,}")
    last = at + n if at < 0 else at
    if not 1 <= last < n:
        raise DataError(f"the index of a predicted character must be 1 to {n - 1}, or -1 to {1 - n}, got {at}")
    network = network.astype(network.dtype)  # its buffers go with it
    found = {name: values.copy() for name, values in vectors(network, ids).items()}
    o = network.window((n, 1)).o  # (n, K), of the same pass
    p = np.exp(o - o.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    network.forward(ids[:-1, None], ids[1:, None], network.zero_state(1))
    losses = network.window((n - 1, 1)).losses
    return Reading(losses, p, found, last, input_gradients(network, ids[: last + 1]))


def input_gradients(network: Network, ids: IntArray) -> Array:
    """∂L/∂x_s = Uᵀ da_s of the loss of the last of the ids (t + 1,), for each x_s before it, (t, K).

    Overwrites the network's gradients.
    """
    inputs, targets = ids[:-1, None], ids[1:, None]
    network.forward(inputs, targets, network.zero_state(1))
    network.backward(inputs, since=len(inputs) - 1)
    da = network.window(inputs.shape).input_projection[0]  # where the backward pass leaves the gradient of U x_t + b
    gradient: Array = da @ network.parameters.layers[0]["U"]
    return gradient
