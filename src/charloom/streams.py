"""A batch's streams shared out among threads: each computes the gradient of its own, and they are added up.

NumPy lets go of the interpreter's lock inside its loops, so threads run side by side. Measured with a GRU of 384
units, 64 streams and windows of 32 on two cores: two threads with half of the streams each do more than one with a
matrix library of two threads, which is idle during all that is not a matrix product. Knows nothing about training.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from charloom.cells.cell import Array
from charloom.network import IntArray, Masks, Network, Parameters


class Streams:
    """The loss and the gradient of a window of B = `batch_size` streams, by at most `threads` threads.

    The result depends on the number of threads, as sums of floating-point numbers depend on their order, and on nothing
    else: which thread is first does not matter.
    """

    def __init__(self, network: Network, batch_size: int, threads: int) -> None:
        shares = np.array_split(np.arange(batch_size), min(threads, batch_size))
        self._slices = [slice(int(share[0]), int(share[-1]) + 1) for share in shares]
        self._weights = [len(share) / batch_size for share in shares]
        self._networks = [network, *(network.sharing() for _ in shares[1:])]
        self._pool = ThreadPoolExecutor(len(shares)) if len(shares) > 1 else None

    def gradient(
        self, inputs: IntArray, targets: IntArray, state: Array, masks: Masks = ()
    ) -> tuple[Any, Array, Parameters]:
        """The loss, the state after the window and the gradient, as `Network.forward` and `backward` define them."""
        if self._pool is None:
            network = self._networks[0]
            loss, state = network.forward(inputs, targets, state, masks)
            return loss, state, network.backward(inputs)

        def of_share(network: Network, share: slice) -> tuple[Any, Array]:
            own = inputs[:, share]
            loss, last = network.forward(own, targets[:, share], state[:, :, share], _share(masks, inputs.shape, share))
            network.backward(own)
            return loss, last

        results = list(self._pool.map(of_share, self._networks, self._slices))
        total = self._networks[0].gradients
        np.multiply(total.vector, self._weights[0], out=total.vector)
        for network, weight in zip(self._networks[1:], self._weights[1:], strict=True):
            part = network.gradients.vector
            np.add(total.vector, np.multiply(part, weight, out=part), out=total.vector)
        loss = sum(weight * loss for weight, (loss, _) in zip(self._weights, results, strict=True))
        return loss, np.concatenate([last for _, last in results], axis=2), total


def _share(masks: Masks, shape: Sequence[int], share: slice) -> Masks:
    T, B = shape
    return [None if mask is None else mask.reshape(T, B, -1)[:, share].reshape(-1, mask.shape[1]) for mask in masks]
