"""Looks inside a network while it is trained: at which training steps, and at which its parameters are kept."""

from bisect import bisect_right

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
