"""charloom as a library: what is trained, written and evaluated is what the pipeline does, and checks are the same."""

import doctest
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import charloom
from charloom import ConfigError, DataError, Model, Network, StateError, Vocabulary
from charloom.adapters.configuration import load
from charloom.adapters.files import artifacts
from charloom.core.common.records import HistoryRow
from charloom.stages import evaluate, prepare, synthesize, train
from tests.project import ROOT, Project

TEXT = "the quick brown fox jumps over the lazy dog\n" * 20
SMALL: dict[str, Any] = {"hidden_size": 8, "steps": 60, "seq_length": 5, "log_every": 20, "validate_every": 30}


@pytest.fixture(scope="module")
def model() -> Model:
    return charloom.train(TEXT, **SMALL)


def overrides(**options: Any) -> list[str]:
    sections = {"hidden_size": "model", "cell": "model", "layers": "model", "dropout": "model"}
    return [f"{sections.get(name, 'train')}.{name}={value}" for name, value in options.items()]


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_a_training_gives_what_the_pipeline_does(project: Project, monkeypatch: pytest.MonkeyPatch, cell: str) -> None:
    monkeypatch.chdir(project.root)
    project.corpus.write_text(TEXT, encoding="utf-8")
    options = {**SMALL, "cell": cell, "layers": 2, "dropout": 0.2}
    config, inp = load([*overrides(**options), "train.sample_every=0"]), Path("artifacts")
    prepare.run(config, inp, inp / "prepare")
    train.run(config, inp, inp / "train")
    synthesize.run(config, inp, inp / "synthesize")
    evaluate.run(config, inp, inp / "evaluate")
    trained = charloom.train(TEXT, **options)
    assert trained.history == artifacts.HISTORY.read(inp)
    trained.save("library.npz")
    assert Path("library.npz").read_bytes() == (inp / "train/best.npz").read_bytes()
    assert trained.generate() == artifacts.TEXT.read(inp)
    found = trained.evaluate(TEXT[-88:])
    assert vars(artifacts.EVALUATION.read(inp)).items() >= vars(found).items()


def test_each_row_of_the_history_is_told_as_it_is_made() -> None:
    told: list[HistoryRow] = []
    assert charloom.train(TEXT, on_row=told.append, **SMALL).history == told
    assert [row.step for row in told] == [1, 20, 30, 40, 60]


def test_a_training_may_start_from_a_saved_model(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "first.npz")
    second = charloom.train("the lazy fox " * 30, init_from=str(tmp_path / "first.npz"), **SMALL)
    assert second.vocabulary == model.vocabulary
    assert second.history[0].loss < model.history[0].loss
    with pytest.raises(DataError, match=r"the text has '€' not among the vocabulary's 28 characters"):
        charloom.train("the € " * 30, init_from=str(tmp_path / "first.npz"), **SMALL)


def test_a_loaded_model_is_the_saved_one(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model.npz")
    loaded = charloom.load(tmp_path / "model.npz")
    assert repr(loaded) == repr(model) == "Model(rnn, 1 layer of 8 units, 28 characters, 548 parameters, float64)"
    assert loaded.evaluate(TEXT) == model.evaluate(TEXT)
    assert loaded.history == []


def test_a_model_says_what_it_is() -> None:
    network = Network(vocabulary_size=3, hidden_size=40, cell="lstm", layers=2, dtype="float32")
    expected = "Model(lstm, 2 layers of 40 units, 3 characters, 20,123 parameters, float32)"
    assert repr(Model(network, Vocabulary("abc"))) == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"temperature": -1}, "synthesize.temperature must be >= 0, got -1"),
        ({"temperature": float("nan")}, "synthesize.temperature must be finite, got nan"),
        ({"temperature": "warm"}, "synthesize.temperature must be a number, got 'warm'; write it without quotes"),
        ({"top_k": 1.5}, "synthesize.top_k must be a whole number, got 1.5"),
        ({"top_p": 0.0}, "synthesize.top_p must be > 0, got 0.0"),
        ({"length": -1}, "synthesize.length must be >= 0, got -1"),
        ({"on_unknown": "ignore"}, "synthesize.on_unknown must be one of error, skip, got 'ignore'"),
        ({"seed": True, "top_k": -1}, "2 problems: (1) synthesize.top_k must be >= 0, got -1; (2) synthesize.seed"),
    ],
)
def test_an_argument_is_refused_in_the_words_of_the_command_line(
    model: Model, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}"):
        model.generate(**given)


def test_an_evaluation_checks_its_arguments(model: Model) -> None:
    with pytest.raises(ConfigError, match=r"^evaluate\.window must be >= 1, got 0"):
        model.evaluate(TEXT, window=0)
    with pytest.raises(DataError, match=r"^the text has '€' not among the vocabulary's 28 characters"):
        model.evaluate("€" + TEXT)
    assert model.evaluate("€" + TEXT, on_unknown="skip").skipped == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hidden_size": 0}, "model.hidden_size must be >= 1, got 0"),
        ({"cell": "transformer"}, "model.cell must be one of rnn, gru, lstm, got 'transformer'"),
        ({"optimizer": "lion"}, "optimizer.name must be one of adagrad, rmsprop, adam, soap, sgd, got 'lion'"),
        ({"validation_fraction": 1.0}, "data.validation_fraction must be < 1, got 1.0"),
        ({"hiden_size": 8}, "a training has no option 'hiden_size'; did you mean 'hidden_size'?"),
        ({"patience": 2, "validate_every": 0}, "train.patience must be 0 where train.validate_every is 0, got 2"),
    ],
)
def test_an_option_of_a_training_is_refused_in_the_words_of_the_command_line(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}"):
        charloom.train(TEXT, **options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must have two distinct characters or more, got 0"),
        ("aaaa", "must have two distinct characters or more, got 1"),
        ("abc", "the training text must have 26 characters or more"),
        ("ab\ud800" * 30, "half of a surrogate pair"),
    ],
)
def test_a_text_that_cannot_be_trained_on_is_refused(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        charloom.train(text)


def test_a_training_that_diverges_says_what_to_try() -> None:
    with pytest.raises(StateError, match=r"; lower optimizer\.learning_rate \(1000\) and set optimizer\.clip_norm"):
        charloom.train(TEXT, optimizer="sgd", learning_rate=1000, clip_value=None, steps=2000, hidden_size=8)


def test_what_is_wrong_with_a_training_is_a_warning() -> None:
    with pytest.warns(
        UserWarning, match=r"should fall below that of the uniform model.*; lower model\.init_scale \(30\)"
    ):
        charloom.train(TEXT, init_scale=30.0, hidden_size=8, steps=1000)


def test_the_defaults_are_those_of_params_yaml() -> None:
    packaged = ROOT / "src/charloom/params.yaml"
    assert packaged.resolve() == ROOT / "params.yaml"
    assert yaml.safe_load(packaged.read_text(encoding="utf-8"))["model"]["hidden_size"] == 100


def test_a_number_of_numpy_is_taken_where_it_is_one_of_python(model: Model) -> None:
    assert model.generate(5, temperature=np.float64(0.5)) == model.generate(5, temperature=0.5)


def test_the_library_imports_no_package_of_the_pipeline(project: Project) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    names = {re.split(r"[<>=]", requirement)[0] for requirement in extras["pipeline"]}
    names = {"hydra" if name == "hydra-core" else name for name in names}
    script = f"""
        import sys, tempfile
        from pathlib import Path
        for name in {sorted(names)!r}:
            sys.modules[name] = None  # an import of it fails
        import charloom
        model = charloom.train("to be or not to be " * 20, hidden_size=8, steps=50, seq_length=5)
        path = Path(tempfile.mkdtemp()) / "model.npz"
        model.save(path)
        print(repr(charloom.load(path).generate(5)), round(model.evaluate("to be").carried.nats_per_char, 1))
    """
    ended = project.python(project.script("library.py", script))
    assert ended.code == 0, ended.errors
    assert re.fullmatch(r"'.{5}' \d\.\d\n", ended.output)


@pytest.mark.parametrize("command", ["stages.train", "experiment", "fetch"])
def test_a_command_without_the_packages_of_the_pipeline_says_what_to_install(project: Project, command: str) -> None:
    nowhere = """
        import importlib.util

        find_spec = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *rest: None if name == "hydra" else find_spec(name, *rest)
    """
    (project.root / "sitecustomize.py").write_text(re.sub(r"(?m)^ {8}", "", nowhere), encoding="utf-8")
    path = {"PYTHONPATH": f"{project.root}:{ROOT / 'src'}"}
    ended = project.python("-m", f"charloom.{command}", variables=path)
    assert ended.errors == (
        f"charloom: error: charloom.{command} needs the packages of the pipeline, got none of Hydra; "
        "run: python -m pip install 'charloom[pipeline]'\n"
    )
    assert (ended.code, ended.output) == (5, "")
    assert project.python("-m", "charloom.textbook", "--help", variables=path).code != 5


def test_the_examples_of_the_documentation_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failures, tried = doctest.testfile(str(ROOT / "docs/library.md"), module_relative=False)
    assert (failures, tried) == (0, 11)
