"""The lines at the end of `make repro`: what they say is what the stages' files hold."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from charloom import summary as command
from charloom.adapters.command import exit_code
from charloom.adapters.files import artifacts
from charloom.adapters.summary import summary
from charloom.core.common.errors import StateError
from charloom.core.common.records import Baselines, Score
from tests.results import BASELINES, EVALUATION, seal

NO_BASELINES = Baselines([], 0, 0, ["all models: the validation text must have 2 characters or more, got 0"])


def losses(inp: Path) -> list[list[str]]:
    """The rows of the table of losses: a name and three figures."""
    table, _, _ = summary(inp).partition("\nOn the validation text")
    return [row.rsplit(maxsplit=3) for row in table.splitlines()[1:]]


def row(name: str, score: Score) -> list[str]:
    return [name, f"{score.nats_per_char:.4f}", f"{score.bits_per_char:.4f}", f"{score.perplexity:.2f}"]


def test_the_losses_of_the_network_stand_in_their_places_among_those_of_the_models(result: Path) -> None:
    assert EVALUATION.carried is not None
    assert EVALUATION.windows is not None
    models = [row(model.name, model) for model in BASELINES.models]
    network = [row("this network, windows of 256", EVALUATION.windows), row("this network", EVALUATION.carried)]
    assert losses(result) == [*models[:4], *network, models[4], models[6], models[5]]
    assert "\nOn the validation text the network is between the 3-gram and the 4-gram.\n" in summary(result)


def test_the_figures_are_those_of_the_files_and_the_pages_are_named_by_their_paths(result: Path) -> None:
    _, _, figures = summary(result).partition("\n\n")
    assert {line[:16].strip(): line[16:] for line in figures.splitlines()} == {
        "training": "30,000 updates on data/corpus.txt, smooth loss 38.4 nats per window",
        "gradient check": "passed, largest scaled error 1.3e-15, threshold 1e-9",
        "generated text": "88% of its words are in the training text",
        "report": f"{result}/plot/report.html",
        "explorer": f"{result}/plot/explorer.html",
    }


def test_where_another_text_was_evaluated_the_network_stands_with_the_validation_loss_of_its_training(
    result: Path,
) -> None:
    artifacts.EVALUATION.write(result / "evaluate", replace(EVALUATION, text="other.txt"))
    metrics = replace(artifacts.METRICS.read(result), best_validation_nats_per_char=2.0)
    artifacts.METRICS.write(result / "train", metrics)
    seal(result)
    assert [row for row in losses(result) if "network" in row[0]] == [row("this network", Score.of(2.0))]
    assert "the network is between the 2-gram and the 3-gram" in summary(result)


def test_without_a_validation_text_the_reason_is_in_the_place_of_the_table(result: Path) -> None:
    artifacts.EVALUATION.write(result / "evaluate", replace(EVALUATION, carried=None, windows=None))
    artifacts.BASELINES.write(result / "baseline", NO_BASELINES)
    seal(result)
    assert summary(result).startswith(
        "all models: the validation text must have 2 characters or more, got 0\nThe network has no validation loss.\n\n"
    )


def test_stages_that_do_not_belong_together_are_not_summed_up(result: Path) -> None:
    values = artifacts.PARAMETERS["prepare"].read(result)
    artifacts.PARAMETERS["prepare"].write(result / "prepare", values | {"data.validation_fraction": 0.5})
    seal(result)
    with pytest.raises(StateError, match=r"must be made with the same parameters, got data\.validation_fraction"):
        summary(result)


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["summary", *arguments])
    return exit_code(command.main)


def test_the_command_prints_the_summary_of_the_folder_that_it_is_given_or_of_artifacts(
    result: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, str(result)) == 0
    assert capsys.readouterr().out == summary(result) + "\n"
    monkeypatch.chdir(result.parent)
    result.rename("artifacts")
    assert ended(monkeypatch) == 0
    assert capsys.readouterr().out == summary(Path("artifacts")) + "\n"


def test_the_command_ends_with_2_for_other_arguments_and_with_4_without_a_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, "one", "two") == 2
    assert "summary takes one folder of a result, such as artifacts, got one two" in capsys.readouterr().err
    assert ended(monkeypatch, str(tmp_path)) == 4
    assert "prepare/parameters.json is missing; run the prepare stage first" in capsys.readouterr().err
