"""The stage `evaluate`, and which model it and `synthesize` take."""

import json
from pathlib import Path
from typing import Any

import pytest

import charloom
from charloom.adapters.configuration import load
from charloom.adapters.files import artifacts, corpus
from charloom.adapters.files.formats import hash_file
from charloom.core.common.errors import CharloomError, DataError, StateError
from charloom.core.common.records import ModelEvaluation
from charloom.stages import evaluate, prepare, synthesize
from tests.project import Project


@pytest.fixture
def trained(trained: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with a training that is the working directory."""
    monkeypatch.chdir(trained.root)
    return trained


def run(*overrides: str, inp: str = "artifacts") -> ModelEvaluation:
    """What the stage records."""
    evaluate.run(load(overrides), Path(inp), Path(inp) / "evaluate")
    return artifacts.EVALUATION.read(Path(inp))


def refused(kind: type[CharloomError], *overrides: str) -> str:
    with pytest.raises(kind) as raised:
        run(*overrides)
    return str(raised.value)


@pytest.mark.usefixtures("trained")
def test_the_carried_loss_of_the_best_model_is_the_validation_loss_of_the_training_to_the_last_bit() -> None:
    found = run()
    assert found.carried is not None
    assert found.carried.nats_per_char == artifacts.METRICS.read(Path("artifacts")).best_validation_nats_per_char
    assert (found.model, found.text, found.skipped) == ("best", None, 0)
    assert found.characters == len(corpus.load(Path("artifacts")).validation_ids) - 1


def test_the_record_has_the_hash_of_the_model(trained: Project) -> None:
    assert run("evaluate.model=last").model_sha256 == hash_file(trained.root / "artifacts/train/model.npz")


@pytest.mark.usefixtures("trained")
def test_a_text_in_a_file_is_evaluated_as_the_library_does_it() -> None:
    text = "The old man and his wife.\n" * 9
    Path("other.txt").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    found = vars(run("evaluate.path=other.txt", "evaluate.window=50", "evaluate.model=last"))
    assert found.items() >= vars(charloom.load("artifacts/train/model.npz").evaluate(text, window=50)).items()
    assert found["text"] == "other.txt"


@pytest.mark.usefixtures("trained")
def test_unknown_characters_are_listed_or_left_out_and_counted() -> None:
    Path("other.txt").write_text("a€b€c漢d", encoding="utf-8")
    message = refused(DataError, "evaluate.path=other.txt")
    assert message.startswith("the text has '€', '漢' not among the vocabulary's ")
    assert "evaluate.on_unknown=skip" in message
    found = run("evaluate.path=other.txt", "evaluate.on_unknown=skip")
    assert (found.skipped, found.characters) == (3, 3)


@pytest.mark.parametrize(("name", "content"), [("none.txt", None), ("empty.txt", ""), ("one.txt", "a")])
@pytest.mark.usefixtures("trained")
def test_a_file_without_a_text_to_evaluate_is_refused(name: str, content: str | None) -> None:
    if content is not None:
        Path(name).write_text(content, encoding="utf-8")
    must = f"there is no file {name}; set evaluate.path" if content is None else "must have two characters or more, got"
    assert must in refused(DataError, f"evaluate.path={name}")


@pytest.mark.usefixtures("trained")
def test_without_a_validation_text_the_record_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    prepare.run(load(["data.validation_fraction=0"]), Path("artifacts"), Path("artifacts/prepare"))
    found = run()
    assert (found.characters, found.carried, found.windows, found.by_kind) == (0, None, None, [])
    assert "not scored: a text must have two characters or more, got 0" in capsys.readouterr().out


def test_a_model_by_its_path_reads_the_validation_text_with_its_own_vocabulary(trained: Project) -> None:
    expected = run("evaluate.model=last")
    Path("elsewhere").mkdir()
    (trained.root / "artifacts/train/model.npz").rename("elsewhere/model.npz")
    text = trained.corpus.read_text(encoding="utf-8")
    trained.corpus.write_text("\u0100" + text, encoding="utf-8")  # the vocabulary of the corpus is now another
    prepare.run(load(), Path("artifacts"), Path("artifacts/prepare"))
    found = run("evaluate.model=elsewhere/model.npz")
    assert found.carried == expected.carried
    assert found.model == "elsewhere/model.npz"


@pytest.mark.parametrize("stage", [evaluate, synthesize])
@pytest.mark.usefixtures("trained")
def test_a_model_that_is_not_there_is_named_with_what_there_may_be(stage: Any) -> None:
    name = stage.__name__.rpartition(".")[2]
    with pytest.raises(StateError, match=rf"no file lats; set {name}\.model to best, last or the path of a model file"):
        stage.run(load([f"{name}.model=lats"]), Path("artifacts"), Path("out"))


@pytest.mark.usefixtures("trained")
def test_what_the_stage_did_not_read_is_not_among_its_parameters() -> None:
    Path("other.txt").write_text("The old man", encoding="utf-8")
    run("evaluate.path=other.txt", "evaluate.model=artifacts/train/best.npz")
    recorded = artifacts.PARAMETERS["evaluate"].read(Path("artifacts"))
    assert not {"data.path", "train.steps"} & recorded.keys()
    assert recorded["evaluate.path"] == "other.txt"


@pytest.mark.parametrize("folder", ["artifacts", "nowhere"])
@pytest.mark.usefixtures("trained")
def test_a_text_is_written_with_a_model_by_its_path(folder: str) -> None:
    model = "artifacts/train/model.npz"
    config = load([f"synthesize.model={model}", "synthesize.length=30", "synthesize.prime=The"])
    synthesize.run(config, Path(folder), Path("out"))
    assert Path("out/sample.txt").read_text(encoding="utf-8") == charloom.load(model).generate(30, prime="The")
    assert ("data.path" in json.loads(Path("out/parameters.json").read_bytes())) == (folder == "artifacts")


@pytest.mark.usefixtures("trained")
def test_the_terminal_shows_the_scores_and_the_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    found = run("evaluate.window=100")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("the model of step 300, with the lowest validation loss, on the validation text:")
    assert found.windows is not None
    (row,) = (line for line in lines if line.startswith("  windows of 100 from a zero state"))
    nats, bits, perplexity = vars(found.windows).values()
    assert row.split()[-3:] == [f"{nats:.4f}", f"{bits:.4f}", f"{perplexity:.3f}"]
    assert [group.name for group in found.by_kind] == [line[:32].strip() for line in lines[6:]]
