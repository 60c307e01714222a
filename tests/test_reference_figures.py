"""The line at the end of `make repro`, which says whether the committed figures were met to the last bit."""

import copy
import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from charloom.adapters.files import artifacts
from charloom.adapters.tracking import hash_result
from tests.project import ROOT

SCRIPT = runpy.run_path(str(ROOT / "docs/reference_figures.py"))


@pytest.fixture
def found(result: Path) -> dict[str, Any]:
    """What is read of a made-up result."""
    artifacts.RESULT.write(result / "track", hash_result(result))
    figures: dict[str, Any] = SCRIPT["read"](result)
    return figures


def test_the_same_figures_and_files_are_the_same_to_the_last_bit(found: dict[str, Any]) -> None:
    said = SCRIPT["compare"](found, json.loads(json.dumps(found)))
    assert said.startswith(
        f"The same as the reference figures to the last bit: smooth_loss {found['smooth_loss']}, bits_per_char "
    )
    assert said.endswith("validation_nats_per_char None.")


def test_what_differs_is_named_beside_the_reference(found: dict[str, Any]) -> None:
    reference = copy.deepcopy(found)
    reference["smooth_loss"] += 1e-14
    reference["sha256"]["train/model.npz"] = "other"
    said = SCRIPT["compare"](found, reference)
    assert said.startswith(
        f"Not the reference figures, those of the bundled story and the default params.yaml: "
        f"smooth_loss {found['smooth_loss']}, "
    )
    assert f"(reference: {reference['smooth_loss']}, " in said
    assert "other bytes in train/model.npz. See" in said


def test_the_committed_figures_are_of_the_files_that_are_compared(found: dict[str, Any]) -> None:
    kept = json.loads((ROOT / "docs/reference_figures.json").read_text(encoding="utf-8"))
    assert kept.keys() == found.keys()
    assert kept["sha256"].keys() == found["sha256"].keys()
