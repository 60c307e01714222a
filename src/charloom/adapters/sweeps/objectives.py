"""What the jobs of a sweep are compared by: a loss per character, the lowest of which is the best.

Each is a figure in a file of the job's stages, in nats there, and can be asked for in nats or in bits.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from charloom.adapters.files import artifacts

FIGURES = {
    "validation_nats_per_char": "validation text, at the end of the training",
    "best_validation_nats_per_char": "validation text, lowest during the training",
    "carried_nats_per_char": "evaluation, with carried state",
    "windows_nats_per_char": "evaluation, in windows",
    "nats_per_char": "training text, smooth loss at the end",
}
"""Every figure of a job, in nats per character, with what it is; the last one alone needs no validation text."""

WITHOUT_VALIDATION = "nats_per_char"


@dataclass(frozen=True)
class Objective:
    """A figure in a unit, in which everything beside it is given too.

    >>> objective = Objective.named("validation_bits_per_char")
    >>> objective.figure, objective.unit, objective.column("nats_per_char"), round(objective.from_nats(1.0), 3)
    ('validation_nats_per_char', 'bits', 'bits_per_char', 1.443)
    """

    figure: str
    unit: str = "nats"

    @classmethod
    def named(cls, name: str) -> "Objective":
        """The objective that `sweep.objective` names: a figure, with its nats or with bits instead."""
        figure = name.replace("bits", "nats")
        return cls(figure, "nats" if name == figure else "bits")

    @property
    def name(self) -> str:
        """Its name, as `sweep.objective` has it."""
        return self.column(self.figure)

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"{self.unit} per character, {FIGURES[self.figure]}"

    def column(self, figure: str) -> str:
        """The name of a figure in this unit."""
        return figure.replace("nats", self.unit)

    def from_nats(self, nats: float) -> float:
        """A loss in this unit."""
        return nats if self.unit == "nats" else nats / math.log(2)

    def read(self, folder: Path) -> float | None:
        """The objective of the finished job in a folder, where it has one. Raises StateError as `read_figures` does."""
        nats = read_figures(folder).get(self.figure)
        return None if nats is None else self.from_nats(nats)

    def read_or_training(self, folder: Path) -> float:
        """The objective, or in its place the training loss where the job has no validation text. Raises StateError."""
        figures = read_figures(folder)
        return self.from_nats(figures.get(self.figure, figures[WITHOUT_VALIDATION]))


def read_figures(folder: Path) -> dict[str, float]:
    """The figures of the finished job in a folder, those that it has.

    Raises StateError where a file of its stages is missing or damaged.
    """
    metrics, evaluation = vars(artifacts.METRICS.read(folder)), artifacts.EVALUATION.read(folder)
    found = {name: metrics[name] for name in FIGURES if metrics.get(name) is not None}
    scores = {"carried_nats_per_char": evaluation.carried, "windows_nats_per_char": evaluation.windows}
    return found | {name: score.nats_per_char for name, score in scores.items() if score}
