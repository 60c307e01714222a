"""Diagnostics: what is wrong with a training, told from its losses, its hidden units and its validation losses.

The loss of one window is too noisy to judge. What is judged is the mean over a block: 100 updates, or as many as read
2,500 characters where that is more, whatever the smoothing. The measure is the loss of the uniform model, T ln K, which
a training exceeds at its start at most. Knows nothing about networks and optimizers.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from charloom.core.cells.cell import SATURATED
from charloom.core.common.errors import StateError
from charloom.core.common.records import TrainingWarning
from charloom.core.common.types import Array

_UPDATES, _CHARACTERS = 100, 2500  # in a block, at least
_BLOCKS = 5  # in a row: a difficult passage, or a short burst of large gradients, passes
_LAST_BLOCKS = 2  # at the end of a training
_UNITS_EVERY = 10  # updates between looks at the hidden units: looking at each costs 1 % of the time

# The figures behind these bounds are in docs/training.md.
_ABOVE_UNIFORM = 1.05  # of the uniform model's loss
_DIVERGED = 1.5  # of the uniform model's loss, and of the loss at the initial weights
_FALLS, _FALLS_AT_END = 0.9, 0.5  # of the first of five, or two, blocks; less of a fall is noise
_RISEN = 0.5  # of what the loss had fallen below the uniform model's
_RISEN_LEAST = 0.1  # of the uniform model's loss or the lowest, whichever is higher
_SATURATED_UNITS = 0.99
_OVERFITTING = 1.05  # of the lowest validation loss; below it is noise


@dataclass
class Diagnostics:
    """What a training is judged by; `warnings` lists what was found so far, each kind once.

    `uniform` is the loss of the uniform model in nats per window, `characters` how many an update reads, T·B. The rest
    starts as it is here: `first_loss` is the loss at the initial weights, `count`, `mean`, `units` and `saturated`
    belong to the present block, `means` and `saturations` to the last five, and `lowest` is the lowest mean of five.

    >>> diagnostics = Diagnostics(uniform=10.0, characters=25)
    >>> for step in range(1, 1001):
    ...     diagnostics.note_update(step, 10.6)
    >>> [(warning.step, warning.kind) for warning in diagnostics.warnings]
    [(500, 'above_uniform')]
    >>> for step in range(1001, 2001):
    ...     diagnostics.note_update(step, 16.0)
    Traceback (most recent call last):
    charloom.core.common.errors.StateError: the training has diverged: its loss must fall below that of the uniform \
model, 10 nats per window, got 16 at step 1,500
    """

    uniform: float
    characters: int
    first_loss: float = 0.0
    count: int = 0
    mean: float = 0.0
    units: int = 0
    saturated: int = 0
    means: list[float] = field(default_factory=list)
    saturations: list[float] = field(default_factory=list)
    lowest: float | None = None
    lowest_step: int = 0
    risen: str = ""  # the message of an overfitting that the next validation, or the end, will confirm
    warnings: list[TrainingWarning] = field(default_factory=list)

    def note_update(self, step: int, loss: float, h: Array | None = None) -> None:
        """Take account of the `loss` of a training step, and of the hidden states `h` after it.

        Raises StateError where the training has diverged: in five blocks in a row the mean loss was above 1.5 times
        that of the uniform model and that at the initial weights, and it does not fall.
        """
        if step == 1:
            self.first_loss = loss
        self.count += 1
        self.mean += (loss - self.mean) / self.count  # unlike a sum, cannot overflow
        if h is not None and step % _UNITS_EVERY == 0:
            self.units += h.size
            self.saturated += int(np.count_nonzero(np.abs(h) > SATURATED))
        if self.count >= max(_UPDATES, _CHARACTERS / self.characters):
            self._end_block()
            if len(self.means) == _BLOCKS:
                self._judge(step, self.means, _FALLS)
                self._compare(step)

    def note_validation(self, step: int, loss: float, best: float, best_step: int) -> None:
        """Take account of a validation `loss` and of the lowest to date, `best`, in nats per character."""
        message = ""
        if loss > _OVERFITTING * best:
            message = f"the validation loss has risen from its lowest, {best:.4g} nats per character at step "
            message += f"{best_step:,}, to {loss:.4g} at step {step:,}"
        if self.risen and message:
            self._warn(step, "overfitting", message)
        self.risen = message

    def note_end(self, step: int) -> None:
        """Judge the end of a training by its last two blocks, of which the last may be half a block.

        Raises StateError like `note_update`. Without this, a training of fewer than five blocks could not diverge, and
        none could in its last ones.
        """
        if self.count >= max(_UPDATES, _CHARACTERS / self.characters) / 2:
            self._end_block()
        if len(self.means) >= _LAST_BLOCKS:
            self._judge(step, self.means[-_LAST_BLOCKS:], _FALLS_AT_END)
        if self.risen:
            self._warn(step, "overfitting", self.risen)

    @property
    def started_high(self) -> bool:
        """Whether the loss at the initial weights was too high for weights that are nearly zero."""
        return self.first_loss > _DIVERGED * self.uniform

    @property
    def suspect(self) -> bool:
        """Whether the loss is where, if it stays, the training has diverged."""
        last = self.mean if self.count else self.means[-1] if self.means else 0.0
        return last > self._limit

    def values(self) -> dict[str, Any]:
        """The state as JSON values."""
        return asdict(self)

    @classmethod
    def restored(cls, values: dict[str, Any]) -> "Diagnostics":
        """The state that `values` was taken from. Raises StateError for anything else."""
        try:
            return cls(**values | {"warnings": [TrainingWarning(**warning) for warning in values["warnings"]]})
        except (TypeError, KeyError) as error:
            raise StateError(f"diagnostics of the checkpoint are not those of this version ({error})") from None

    @property
    def _limit(self) -> float:
        return _DIVERGED * max(self.uniform, self.first_loss)

    def _end_block(self) -> None:
        saturation = self.saturated / self.units if self.units else 0.0
        self.means = [*self.means, self.mean][-_BLOCKS:]
        self.saturations = [*self.saturations, saturation][-_BLOCKS:]
        self.count, self.mean, self.units, self.saturated = 0, 0.0, 0, 0

    def _judge(self, step: int, means: list[float], falls: float) -> None:
        """Find a loss that stays above the uniform model's; one that falls, from whatever height, does not stay."""
        found = f"that of the uniform model, {self.uniform:.4g} nats per window, got {means[-1]:.4g} at step {step:,}"
        if min(means) > self._limit and means[-1] > falls * means[0]:
            raise StateError(f"the training has diverged: its loss must fall below {found}")
        if min(means) > _ABOVE_UNIFORM * self.uniform and means[-1] >= means[0]:
            self._warn(step, "above_uniform", f"the loss should fall below {found}")

    def _compare(self, step: int) -> None:
        """Compare the last five blocks with the lowest five so far, and their units with saturated ones."""
        mean = sum(mean / _BLOCKS for mean in self.means)
        if self.lowest is None or mean < self.lowest:
            self.lowest, self.lowest_step = mean, step
        rise = max(_RISEN * (self.uniform - self.lowest), _RISEN_LEAST * max(self.uniform, self.lowest))
        if mean > self.lowest + rise:
            message = f"the loss has risen from {self.lowest:.4g} nats per window at step {self.lowest_step:,} "
            self._warn(step, "rising", message + f"to {mean:.4g} at step {step:,}")
        saturation = sum(self.saturations) / _BLOCKS
        if saturation >= _SATURATED_UNITS:
            message = f"{saturation:.1%} of the hidden units are saturated at step {step:,}: |h| > {SATURATED}, where "
            self._warn(step, "saturated", message + "tanh passes almost no gradient")

    def _warn(self, step: int, kind: str, message: str) -> None:
        if all(warning.kind != kind for warning in self.warnings):
            self.warnings.append(TrainingWarning(step, kind, message))
