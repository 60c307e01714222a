"""The jobs of a sweep and the configurations that they repeat: mean and standard deviation over the seeds.

Figures are losses in nats per character. Knows nothing about files and MLflow.
"""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from charloom.adapters.sweeps.records import Status

SEED = "seed"
_DRAWS = 10_000  # of the bootstrap
_CONFIDENCE = 0.95
_NOT_OF_THE_RESULT = ("tracking", "sweep", "hydra", "out", "inp")


@dataclass(frozen=True)
class Job:
    """A job of a sweep: its overrides, what is known of its parameters by dotted key, and what became of it.

    A job that has finished has figures; for any other, `reason` says why it has none.
    """

    number: int
    overrides: tuple[str, ...]
    status: Status
    parameters: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    exit_code: int = 0
    seconds: float | None = None

    @property
    def error(self) -> str:
        """Why the job failed or was interrupted, or an empty text."""
        return (self.reason or self.status) if self.status in ("failed", "interrupted") else ""


@dataclass(frozen=True)
class Mean:
    """The mean of n values and their sample standard deviation, with n - 1 below the sum; None for a single value.

    >>> str(Mean.over([1.0, 2.0, 4.5])), str(Mean.over([2.0]))
    ('2.5000 ± 1.8028', '2.0000')
    """

    mean: float
    sd: float | None
    n: int

    @classmethod
    def over(cls, values: Sequence[float]) -> "Mean":
        """Of one value or more."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))

    def __str__(self) -> str:
        return f"{self.mean:.4f}" if self.sd is None else f"{self.mean:.4f} ± {self.sd:.4f}"


@dataclass(frozen=True)
class Configuration:
    """The jobs whose parameters differ in the seed alone, and the mean of each of their figures."""

    parameters: Mapping[str, Any]
    jobs: list[Job]

    def values(self, figure: str) -> list[float]:
        """A figure of each seed; a job that only repeats another's seed does not count, nor one that has not finished.

        A loss that is not finite is none: what diverged has no place on a scale.
        """
        by_seed: dict[object, float] = {}
        for job in self.jobs:
            if math.isfinite(value := job.figures.get(figure, math.nan)):
                by_seed.setdefault(job.parameters.get(SEED), value)
        return list(by_seed.values())

    def mean(self, figure: str) -> Mean | None:
        """The mean of a figure over the seeds, where there is any."""
        values = self.values(figure)
        return Mean.over(values) if values else None

    @cached_property
    def counts(self) -> Counter[str]:
        """How many of the jobs have each status."""
        return Counter(job.status for job in self.jobs)

    @property
    def seeds(self) -> int:
        """How many different seeds have figures."""
        return len({job.parameters.get(SEED) for job in self.jobs if job.figures})

    @property
    def overrides(self) -> list[str]:
        """What to type for a run of it: without the seed, where there are several, and what shapes no result."""
        job = next((job for job in self.jobs if job.figures), self.jobs[0])
        several = len({job.parameters.get(SEED) for job in self.jobs}) > 1
        left_out = (*_NOT_OF_THE_RESULT, *([SEED] if several else []))
        return [each for each in job.overrides if key_of(each).partition(".")[0].partition("/")[0] not in left_out]


@dataclass(frozen=True)
class Lead:
    """How far the mean of the best is below that of the second.

    `low` and `high` are the ends of a bootstrap interval of 95 %: of both, as many seeds as there are were drawn with
    replacement, again and again. There is none where one of them has a single seed. Of few seeds, the interval is too
    narrow rather than too wide.
    """

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def between(cls, best: Sequence[float], second: Sequence[float]) -> "Lead":
        """The lead of some values over others, the same whenever it is asked for.

        >>> Lead.between([1.0, 2.0], [4.0, 4.0])
        Lead(value=2.5, low=2.0, high=3.0)
        """
        value = statistics.fmean(second) - statistics.fmean(best)
        if min(len(best), len(second)) < 2:
            return cls(value)
        rng = np.random.default_rng(0)
        means = [rng.choice(np.asarray(values), (_DRAWS, len(values))).mean(axis=1) for values in (second, best)]
        outside = (1 - _CONFIDENCE) / 2
        low, high = np.quantile(means[0] - means[1], (outside, 1 - outside))
        return cls(value, float(low), float(high))

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.4f}, without an interval: that takes several seeds of both"
        clear = "" if self.low > 0 else ": it may be none"
        return f"{self.value:.4f}, 95 % bootstrap interval {self.low:.4f} to {self.high:.4f}{clear}"


def configurations(jobs: Iterable[Job]) -> list[Configuration]:
    """The configurations of a sweep, in the order of their first jobs.

    >>> jobs = [Job(i, (), "finished", {"seed": i, "model.cell": "gru"}, {"nats_per_char": 2.0 + i}) for i in range(3)]
    >>> (found,) = configurations(jobs)
    >>> found.parameters, str(found.mean("nats_per_char"))
    ({'model.cell': 'gru'}, '3.0000 ± 1.0000')
    """
    jobs = list(jobs)
    known = max((len(job.parameters) for job in jobs), default=0)
    groups: dict[object, list[Job]] = {}
    for job in jobs:
        shaping: frozenset[object] = frozenset((key, value) for key, value in job.parameters.items() if key != SEED)
        if len(job.parameters) < known:  # it was refused: its overrides tell it from others
            shaping = frozenset(each for each in job.overrides if key_of(each) != SEED)
        groups.setdefault(shaping, []).append(job)
    return [Configuration(_without_seed(members[0].parameters), members) for members in groups.values()]


def differing(jobs: Sequence[Job]) -> Iterator[str]:
    """The keys whose values differ between jobs that have them, in the order of the parameters; the seed is one."""
    for key in dict.fromkeys(key for job in jobs for key in job.parameters):
        if len({job.parameters[key] for job in jobs if key in job.parameters}) > 1:
            yield key


def key_of(override: str) -> str:
    """The key that an override gives a value."""
    return override.partition("=")[0].lstrip("+")


def _without_seed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in parameters.items() if key != SEED}
