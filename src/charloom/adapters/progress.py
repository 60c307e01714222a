"""The progress of long work on standard error: a bar on a terminal, elsewhere a line every ten seconds."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from charloom.core.training import Training

_STEPS_BETWEEN_CHECKS = 50
_SECONDS_BETWEEN_LINES = 10
_VALIDATIONS_AT_ONCE = 20  # that are told however fast they follow one another
_SECONDS_BETWEEN_VALIDATIONS = 1


class Progress:
    """A context around the updates of a training that ends at step `steps` at the latest."""

    def __init__(self, training: "Training", steps: int) -> None:
        self._training = training
        self._first_step, self._first_progress, self._started = training.step, training.progress, time.monotonic()
        self._last_line = self._last_validation = self._started
        self._validations = 0
        self._bar = tqdm(
            total=steps,
            initial=training.step,
            unit="step",
            disable=None,  # where standard error is not a terminal
            mininterval=0.2,
            bar_format="{percentage:3.0f}% |{bar}| step {n:,}/{total:,} · {postfix} · {remaining} left",
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        if self._training.step:
            print(f"step {self._training.step:,}: {self._figures(', ')}, {self._seconds():.0f} s", file=sys.stderr)

    def advance(self) -> None:
        """Show that one more training step is done."""
        step = self._training.step
        if step % _STEPS_BETWEEN_CHECKS:
            return
        if not self._bar.disable:
            self._bar.set_postfix_str(self._figures(" · "), refresh=False)
            self._bar.update(step - self._bar.n)
        elif time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line, progress = time.monotonic(), self._training.progress
            left = self._seconds() * (1 - progress) / max(progress - self._first_progress, 1e-9)
            print(f"step {step:,}/{self._bar.total:,}: {self._figures(', ')}, {left:.0f} s left", file=sys.stderr)

    def tell(self, line: str) -> None:
        """Show a line, above the bar where there is one."""
        self._bar.write(line, file=sys.stderr)

    def tell_validation(self, loss: float) -> None:
        """Show a validation loss in nats per character, beside the lowest: each of the first, then one a second."""
        now, training = time.monotonic(), self._training
        if self._validations < _VALIDATIONS_AT_ONCE or now - self._last_validation > _SECONDS_BETWEEN_VALIDATIONS:
            self._last_validation = now
            self._validations += 1
            best = f"lowest {training.best_validation:#.4g} at step {training.best_step:,}"
            self.tell(f"step {training.step:,}: validation {loss:#.4g} nats/character, {best}")

    def _figures(self, separator: str) -> str:
        """The smooth loss and the characters per second, of all streams."""
        training = self._training
        chars = (training.step - self._first_step) * training.seq_length * training.state.shape[2]
        rate = chars / max(self._seconds(), 1e-9)
        return f"smooth loss {training.smooth_loss:.2f}{separator}{rate:,.0f} characters/s"

    def _seconds(self) -> float:
        return time.monotonic() - self._started


def job_bar(jobs: int, *, done: int) -> "tqdm[Any]":
    """A bar over the jobs of a sweep."""
    return tqdm(
        total=jobs, initial=done, unit="job", disable=None, bar_format="{l_bar}{bar}| job {n}/{total} {elapsed}"
    )


@contextmanager
def counted(map: Callable[..., Iterable[Any]], name: str) -> Iterator[Callable[..., Iterable[Any]]]:
    """A `map` that shows how many of its jobs are done."""
    started = last_line = time.monotonic()

    def counting_map(function: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[Any]:
        nonlocal last_line
        bar.total = (bar.total or 0) + len(jobs)
        for result in map(function, jobs):
            bar.update()
            if bar.disable and time.monotonic() - last_line > _SECONDS_BETWEEN_LINES:
                last_line = time.monotonic()
                print(f"{name}: {last_line - started:.0f} s", file=sys.stderr)
            yield result

    with tqdm(desc=name, unit="job", disable=None, leave=False) as bar:
        yield counting_map
