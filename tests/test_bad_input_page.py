"""docs/bad_input.md: every wrong value and every wrong kind of file is refused, in one line that helps."""

import time

import pytest

from charloom.adapters.configuration.schema import KEYS
from tests.bad_input import KINDS, PAGE, PLACES, Outcome, files, page, refusals, run_stage
from tests.project import Project

# An empty prompt is one, what is not there is made, and a folder for results may be there already.
TAKEN = {("`synthesize.prime_file`", "an empty file"), ("`out`", "nothing"), ("`out`", "a directory")}


@pytest.fixture
def working_directory(trained: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(trained.root)
    return trained


@pytest.mark.parametrize("key", KEYS)
def test_every_wrong_value_is_refused_in_one_line_that_begins_with_the_key(key: str) -> None:
    said = refusals(key)
    if key == "out":
        assert said.pop("missing") == "taken"  # a new folder is made
    assert len(said) >= 2
    for message in said.values():
        assert message.startswith((f"{key} must ", f"{key} has no value"))
        assert "\n" not in message


def test_the_page_is_what_is_said_now(working_directory: Project) -> None:
    lines = list(page(working_directory))
    assert PAGE.read_text(encoding="utf-8").splitlines() == lines, "run python -m tests.bad_input"


def test_every_kind_of_thing_in_the_place_of_a_file_is_refused_in_one_line_that_names_it(
    working_directory: Project,
) -> None:
    for place, kind, outcome in files(working_directory):
        assert (outcome.code == 0) == ((place, kind) in TAKEN), (place, kind, outcome)
        if outcome.code != 0:
            assert outcome.code in (2, 3, 4, 5), (place, kind, outcome)
            names = {place.strip("`"), PLACES[place][0]}
            assert any(name in outcome.line for name in names), (place, kind, outcome)
            assert "; " in outcome.line or outcome.code == 5, (
                place,
                kind,
                outcome,
            )  # what to do, if the system says not


@pytest.mark.parametrize("kind", ["a directory", "a symlink to itself", "a device"])
def test_a_process_ends_as_the_page_says(working_directory: Project, kind: str) -> None:
    KINDS[kind](working_directory.root / "text.txt")
    command = PLACES["`data.path`"][1]
    ended = working_directory.try_stage(*command)
    assert Outcome(ended.code, ended.assert_one_error(ended.code)) == run_stage(*command)


def test_a_command_that_hangs_is_noticed(working_directory: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bad_input.LIMIT", 1)
    monkeypatch.setattr("tests.bad_input.load", lambda overrides: time.sleep(60))
    assert run_stage("prepare") == Outcome(None, "hangs")
