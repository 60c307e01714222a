"""The command `python -m tests.gate_score`: what the gradient check finds, with every entry, with a few, and otherwise.

Planting all faults takes minutes; a few stand for the rest here.
"""

import re

import pytest

from charloom.core.cells import CELLS
from tests.faults import FAULTS, GRADIENT_FAULTS, LSTM
from tests.gate_score import WAYS, makes_the_gradient_wrong, probe, score
from tests.mutations import ROOT, plant

PAGE = ROOT / "docs" / "gradient-check.md"


def test_nothing_is_found_in_the_source_as_it_is() -> None:
    assert probe(CELLS) == {way: [] for way in WAYS}


@pytest.mark.parametrize(
    ("name", "cell", "named"),
    [
        ("GRU: da_n for dq in dbn", "gru", "complex_step bn"),
        ("plain cell: dh_next not zero at the last time step", "rnn", "complex_step W"),
        ("network: the gradient not divided by B", "rnn", "complex_step c"),
        ("network: the mask ignored in the backward pass", "rnn", "complex_step layer1.U"),
        ("LSTM: c before the window ignored", "lstm", "windows"),
        ("gradient: one row of W scaled by 1.0001", "rnn", "complex_step W"),
    ],
)
def test_a_fault_is_found_and_named_with_every_entry_and_with_a_few(name: str, cell: str, named: str) -> None:
    found = score((FAULTS | GRADIENT_FAULTS)[name], cell)
    assert named in found["full"]
    assert named in found["fast"]


def test_a_row_after_the_first_entries_is_seen_by_the_check_alone() -> None:
    found = score(GRADIENT_FAULTS["gradient: the last row of V 0"])
    assert found == {"full": ["central V", "complex_step V"], "fast": ["central V", "complex_step V"], "first 20": []}


def test_a_consistent_swap_passes_every_way() -> None:
    assert score(FAULTS["LSTM: i and f swapped"], "lstm") == {way: [] for way in WAYS}


def test_a_source_that_cannot_run_stops_the_check() -> None:
    assert score({LSTM: {"sigmoid(t.oif)": "sigmoid(t.oif"}}, "lstm")["full"] == ["stops"]


def test_what_is_planted_in_the_gradient_fits_the_source() -> None:
    for name, edits in GRADIENT_FAULTS.items():
        for file, changes in edits.items():
            source = (ROOT / "src" / "charloom" / "core" / file).read_text(encoding="utf-8")
            assert plant(source, changes) != source, name


def test_the_page_has_a_row_for_every_fault_and_none_of_a_wrong_gradient_passes_the_full_check() -> None:
    rows = dict(re.findall(r"^\| (.*?) \| (.*?) \| .* \| .* \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    for name in FAULTS | GRADIENT_FAULTS:
        assert name in rows
        if makes_the_gradient_wrong(name):
            assert rows[name] != "–", name
