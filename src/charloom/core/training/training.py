"""Training: one update after the other, windows in text order.

    smooth_1 = L_1 ;  smooth_n = 0.999 smooth_{n-1} + 0.001 L_n

Yields what happened; what is logged, drawn or saved is the caller's to decide. Knows nothing about files.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from charloom.core.common.errors import DataError, StateError
from charloom.core.common.types import Array, Ids
from charloom.core.network import Network
from charloom.core.training.diagnostics import Diagnostics
from charloom.core.training.optimizers import Optimizer
from charloom.core.training.resets import Resets
from charloom.core.training.workers import WorkerPool

LearningRate = Callable[[int, float], float]


class Update(NamedTuple):
    """What an update did; losses are in nats per window of T characters, the mean over the streams."""

    step: int
    loss: float
    smooth_loss: float


_VALUES = (*Update._fields, "epoch", "position", "best_step", "best_validation", "validations_since_best", "seconds")


class Training:
    """A training and its state: everything that the next update depends on.

    The text is cut into B streams of `stream_length` characters that follow one another; each stream's last target is
    the next stream's first character. An update reads T characters of all streams from `position` on. The epoch ends
    when position >= stream_length - T (for one stream: len(text) - T - 1, as in the reference); what is left by then,
    at most T characters of each stream and what the division of the text left over, is not read. The next epoch starts
    at position 0 with a zero state.

    `step`, `epoch`, `position`, `loss` and `smooth_loss` say where the training is; `best` holds the parameters with
    the lowest validation loss that `note_validation` was told of, at `best_step`; `pool` computes the gradients;
    `diagnostics` tells what is wrong with the training.

    >>> from charloom.core.training.optimizers import AdaGrad
    >>> network = Network(vocabulary_size=2, hidden_size=3, dtype=np.float64)
    >>> optimizer = AdaGrad(network.parameters.vector.size, np.float64, learning_rate=0.1, epsilon=1e-8)
    >>> ids = np.array([0, 1] * 20, np.uint8)
    >>> training = Training(network, optimizer, ids, seq_length=4, batch_size=1, smoothing=0.999)
    >>> update = next(training.updates())
    >>> update.step, round(update.loss, 3)  # 4 ln 2
    (1, 2.773)
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
        resets: Resets | None = None,
        pool: WorkerPool | None = None,
    ) -> None:
        """A training at its start.

        Arguments:
            network: what is trained, in place, from the parameters that it has.
            optimizer: the update rule, for a vector of `network.parameters.vector.size` elements.
            ids: the training text, (n,); may be a memory map.
            seq_length: T, characters in a window, >= 1.
            batch_size: B, parallel streams, >= 1.
            smoothing: the weight of the past in the smooth loss, in [0, 1).
            steps: the number of updates at which `progress` is 1; None: no bound.
            max_seconds: the seconds of training at which `progress` is 1; None: no bound.
            learning_rate: η of a training step, from its number and the progress before it; None: the optimizer's own.
            resets: the streams that begin a window with a zero state; None: none, but for the start of an epoch.
            pool: computes the gradients; None: this process alone, without dropout.

        Raises DataError if the streams are shorter than a window.
        """
        T, B = seq_length, batch_size
        if len(ids) < B * T + 1:
            raise DataError(
                f"the training text must have {B * T + 1} characters or more for {B} streams of windows of {T}, "
                f"got {len(ids)}"
            )
        self.network, self.optimizer, self.seq_length, self.smoothing = network, optimizer, T, smoothing
        self.stream_length = (len(ids) - 1) // B
        windows = np.lib.stride_tricks.sliding_window_view(ids, self.stream_length + 1)
        self._streams = windows[:: self.stream_length][:B]  # (B, stream_length + 1), the last one shared
        self.state = network.zero_state(B)
        self.step = self.epoch = self.position = 0
        self.loss = self.smooth_loss = float("nan")
        self.steps, self.max_seconds, self._learning_rate = steps, max_seconds, learning_rate
        self._resets = resets or Resets()
        self.pool = pool or WorkerPool(network)
        self.best = network.parameters.vector.copy()
        self.best_step, self.best_validation, self.validations_since_best = 0, math.inf, 0
        self.diagnostics = Diagnostics(uniform=T * math.log(network.vocabulary_size), characters=T * B)
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """The time that the training has taken, before it was resumed included."""
        return time.monotonic() - self._started

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self._started = time.monotonic() - seconds

    @property
    def progress(self) -> float:
        """How far the training has come, 0 to 1: by steps or by time, whichever is further."""
        in_steps = self.step / self.steps if self.steps else 0.0
        in_time = self.seconds / self.max_seconds if self.max_seconds else 0.0
        return min(1.0, max(in_steps, in_time))

    def updates(self) -> Iterator[Update]:
        """Update after update, without end: the caller decides when to stop.

        Raises StateError for a loss that is not finite, before the update, and where the training has diverged.
        """
        T, network = self.seq_length, self.network
        while True:
            if self._learning_rate is not None:
                self.optimizer.learning_rate = self._learning_rate(self.step + 1, self.progress)
            loss, state = self._gradient()
            if not math.isfinite(loss):
                raise StateError(f"the loss must be finite, got {loss} at step {self.step + 1}")
            self.optimizer.update(network.parameters.vector, network.gradients.vector)

            self.step += 1
            self.loss, self.state = loss, state
            kept = self.smoothing
            self.smooth_loss = kept * self.smooth_loss + (1 - kept) * loss if self.step > 1 else loss
            self.diagnostics.note_update(self.step, loss, state[:, 0])
            self.position += T
            if self.position >= self.stream_length - T:
                self.position, self.epoch = 0, self.epoch + 1
                self.state = network.zero_state(len(self._streams))
            yield Update(self.step, loss, self.smooth_loss)

    def next_update(self) -> tuple[Array, Array]:
        """The gradient of the next update, before it is clipped, and the change of the parameters, (size,) each.

        Makes no update, and changes nothing that the training depends on: dropout, too, is that of the next update.
        """
        params, optimizer = self.network.parameters.vector.copy(), copy.deepcopy(self.optimizer)
        if self._learning_rate is not None:
            optimizer.learning_rate = self._learning_rate(self.step + 1, self.progress)
        self._gradient()
        grads = self.network.gradients.vector
        gradient = grads.copy()
        optimizer.update(params, grads)
        return gradient, params - self.network.parameters.vector

    def _gradient(self) -> tuple[float, Array]:
        """The loss of the window (T + 1, B) that the next update reads, and the state after it; see `WorkerPool`."""
        window = self._streams[:, self.position : self.position + self.seq_length + 1].T
        step = self.step + 1
        return self.pool.gradient(window, self._resets.apply(self.state, step), step)

    def note_validation(self, loss: float) -> None:
        """Keep the present parameters as the best, if this validation loss is the lowest so far.

        Raises StateError for a loss that is not finite.
        """
        if not math.isfinite(loss):
            raise StateError(f"the validation loss must be finite, got {loss} at step {self.step}")
        if loss < self.best_validation:
            self.best_step, self.best_validation, self.validations_since_best = self.step, loss, 0
            self.best[:] = self.network.parameters.vector
        else:
            self.validations_since_best += 1
        self.diagnostics.note_validation(self.step, loss, self.best_validation, self.best_step)

    @property
    def next_id(self) -> int:
        """The character that the first stream reads next."""
        return int(self._streams[0, self.position])

    def arrays(self) -> dict[str, Array]:
        """The arrays of the state, by name; not copies."""
        optimizer = {f"optimizer.{name}": array for name, array in self.optimizer.state.items()}
        return {**self.network.parameters, "state": self.state, "best": self.best, **optimizer}

    def values(self) -> dict[str, Any]:
        """The numbers of the state, by name, as JSON values: None is one that is not finite, as at the start."""
        numbers = {name: getattr(self, name) for name in _VALUES}
        finite = {name: number if math.isfinite(number) else None for name, number in numbers.items()}
        return {**finite, "diagnostics": self.diagnostics.values()}

    def restore(self, arrays: dict[str, Array], values: dict[str, Any]) -> None:
        """Return to the state that `arrays` and `values` were taken from.

        Raises StateError if they are of another training.
        """
        for name, array in self.arrays().items():
            saved = arrays.get(name)
            if saved is None or saved.shape != array.shape or saved.dtype != array.dtype:
                found = "nothing" if saved is None else f"{saved.dtype}{list(saved.shape)}"
                raise StateError(f"{name} must be {array.dtype}{list(array.shape)} in the checkpoint, got {found}")
            array[...] = saved
        for name in _VALUES:
            if name not in values:
                raise StateError(f"{name} is missing in the checkpoint")
            if values[name] is not None:
                setattr(self, name, values[name])
        if "diagnostics" in values:  # older checkpoints have none: what follows is judged by itself
            self.diagnostics = Diagnostics.restored(values["diagnostics"])
