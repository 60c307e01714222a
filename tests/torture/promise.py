"""A promise that charloom makes, and one attempt at breaking it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Promise:
    """What is promised under a fault, as a sentence, and how often it is put to the test.

    `attempt` takes a seed, which alone decides what happens, and an empty folder, and raises AssertionError where the
    promise does not hold. The seeds are 0 … tries - 1 in the long form and 0 … short - 1 in the test suite.
    """

    name: str
    attempt: Callable[[int, Path], None]
    tries: int
    short: int
