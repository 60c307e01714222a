"""Training: one update after the other, windows in text order, and what is known of the course.

    smooth_1 = L_1 ;  smooth_n = 0.999 smooth_{n-1} + 0.001 L_n

Yields what happened; what is logged, drawn or saved is the caller's to decide. Knows nothing about files.
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from charloom.core.common.errors import DataError, StateError
from charloom.core.common.types import Array, Ids
from charloom.core.network.network import Network
from charloom.core.training.optimizers import Optimizer
from charloom.core.training.workers import Crew

LearningRate = Callable[[int, float], float]
EVALUATION_WINDOW = 256  # characters; the loss does not depend on it


class Update(NamedTuple):
    """What an update did; losses are in nats per window of T characters, the mean over the streams."""

    step: int
    loss: float
    smooth_loss: float


class Training:
    """A training at some point of its course: everything that the next update depends on.

    The text is cut into B streams of `stream_length` characters that follow one another; each stream's last target is
    the next stream's first character. Position n of all streams is read together, T characters a step; the pass ends
    when position >= stream_length - T (for one stream: len(text) - T - 1, as in the reference), and what is left by
    then, at most T characters of each stream and what the division of the text left over, is not read: the next pass
    begins at 0 with a zero state.

    It is meant to end after `steps` updates or `max_seconds` seconds (None: no such end), whichever is first;
    `learning_rate` gives η of a step from its number and the progress towards that end, 0 to 1, and None leaves the
    optimizer's as it is. `best` are the parameters with the least validation loss that `note_validation` was told of.
    `crew` computes the gradient of a window; None is this process alone, without dropout.

    `ids` may be a memory map. Raises DataError if the streams are shorter than a window.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        ids: Ids,
        *,
        seq_length: int,
        batch_size: int,
        smoothing: float,
        steps: int | None = None,
        max_seconds: float | None = None,
        learning_rate: LearningRate | None = None,
        crew: Crew | None = None,
    ) -> None:
        T, B = seq_length, batch_size
        if len(ids) < B * T + 1:
            raise DataError(
                f"the training text has {len(ids)} characters, and {B} streams of windows of {T} need {B * T + 1}; "
                "give a longer text, or lower train.seq_length or train.batch_size"
            )
        self.network, self.optimizer, self.seq_length, self.smoothing = network, optimizer, T, smoothing
        self.stream_length = (len(ids) - 1) // B
        windows = np.lib.stride_tricks.sliding_window_view(ids, self.stream_length + 1)
        self._streams = windows[:: self.stream_length][:B]  # (B, stream_length + 1), the last one shared
        self.state = network.zero_state(B)
        self.step = self.epoch = self.position = 0
        self.loss = self.smooth_loss = float("nan")
        self.steps, self.max_seconds, self._learning_rate = steps, max_seconds, learning_rate
        self._crew = crew or Crew(network)
        self.best = network.parameters.vector.copy()
        self.best_step, self.best_validation, self.validations_since_best = 0, math.inf, 0
        self._seconds_before, self._started = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """The time that the training has taken, also before it was resumed."""
        return self._seconds_before + time.monotonic() - self._started

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self._seconds_before, self._started = seconds, time.monotonic()

    @property
    def progress(self) -> float:
        """How far the training has come towards its end, 0 to 1."""
        in_steps = self.step / self.steps if self.steps else 0.0
        in_time = self.seconds / self.max_seconds if self.max_seconds else 0.0
        return min(1.0, max(in_steps, in_time))

    def updates(self) -> Iterator[Update]:
        """Update after update, without end: who asks decides when to stop.

        Raises StateError for a loss that is not finite.
        """
        while True:
            if self._learning_rate is not None:
                self.optimizer.learning_rate = self._learning_rate(self.step + 1, self.progress)
            yield self._update()

    def note_validation(self, loss: float) -> None:
        """Keep the parameters of now as the best, if this validation loss is below all before."""
        if loss < self.best_validation:
            self.best_step, self.best_validation, self.validations_since_best = self.step, loss, 0
            self.best[:] = self.network.parameters.vector
        else:
            self.validations_since_best += 1

    def _update(self) -> Update:
        T, network = self.seq_length, self.network
        window = self._streams[:, self.position : self.position + T + 1].T  # (T + 1, B)
        loss, state = self._crew.gradient(window, self.state, self.step + 1)
        if not math.isfinite(loss):
            raise StateError(
                f"the loss is {loss} at step {self.step + 1}; the last finite checkpoint is kept; lower "
                "optimizer.learning_rate or optimizer.clip_value"
            )
        self.optimizer.update(network.parameters.vector, network.gradients.vector)

        self.step += 1
        self.loss, self.state = loss, state
        kept = self.smoothing if self.step > 1 else 0.0
        self.smooth_loss = kept * self.smooth_loss + (1 - kept) * loss if kept else loss
        self.position += T
        if self.position >= self.stream_length - T:
            self.position, self.epoch = 0, self.epoch + 1
            self.state = network.zero_state(self.state.shape[2])
        return Update(self.step, loss, self.smooth_loss)

    @property
    def next_id(self) -> int:
        """The character that the first stream reads next."""
        return int(self._streams[0, self.position])

    def arrays(self) -> dict[str, Array]:
        """The arrays of the state, by name; not copies."""
        optimizer = {f"optimizer.{name}": array for name, array in self.optimizer.state.items()}
        return {**self.network.parameters, "state": self.state, "best": self.best, **optimizer}

    def values(self) -> dict[str, Any]:
        """The numbers of the state, by name."""
        return {name: getattr(self, name) for name in _VALUES}

    def restore(self, arrays: dict[str, Array], values: dict[str, Any]) -> None:
        """Go to the point that `arrays` and `values` were taken at.

        Raises StateError if they are of another training.
        """
        own = self.arrays()
        for name, array in own.items():
            other = arrays.get(name)
            if other is None or other.shape != array.shape or other.dtype != array.dtype:
                found = "is missing" if other is None else f"is {other.dtype}{list(other.shape)}"
                raise StateError(f"{name} {found} in the checkpoint where {array.dtype}{list(array.shape)} is wanted")
            array[...] = other
        for name in _VALUES:
            if name not in values:
                raise StateError(f"{name} is missing in the checkpoint")
            setattr(self, name, values[name])


_VALUES = (
    "step",
    "epoch",
    "position",
    "loss",
    "smooth_loss",
    "best_step",
    "best_validation",
    "validations_since_best",
    "seconds",
)


def evaluate(network: Network, ids: Ids) -> float:
    """The mean loss in nats per character over the whole text, read once with carried state from a zero one.

    The first character is read and not foretold. Changes neither the network's parameters nor any state of a training.
    Raises DataError for a text of fewer than two characters.
    """
    if len(ids) < 2:
        raise DataError(f"an evaluation needs two characters or more: {len(ids)}")
    state, total = network.zero_state(1), 0.0
    for start in range(0, len(ids) - 1, EVALUATION_WINDOW):
        window = ids[start : start + EVALUATION_WINDOW + 1, None]
        loss, state = network.forward(window[:-1], window[1:], state)
        total += float(loss)
    return total / (len(ids) - 1)
