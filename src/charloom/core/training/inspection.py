"""Looks inside a network while it is trained: at which training steps, and at which its parameters are kept."""

import math
from bisect import bisect_right

import numpy as np

from charloom.core.common.records import Inspection, Quartiles
from charloom.core.common.types import Array, Ids
from charloom.core.network.dynamics import dynamics, quartiles, rounded
from charloom.core.training.training import Training

MOST_SNAPSHOTS, MOST_BYTES = 64, 64_000_000  # of the parameters at inspected steps, in float32, together
_POWERS_OF_TEN = [10**exponent for exponent in range(13)]


def is_inspected(step: int, every: int) -> bool:
    """Whether a training step is inspected: 1, 10, 100, … below `every` >= 1, and the multiples of `every`.

    >>> [step for step in range(1, 100) if is_inspected(step, 40)]
    [1, 10, 40, 80]
    """
    return step % every == 0 or (step < every and step in _POWERS_OF_TEN)


def snapshot_steps(last: int, every: int, limit: int) -> list[int]:
    """The inspected steps up to `last` whose parameters are kept: `limit` >= 1 of them at most.

    Where there are more, every second one is kept, or every fourth, and so on: a step that is left out once stays so.

    >>> snapshot_steps(100, 20, limit=7)
    [1, 10, 20, 40, 60, 80, 100]
    >>> snapshot_steps(120, 20, limit=7)
    [1, 20, 60, 100]
    """
    early = _POWERS_OF_TEN[: sum(power < every for power in _POWERS_OF_TEN)]
    count = bisect_right(early, last) + last // every
    stride = 1
    while -(-count // stride) > limit:
        stride *= 2
    return [early[n] if n < len(early) else (n - len(early) + 1) * every for n in range(0, count, stride)]


def snapshot_limit(parameter_count: int) -> int:
    """How many snapshots of so many parameters are kept at most: 64, or as many as have 64 MB together.

    >>> snapshot_limit(24_000), snapshot_limit(1_000_000), snapshot_limit(20_000_000)
    (64, 16, 0)
    """
    return min(MOST_SNAPSHOTS, MOST_BYTES // (4 * parameter_count))


def inspect(training: Training, probe: Ids) -> Inspection:
    """A look inside a training between two updates, which changes nothing of it.

    `probe` (n,) is the text that the network reads for its dynamics, the same at each look. The rest is of the update
    that comes next, on the training's own window, with its dropout.

    >>> from charloom.core.network import Network
    >>> from charloom.core.training.optimizers import AdaGrad
    >>> ids, network = np.array([0, 1] * 20, np.uint8), Network(vocabulary_size=2, hidden_size=3, dtype=np.float64)
    >>> network.initialize(0.1, rng=np.random.default_rng(1))
    >>> optimizer = AdaGrad(network.parameters.vector.size, np.float64, learning_rate=0.1, epsilon=1e-8, clip_value=5)
    >>> training = Training(network, optimizer, ids, seq_length=4, batch_size=1, smoothing=0.999)
    >>> found = inspect(training, ids)
    >>> found.step, found.clipped, sorted(found.update_ratio), found.step_size["W"]
    (0, 0.0, ['U', 'V', 'W', 'b', 'c'], None)
    """
    params, optimizer = training.network.parameters, training.optimizer
    gradient, change = training.next_update()
    clipped = None
    if optimizer.clip_value is not None:
        clipped = rounded(float(np.mean(np.abs(gradient) > optimizer.clip_value)))
    step_sizes = optimizer.step_sizes()
    return Inspection(
        step=training.step,
        dynamics=dynamics(training.network, probe),
        clipped=clipped,
        update_ratio={name: _ratio(change[part], params.vector[part]) for name, part in params.slices.items()},
        step_size={name: _known(step_sizes[part]) for name, part in params.slices.items() if step_sizes is not None},
    )


def _ratio(change: Array, weights: Array) -> float | None:
    """|Δθ| / |θ|; None where it is not finite."""
    size, whole = (float(np.linalg.norm(array.astype(np.float64))) for array in (change, weights))
    ratio = size / whole if whole else math.nan
    return rounded(ratio) if math.isfinite(ratio) else None


def _known(step_sizes: Array) -> Quartiles | None:
    return quartiles(step_sizes[~np.isnan(step_sizes)].astype(np.float64))
