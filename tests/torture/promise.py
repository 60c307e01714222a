"""A promise that charloom makes, and one attempt at breaking it."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory


@dataclass(frozen=True)
class Promise:
    """What is promised under a fault, as a sentence, and how often it is put to the test.

    `attempt`, a function of a module, takes a seed, which alone decides what happens, and an empty folder, and raises
    AssertionError where the promise does not hold. The seeds are 0 … tries - 1 in the long form and 0 … short - 1 in
    the test suite.
    """

    name: str
    attempt: Callable[[int, Path], None]
    tries: int
    short: int

    def find(self, seed: int) -> str:
        """Make one attempt; what was found where the promise is broken, "" where it holds."""
        with TemporaryDirectory(prefix="charloom-torture-", ignore_cleanup_errors=True) as folder:
            try:
                self.attempt(seed, Path(folder))
            except Exception:  # an attempt that cannot even be made is no promise kept
                return traceback.format_exc(limit=-3)
        return ""
