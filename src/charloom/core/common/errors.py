"""What can go wrong, each kind with the exit code that the command line gives it.

A message is one line: what must hold, what was found, what to try. The core names no configuration key; its caller adds
a hint that does.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class CharloomError(Exception):
    """A failure that the user can do something about; anything else is a bug."""

    exit_code = 1


class ConfigError(CharloomError):
    """A key, a type or a range in the configuration."""

    exit_code = 2


class DataError(CharloomError):
    """The corpus, or another text."""

    exit_code = 3


class StateError(CharloomError):
    """A checkpoint or a model, or a training that diverged."""

    exit_code = 4


class EnvironmentFault(CharloomError):
    """The environment: disk, memory, lock, port, permission, network."""

    exit_code = 5


class GradientError(CharloomError):
    """The analytic gradient is not the gradient of the loss."""

    exit_code = 6


@contextmanager
def hint(kind: type[CharloomError], text: str) -> Iterator[None]:
    """Add what to try to the errors of one kind that the block raises.

    >>> with hint(DataError, "give a longer text"):
    ...     raise DataError("the text is empty")
    Traceback (most recent call last):
    charloom.core.common.errors.DataError: the text is empty; give a longer text
    """
    try:
        yield
    except kind as error:
        raise type(error)(f"{error}; {text}") from None
