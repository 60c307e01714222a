"""Resets: which streams read a window from a zero state, as a text is read from its start."""

from dataclasses import dataclass

import numpy as np

from charloom.core.common.types import Array


@dataclass(frozen=True)
class Resets:
    """The probability that a stream's state is set to zero before a window, and the seed of what is drawn.

    Windows begin at the same places in every epoch, and a carried state is almost never zero: without resets, a network
    learns little of how to begin a text.
    """

    probability: float = 0.0
    seed: tuple[int, ...] = ()

    def apply(self, state: Array, step: int) -> Array:
        """The state (layers, states, B, m) that the training step `step` begins with.

        The same step draws the same streams: there is no generator whose state a checkpoint would have to hold.

        >>> Resets(0.5, seed=(1,)).apply(np.ones((1, 1, 4, 1)), step=5).reshape(-1)
        array([0., 1., 1., 0.])
        """
        if not self.probability:
            return state
        drawn = np.random.default_rng([*self.seed, step]).random((state.shape[2], 1))
        return np.multiply(state, drawn >= self.probability, dtype=state.dtype)
