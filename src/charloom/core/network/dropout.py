"""Dropout: which elements of a layer's output are left out in a training step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from charloom.core.common.types import Array, Masks


@dataclass(frozen=True)
class Dropout:
    """For each layer the probability that an element of its output h_t is 0, and the seed of what is drawn.

    Source: Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 15 (2014), scaled
    while training ("inverted").
    """

    probabilities: Sequence[float] = ()
    seed: tuple[int, ...] = ()

    def masks(self, shape: tuple[int, int], dtype: DTypeLike, *key: int) -> Masks:
        """A mask of `shape` for each layer: 0 with the layer's probability, else what keeps the mean; None for all 1.

        The same `key` gives the same masks: there is no generator whose state a checkpoint would have to hold.

        >>> Dropout([0.5], seed=(1,)).masks((1, 4), np.float64, 7)
        [array([[2., 0., 2., 2.]])]
        """
        if not any(self.probabilities):
            return []
        rng = np.random.default_rng([*self.seed, *key])

        def mask(p: float) -> Array:
            return np.multiply(rng.random(shape, np.float32) >= p, 1 / (1 - p), dtype=dtype)

        return [mask(p) if p else None for p in self.probabilities]
