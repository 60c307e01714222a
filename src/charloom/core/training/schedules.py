"""Learning-rate schedules: the factor on η at a point of the training. A new schedule is a function and a line here.

`progress` runs from 0 at the start of a training to 1 at its end, whatever ends it: steps or time.
"""

import math
from collections.abc import Callable


def constant(progress: float, *, final_fraction: float, periods: int) -> float:
    """1 all the way."""
    return 1.0


def linear(progress: float, *, final_fraction: float, periods: int) -> float:
    """A straight line from 1 to `final_fraction`.

    >>> [round(linear(p, final_fraction=0.1, periods=1), 3) for p in (0, 0.5, 1)]
    [1.0, 0.55, 0.1]
    """
    return 1 - (1 - final_fraction) * progress


def cosine(progress: float, *, final_fraction: float, periods: int) -> float:
    """Half a cosine from 1 to `final_fraction` (Loshchilov and Hutter, SGDR, 2017, without restarts).

    >>> [round(cosine(p, final_fraction=0.1, periods=1), 3) for p in (0, 0.25, 0.5, 1)]
    [1.0, 0.868, 0.55, 0.1]
    """
    return final_fraction + (1 - final_fraction) * (1 + math.cos(math.pi * progress)) / 2


def steps(progress: float, *, final_fraction: float, periods: int) -> float:
    """`periods` equal periods, in each the same factor below the one before, the last at `final_fraction`.

    >>> [round(steps(p, final_fraction=0.01, periods=3), 3) for p in (0, 0.3, 0.4, 0.9, 1)]
    [1.0, 1.0, 0.1, 0.01, 0.01]
    """
    period = min(int(progress * periods), periods - 1)
    return float(final_fraction ** (period / (periods - 1))) if periods > 1 else 1.0


SCHEDULES: dict[str, Callable[..., float]] = {"constant": constant, "linear": linear, "cosine": cosine, "steps": steps}


def warm_up(step: int, steps: int) -> float:
    """The factor at step 1, 2, … while the rate rises on a straight line to 1 at step `steps`; 1 without a warm-up.

    >>> [warm_up(n, 4) for n in (1, 2, 4, 5)], warm_up(1, 0)
    ([0.25, 0.5, 1.0, 1.0], 1.0)
    """
    return min(1.0, step / steps) if steps else 1.0
