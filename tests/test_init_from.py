"""`train.init_from`: a training that starts from the weights of a model."""

import json
import shutil
from pathlib import Path

import pytest

import charloom
from charloom.adapters.configuration import load
from charloom.adapters.files import artifacts, corpus
from charloom.adapters.files.formats import hash_file
from charloom.core.common.errors import CharloomError, DataError, StateError
from charloom.core.network import evaluate
from charloom.stages import prepare, train
from tests.project import Project

SMOKE = ("preset=smoke", "train.steps=100")
MODEL = Path("first.npz")


@pytest.fixture
def project(trained: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with a model beside its results; it is the working directory."""
    monkeypatch.chdir(trained.root)
    shutil.copy("artifacts/train/best.npz", MODEL)
    return trained


def run(*overrides: str, init_from: str | None = str(MODEL)) -> Path:
    """Train, and return the folder of the result."""
    given = [f"train.init_from={init_from}"] if init_from else []
    train.run(load([*SMOKE, *given, *overrides]), Path("artifacts"), Path("out/train"))
    return Path("out")


def refused(kind: type[CharloomError], *overrides: str) -> str:
    with pytest.raises(kind) as raised:
        run(*overrides)
    return str(raised.value)


@pytest.mark.usefixtures("project")
def test_the_training_starts_where_the_model_is() -> None:
    ids, network = corpus.load(Path("artifacts")).train_ids, charloom.load(MODEL).network
    expected, _ = network.forward(ids[:25, None], ids[1:26, None], network.zero_state(1))
    assert artifacts.HISTORY.read(run("train.steps=1"))[0].loss == expected


@pytest.mark.usefixtures("project")
def test_the_hash_of_the_model_is_recorded() -> None:
    assert artifacts.METRICS.read(run()).initial_sha256 == hash_file(MODEL)
    assert artifacts.METRICS.read(run(init_from=None)).initial_sha256 is None


@pytest.mark.usefixtures("project")
def test_the_content_of_the_file_is_a_part_of_what_identifies_a_training() -> None:
    config, text = load([*SMOKE, f"train.init_from={MODEL}"]), corpus.load(Path("artifacts"))
    found = {train.fingerprint(config, text, sha256) for sha256 in ("a" * 64, "b" * 64, None)}
    assert len(found) == 3


@pytest.mark.usefixtures("project")
def test_a_text_whose_characters_the_model_has_is_encoded_with_the_vocabulary_of_the_model() -> None:
    before = charloom.load(MODEL)
    Path("other.txt").write_text("the old man and the sea. " * 40, encoding="utf-8")
    prepare.run(load(["data.path=other.txt"]), Path("artifacts"), Path("artifacts/prepare"))
    after = charloom.load(run("train.validate_every=50") / "train/best.npz")
    assert after.vocabulary == before.vocabulary
    ids = after.vocabulary.encode("the old man and the sea. " * 4)
    assert evaluate(after.network, ids) < evaluate(before.network, ids)


def test_characters_that_the_model_lacks_are_listed(project: Project) -> None:
    project.corpus.write_text(project.corpus.read_text(encoding="utf-8") + "€漢", encoding="utf-8")
    prepare.run(load(), Path("artifacts"), Path("artifacts/prepare"))
    assert refused(DataError).startswith("the corpus has '€', '漢' not among the vocabulary's ")


@pytest.mark.parametrize(
    ("overrides", "difference"),
    [
        (("model.cell=gru",), "got model.cell=rnn in place of gru; give the configuration the model's"),
        (
            ("model.hidden_size=17", "model.layers=2"),
            "got model.hidden_size=16 in place of 17, model.layers=1 in place of 2",
        ),
        (("model.dtype=float32",), "got model.dtype=float64 in place of float32"),
    ],
)
@pytest.mark.usefixtures("project")
def test_a_model_of_another_network_is_refused_with_the_difference(overrides: tuple[str, ...], difference: str) -> None:
    assert difference in refused(StateError, *overrides)


@pytest.mark.usefixtures("project")
def test_a_file_that_is_no_model_is_refused_with_the_key() -> None:
    MODEL.write_bytes(b"none")
    assert "set train.init_from to a model file, or to null to start anew" in refused(StateError)
    MODEL.unlink()
    assert "there is no file first.npz" in refused(StateError)


def test_a_training_from_a_model_that_is_killed_and_resumed_ends_with_the_same_bytes(
    project: Project, tmp_path: Path
) -> None:
    overrides = (*SMOKE, f"train.init_from={MODEL}", "train.checkpoint_every=10")
    uninterrupted = project.hash_training(tmp_path / "copy", *overrides)
    project.train_until_killed(40, *overrides)
    project.stage("train", *overrides)
    assert project.hashes() == uninterrupted
    recorded = json.loads((project.root / "artifacts/train/parameters.json").read_bytes())
    assert recorded["train.init_from"] == str(MODEL)
