"""The command `python -m tests.mutations`: its faults fit the source, and it tells what is caught from what is not.

Planting all of them takes minutes; a few stand for the rest here.
"""

import re

import pytest

from tests import mutations
from tests.faults import FAULTS, LSTM, Edits
from tests.mutations import ROOT, first_failure, plant

BY_HAND = ["test_cells_by_hand.py"]
LSTM_BY_HAND = [f"{BY_HAND[0]}::test_two_time_steps_of_an_lstm_with_one_unit_are_those_worked_out_by_hand"]
HARMLESS: Edits = {LSTM: {"sigmoid(t.oif)": "sigmoid(t.oif)  # a comment"}}


def test_the_old_texts_of_every_fault_stand_in_the_source() -> None:
    assert len(FAULTS) >= 40
    for name, edits in FAULTS.items():
        for file, changes in edits.items():
            source = (ROOT / "src" / "charloom" / "core" / file).read_text(encoding="utf-8")
            assert plant(source, changes) != source, name


@pytest.mark.parametrize(("source", "count"), [("a = 1\n", 0), ("b = 2\nb = 2\n", 2)])
def test_an_old_text_that_does_not_occur_once_is_refused(source: str, count: int) -> None:
    with pytest.raises(ValueError, match=f"must occur once, occurs {count} times: b = 2"):
        plant(source, {"b = 2": "b = 3"})


def test_texts_that_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="old texts overlap: a b, b c"):
        plant("a b c", {"a b": "x", "b c": "y"})


def test_texts_are_swapped_without_one_undoing_the_other() -> None:
    assert plant("i = 1; f = 2", {"1": "2", "2": "1"}) == "i = 2; f = 1"


@pytest.mark.parametrize("name", ["LSTM: i and f swapped", "GRU: z for 1 - z"])
def test_a_consistent_swap_is_caught_by_numbers_worked_out_by_hand(name: str) -> None:
    failed = first_failure(FAULTS[name], BY_HAND)
    assert failed is not None
    assert "worked_out_by_hand[engine]" in failed


def test_the_gradient_check_finds_a_fault_of_the_backward_pass_alone_and_no_consistent_swap() -> None:
    test = "test_gradcheck.py::test_the_right_gradient_passes[1-1-lstm]"
    assert first_failure(FAULTS["LSTM: dc_next without f"], [test]) == test
    assert first_failure(FAULTS["LSTM: i and f swapped"], [test]) is None


def test_a_comment_is_not_caught_and_the_exit_code_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mutations, "FAULTS", {"a comment": HARMLESS})
    monkeypatch.setattr(mutations, "GRADIENT_CHECK", LSTM_BY_HAND)
    assert mutations.main([], LSTM_BY_HAND) == 1
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| a comment | passes | none |",
        "",
        "0 of 1 caught; the gradient check finds 0 of them",
    ]


def test_a_fault_that_is_caught_has_the_test_in_the_table_and_exit_code_zero(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failures = iter([None, "test_x.py::test_y"])  # without a fault, with it
    monkeypatch.setattr(mutations, "first_failure", lambda *arguments: next(failures))
    assert mutations.main(["--only", "LSTM: dc_next without f"], BY_HAND) == 0
    assert capsys.readouterr().out.splitlines() == [
        "| fault | gradient check | first test that fails |",
        "|---|---|---|",
        "| LSTM: dc_next without f | finds it | `test_x.py::test_y` |",
        "",
        "1 of 1 caught; the gradient check finds 1 of them",
    ]


def test_nothing_is_planted_where_the_tests_fail_without_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mutations, "first_failure", lambda *arguments: "test_x.py::test_y")
    assert mutations.main([], BY_HAND) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith("but this one fails: test_x.py::test_y\n")


def test_a_source_that_cannot_be_imported_is_an_error_and_not_caught() -> None:
    with pytest.raises(RuntimeError, match="the tests did not run:"):
        first_failure({LSTM: {"sigmoid(t.oif)": "sigmoid(t.oif"}}, BY_HAND)


def test_pytorch_is_hidden_from_the_tests() -> None:
    beside_pytorch = ["test_engine.py::test_losses_and_gradients_are_those_of_pytorchs_layer"]
    assert first_failure(FAULTS["LSTM: i and f swapped"], beside_pytorch) is None


@pytest.mark.parametrize("arguments", [["--only", "no such fault"], ["--list", "--only", "no such fault"]])
def test_a_text_that_no_name_has_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        mutations.main(arguments)
    assert exit_.value.code == 2
    assert "no fault has 'no such fault' in its name" in capsys.readouterr().err


def test_the_page_has_a_row_for_every_fault_with_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "mutations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.*) \| (?:passes|finds it) \| `(.*)::(\w+)\S*` \|$", page, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(FAULTS)
    for _, file, test in rows:
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), test


def test_the_list_has_every_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert mutations.main(["--list"]) == 0
    assert capsys.readouterr().out.splitlines() == list(FAULTS)
