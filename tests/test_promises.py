"""Every promise under fault, a few tries each with fixed seeds; `make torture` makes many."""

from pathlib import Path

import pytest

from tests.torture.promise import Promise
from tests.torture.promises import PROMISES


@pytest.mark.parametrize(
    ("promise", "seed"),
    [pytest.param(promise, seed, id=f"{promise.name}-{seed}") for promise in PROMISES for seed in range(promise.short)],
)
def test_the_promise_holds(promise: Promise, seed: int, tmp_path: Path) -> None:
    promise.attempt(seed, tmp_path)
