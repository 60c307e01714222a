"""The attempts at breaking the promises: they can fail, they are counted, and an interruption loses none."""

import importlib
import json
import os
import pickle
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.project import ROOT
from tests.torture import soak
from tests.torture.promise import Promise
from tests.torture.promises import PROMISES

torture = importlib.import_module("tests.torture.__main__")


def kept(seed: int, folder: Path) -> None:
    """Holds, in a folder that is empty."""
    assert not list(folder.iterdir())


def broken_by_two(seed: int, folder: Path) -> None:
    """Does not hold for seed 2."""
    assert seed != 2, "two is too many"


def fatal(seed: int, folder: Path) -> None:
    """Ends its own process with seed 1."""
    if seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)


KEPT = Promise("kept", kept, tries=2000, short=1)
BROKEN = Promise("broken by two", broken_by_two, tries=4, short=1)
FATAL = Promise("fatal for one", fatal, tries=3, short=1)


@pytest.fixture
def outcomes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts other promises in the place of the real ones; the file in which their outcomes are kept."""

    def put(*promises: Promise) -> Path:
        path = tmp_path / "torture" / "outcomes.jsonl"
        monkeypatch.setattr(torture, "PROMISES", promises)
        monkeypatch.setattr(torture, "outcomes_file", lambda: path)
        return path

    return put


def test_a_broken_promise_is_reported_with_its_seed_and_an_exit_code(
    outcomes: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes(KEPT, BROKEN)
    assert torture.main(["--tries", "4"]) == 1
    output, errors = capsys.readouterr()
    assert output.splitlines()[2:] == ["| kept | 4 | 4 | none |", "| broken by two | 4 | 3 | 2 |"]
    assert "broken by two, seed 2:\n" in errors
    assert "two is too many" in errors


def test_promises_that_were_kept_end_with_exit_code_0(outcomes: Callable[..., Path]) -> None:
    outcomes(KEPT, BROKEN)
    assert torture.main(["--tries", "2"]) == 0


def test_an_attempt_that_ends_its_process_is_a_broken_promise_and_the_others_go_on(
    outcomes: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes(FATAL)
    assert torture.main([]) == 1
    output, errors = capsys.readouterr()
    assert output.splitlines()[2:] == ["| fatal for one | 3 | 2 | 1 |"]
    assert "fatal for one, seed 1:\nthe process in which it was tried has died" in errors


def test_an_interrupted_run_goes_on_where_it_was(
    outcomes: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = outcomes(BROKEN)
    path.parent.mkdir()
    path.write_text('["broken by two", 0, ""]\n["broken by two", 1, "once"]\n["broken by tw', encoding="utf-8")
    assert torture.main([]) == 1
    assert capsys.readouterr().out.splitlines()[2:] == ["| broken by two | 4 | 2 | 1, 2 |"]
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)[1] for line in [*lines[:2], *lines[3:]]] in ([0, 1, 2, 3], [0, 1, 3, 2])


def test_many_broken_seeds_are_counted(outcomes: Callable[..., Path]) -> None:
    found = {("kept", seed): "" if seed < 1000 else "not" for seed in range(2000)}
    *_, row = torture.table([KEPT], found)
    assert row == ("| kept | 2,000 | 1,000 | 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009 and 990 more |")


def test_the_page_gets_the_table_of_every_promise(
    outcomes: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes(KEPT, BROKEN)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table -->\nold\n<!-- end of table -->\nafter\n", encoding="utf-8")
    monkeypatch.setattr(torture, "PAGE", page)
    assert torture.main(["--only", "kept", "--tries", "3", "--write"]) == 0
    text = page.read_text(encoding="utf-8")
    assert re.fullmatch(
        r"before\n<!-- table -->\n20\d\d-\d\d-\d\d, \d+ cores, .*\n\n\|.*\|\n\|.*\|\n"
        r"\| kept \| 3 \| 3 \| none \|\n\| broken by two \| 0 \| 0 \| none \|\n<!-- end of table -->\nafter\n",
        text,
    )


def test_a_name_that_no_promise_has_is_refused(
    outcomes: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes(KEPT)
    with pytest.raises(SystemExit):
        torture.main(["--only", "unbreakable"])
    assert "no promise has 'unbreakable' in its name; --list prints them" in capsys.readouterr().err


def test_the_names_of_the_promises_are_distinct_and_fit_into_a_table() -> None:
    names = [promise.name for promise in PROMISES]
    assert len(set(names)) == len(names)
    assert not [name for name in names if "|" in name or "\n" in name]


def test_every_promise_can_be_handed_to_another_process() -> None:
    for promise in PROMISES:
        pickle.dumps(promise)


def test_the_page_has_a_place_for_the_table() -> None:
    page = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    assert re.findall("<!-- table -->|<!-- end of table -->", page) == ["<!-- table -->", "<!-- end of table -->"]


def test_a_short_soak_is_bit_exact_and_flat(tmp_path: Path) -> None:
    soak.soak(0, tmp_path, updates=20_000, interruptions=3)


def test_growing_memory_and_growing_descriptors_are_found() -> None:
    flat = [soak.Look(60 << 20, 6)] * 100
    soak.assert_flat(flat)
    with pytest.raises(AssertionError, match=r"memory grew by 3,145,728 bytes"):
        soak.assert_flat([*flat, *[soak.Look(63 << 20, 6)] * 50])
    with pytest.raises(AssertionError, match=r"descriptors grew from 6 to 7"):
        soak.assert_flat([*flat, *[soak.Look(60 << 20, 7)] * 50])
