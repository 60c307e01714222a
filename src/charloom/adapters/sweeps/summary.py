"""A sweep in sum: its configurations, the best first, in one unit, with only what differs between them.

Knows nothing about the page and about MLflow.
"""

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

from charloom.adapters.sweeps.jobs import SEED, Configuration, Job, Lead, Mean, configurations, differing
from charloom.adapters.sweeps.objectives import FIGURES, WITHOUT_VALIDATION, Objective
from charloom.adapters.tracking.payload import as_text
from charloom.core.common.formatting import in_one_line

_MOST_LINES = 25  # of configurations, on the terminal
_MOST_VALUES = 12  # of a key, where they are listed
_UNFINISHED = ("failed", "pruned", "interrupted", "running")
_STATUSES = ("finished", *_UNFINISHED)


@dataclass(frozen=True)
class Summary:
    """The jobs of a sweep by what they are compared with, `objective`; `note` says why it is not the one asked for."""

    objective: Objective
    jobs: list[Job]
    configurations: list[Configuration]
    note: str = ""

    @cached_property
    def keys(self) -> list[str]:
        """The keys whose values differ between configurations."""
        return [key for key in differing(self.jobs) if key != SEED]

    @cached_property
    def figures(self) -> list[str]:
        """The figures that there are of any job, the objective first."""
        found = {name for job in self.jobs for name in job.figures}
        others = [name for name in FIGURES if name in found and name != self.objective.figure]
        return [self.objective.figure, *others]

    @property
    def ranked(self) -> list[Configuration]:
        """The configurations that have the objective, the best first."""
        return [each for each in self.configurations if self.mean(each)]

    @property
    def best(self) -> Configuration | None:
        """The best configuration, where any has the objective."""
        return next(iter(self.ranked), None)

    @property
    def worst(self) -> Configuration | None:
        """The configuration with the highest objective, where it is not the best."""
        highest = max(self.ranked, key=lambda each: fmean(self.values(each)), default=None)
        return None if highest is self.best else highest

    @property
    def best_job(self) -> Job | None:
        """The best of the best configuration's jobs."""
        return self.first_job(self.best) if self.best else None

    def first_job(self, configuration: Configuration) -> Job:
        """The job of a ranked configuration with the lowest objective."""
        return min(configuration.jobs, key=lambda job: job.figures.get(self.objective.figure, math.inf))

    @cached_property
    def lead(self) -> Lead | None:
        """The lead of the best over the second, in the objective's unit; None without a second."""
        if len(self.ranked) < 2:
            return None
        best, second = (self.values(each) for each in self.ranked[:2])
        return Lead.between(best, second)

    @property
    def counts(self) -> Counter[str]:
        """How many jobs have each status."""
        return Counter(job.status for job in self.jobs)

    @cached_property
    def several_seeds(self) -> bool:
        """Whether any configuration has figures of more than one seed."""
        return any(each.seeds > 1 for each in self.configurations)

    def values(self, configuration: Configuration) -> list[float]:
        """The objective for each seed of a configuration."""
        return [self.objective.from_nats(value) for value in configuration.values(self.objective.figure)]

    def mean(self, configuration: Configuration, figure: str | None = None) -> Mean | None:
        """The mean of a figure in the objective's unit; of the objective itself where none is named."""
        values = configuration.values(figure or self.objective.figure)
        return Mean.over([self.objective.from_nats(value) for value in values]) if values else None

    def best_overrides(self) -> list[str]:
        """The overrides that give the best configuration, as they would stand in a program; empty without one."""
        return self.best.overrides if self.best else []

    def best_command(self) -> str:
        """What to type in a shell for a run of the best configuration."""
        return shlex.join(["python", "-m", "charloom.experiment", *self.best_overrides()])

    def job_rows(self) -> list[dict[str, Any]]:
        """The table of all jobs."""
        keys = list(differing(self.jobs))
        return [
            {"job": job.number, "status": job.status}
            | {key: job.parameters.get(key, "") for key in keys}
            | {
                self.objective.column(name): self.objective.from_nats(job.figures[name]) if name in job.figures else ""
                for name in self.figures
            }
            | {"seconds": "" if job.seconds is None else round(job.seconds, 1), "error": job.error}
            for job in self.jobs
        ]

    def rows(self) -> list[dict[str, Any]]:
        """The table of all configurations, the best first."""
        return [self._row(configuration) for configuration in self.configurations]

    def metrics(self) -> dict[str, float]:
        """The best configuration in figures: its seeds, means and deviations, and its lead; empty without one."""
        if not self.best:
            return {}
        found = {name: value for name, value in self._figures(self.best).items() if value != ""}
        if self.lead:
            ends = {"lead_low": self.lead.low, "lead_high": self.lead.high}
            found |= {"lead": self.lead.value} | {name: end for name, end in ends.items() if end is not None}
        return found

    def swept(self) -> dict[str, str]:
        """The values that each key had, the seed included, in a line."""
        keys = differing(self.jobs)
        return {key: _listed(job.parameters[key] for job in self.jobs if key in job.parameters) for key in keys}

    def _row(self, configuration: Configuration) -> dict[str, Any]:
        counts = {status: configuration.counts[status] for status in _UNFINISHED if self.counts[status]}
        counts.setdefault("failed", 0)
        return (
            {"jobs": " ".join(str(job.number) for job in configuration.jobs)}
            | {key: configuration.parameters.get(key, "") for key in self.keys}
            | self._figures(configuration)
            | counts
        )

    def _figures(self, configuration: Configuration) -> dict[str, Any]:
        row: dict[str, Any] = {"seeds": configuration.seeds}
        for figure in self.figures:
            name, mean = self.objective.column(figure), self.mean(configuration, figure)
            row[name] = mean.mean if mean else ""
            if self.several_seeds:
                row[f"{name}_sd"] = "" if mean is None or mean.sd is None else mean.sd
        return row


def summarize(jobs: Sequence[Job], objective: Objective) -> Summary:
    """The summary of jobs, by the objective, or by the training loss where no finished job has it.

    A configuration with a pruned seed comes after all that have none: its mean is that of the seeds that did well.
    """
    note = ""
    finished = [job for job in jobs if job.figures]
    if finished and not any(objective.figure in job.figures for job in finished):
        asked, objective = objective, Objective(WITHOUT_VALIDATION, objective.unit)
        note = f"no job has {asked.name}: there is no validation text, and {objective.name} decides"

    def order(configuration: Configuration) -> tuple[float, ...]:
        mean = configuration.mean(objective.figure)
        return (mean is None, configuration.counts["pruned"] > 0, mean.mean if mean else 0.0)

    return Summary(objective, list(jobs), sorted(configurations(jobs), key=order), note)


def lines(summary: Summary) -> Iterator[str]:
    """The summary on the terminal: a line for each configuration, the best, and its lead."""
    several = "; mean ± standard deviation over the seeds" if summary.several_seeds else ""
    yield f"{counted(summary)}; {summary.objective.label}{several}"
    if summary.note:
        yield summary.note
    yield from _table(summary)
    if summary.best:
        yield f"best: {summary.best_command()}"
    if summary.lead:
        yield f"its lead over the second: {summary.lead}"


def description(summary: Summary) -> str:
    """The summary in Markdown, for the page of the sweep's run: indented, so that it shows every character."""
    told = [line for line in lines(summary) if not line.startswith("  ")]
    best = f"best: {settings(summary.best, summary.keys)}, {summary.mean(summary.best)}" if summary.best else ""
    return "\n".join(f"    {in_one_line(line)}" for line in [best, *told] if line)


def counted(summary: Summary) -> str:
    """How many configurations and jobs there are, and what became of these."""
    configurations, jobs = len(summary.configurations), len(summary.jobs)
    found = [f"{summary.counts[status]} {status}" for status in _STATUSES if summary.counts[status]]
    plural = "s" if configurations > 1 else ""
    return f"{configurations} configuration{plural}, {jobs} job{'s' if jobs > 1 else ''}: {', '.join(found)}"


def settings(configuration: Configuration, keys: Iterable[str]) -> str:
    """The values of these keys, as they would stand on a command line.

    >>> made = Configuration({"model.cell": "gru", "optimizer.clip_value": None}, [])
    >>> settings(made, ["model.cell", "optimizer.clip_value"])
    'model.cell=gru optimizer.clip_value=null'
    """
    found = configuration.parameters
    return " ".join(f"{key}={as_text(found[key])}" for key in keys if key in found)


def _table(summary: Summary) -> Iterator[str]:
    figures = [*dict.fromkeys([summary.objective.figure, *summary.figures[-1:]])]
    rows = [("jobs", "seeds", *map(summary.objective.column, figures), "")]
    for configuration in summary.configurations[:_MOST_LINES]:
        numbers = ",".join(str(job.number) for job in configuration.jobs)
        means = (str(summary.mean(configuration, figure) or "-") for figure in figures)
        unfinished = (
            f"{configuration.counts[status]} {status}" for status in _UNFINISHED if configuration.counts[status]
        )
        said = "  ".join([settings(configuration, summary.keys), *unfinished])
        rows.append((numbers, str(configuration.seeds), *means, said))
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    for *cells, last in rows:
        aligned = "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        yield in_one_line(f"  {aligned}  {last}".rstrip())
    if len(summary.configurations) > _MOST_LINES:
        yield f"  … and {len(summary.configurations) - _MOST_LINES} more"


def _listed(values: Iterable[object]) -> str:
    """The different values, the first and the last alone where they are many."""
    texts = [as_text(value) for value in dict.fromkeys(values)]
    return ", ".join(texts) if len(texts) <= _MOST_VALUES else f"{texts[0]} … {texts[-1]} ({len(texts)} values)"
