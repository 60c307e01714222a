"""The jobs of a sweep and the configurations that they repeat: mean and standard deviation over the seeds.

Every figure is in nats per character, so that all of a table can be compared. Knows nothing about files and MLflow.
"""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from charloom.core.common.formatting import in_one_line

FIGURES = ("validation_nats_per_char", "nats_per_char")
"""The figures of a job as TrainingMetrics names them, first the one that counts; it takes a validation text."""

_LINE = "{:>8}  {:>5}  {:>15}  {:>15}  {}"  # of the table on the terminal


@dataclass(frozen=True)
class Job:
    """A job of a sweep: its number, its overrides, and its figures or its failure."""

    number: int
    overrides: list[str]
    figures: Mapping[str, float]
    error: str = ""
    exit_code: int = 0

    def row(self) -> dict[str, Any]:
        """The job as a row of the table of all jobs."""
        return {"job": self.number, **_values(self.overrides), **self.figures, "error": self.error}

    @property
    def seed(self) -> str:
        """The seed among the overrides, or an empty text."""
        return str(_values(self.overrides).get("seed", ""))


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
    """The jobs whose overrides differ in the seed alone, and the mean of each of their figures.

    `overrides` are those that they share: without the seed, where there is more than one.
    """

    overrides: list[str]
    jobs: list[Job]

    @property
    def figures(self) -> dict[str, Mean]:
        """Each figure over the seeds; a job that only repeats another's seed does not count, nor one that failed."""
        found = {}
        for name in FIGURES:
            by_seed = {
                job.seed: job.figures[name] for job in self.jobs if math.isfinite(job.figures.get(name, math.inf))
            }
            if by_seed:
                found[name] = Mean.over(list(by_seed.values()))
        return found

    @property
    def seeds(self) -> int:
        """How many different seeds have figures."""
        return max((mean.n for mean in self.figures.values()), default=0)

    def row(self) -> dict[str, Any]:
        """The configuration as a row of the summary."""
        row: dict[str, Any] = {"jobs": " ".join(str(job.number) for job in self.jobs), **_values(self.overrides)}
        return row | self.metrics() | {"failed": sum(bool(job.error) for job in self.jobs)}

    def metrics(self) -> dict[str, float]:
        """The number of seeds, the mean of each figure and, where there are two seeds or more, its deviation."""
        metrics: dict[str, float] = {"seeds": self.seeds}
        for name, mean in self.figures.items():
            metrics |= {name: mean.mean} | ({} if mean.sd is None else {f"{name}_sd": mean.sd})
        return metrics


def configurations(jobs: Iterable[Job]) -> list[Configuration]:
    """The configurations of a sweep, the best first: by the validation loss, by the training loss where there is none.

    >>> jobs = [Job(i, ["model=gru", f"seed={i}"], {"nats_per_char": 2.0 + i}) for i in range(3)]
    >>> (found,) = configurations(jobs)
    >>> found.overrides, str(found.figures["nats_per_char"])
    (['model=gru'], '3.0000 ± 1.0000')
    """
    groups: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        others = tuple(override for override in job.overrides if _key(override) != "seed")
        groups.setdefault(others, []).append(job)
    found = []
    for overrides, members in groups.items():
        one_seed = len({job.seed for job in members}) == 1
        found.append(Configuration(members[0].overrides if one_seed else list(overrides), members))
    return sorted(found, key=_order)


def table(found: Iterable[Configuration]) -> Iterator[str]:
    """The lines of the table on the terminal: a line for each configuration, and the errors of its jobs."""
    yield "Losses in nats per character; over several seeds, their mean ± standard deviation"
    yield _LINE.format("jobs", "seeds", "validation", "training", "overrides")
    for configuration in found:
        numbers = ",".join(str(job.number) for job in configuration.jobs)
        figures = (str(configuration.figures.get(name, "-")) for name in FIGURES)
        errors = "".join(f"  {job.error}" for job in configuration.jobs if job.error)
        line = _LINE.format(numbers, configuration.seeds, *figures, f"{' '.join(configuration.overrides)}{errors}")
        yield in_one_line(line.rstrip())


def _order(configuration: Configuration) -> tuple[float, ...]:
    figures = configuration.figures
    return tuple(figures[name].mean if name in figures else math.inf for name in FIGURES)


def _values(overrides: Iterable[str]) -> dict[str, str]:
    return {_key(override): override.partition("=")[2] for override in overrides}


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+")
