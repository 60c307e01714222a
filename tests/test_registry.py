"""Results in MLflow's registry: which version is the champion, and what a version holds."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mlflow.exceptions import MlflowException

import charloom
from charloom.adapters import tracking
from charloom.adapters.files import artifacts, models
from charloom.adapters.tracking import store
from charloom.adapters.tracking.registry import NEEDED, download
from charloom.core.common.errors import StateError
from tests.explored import make_model
from tests.project import ROOT, Project
from tests.results import MLFLOW_WARNINGS, enter_project, make_config, make_result, record, seal

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = [
    *MLFLOW_WARNINGS,
    pytest.mark.filterwarnings("ignore:.*Any type hint:UserWarning"),  # MLflow's own, when mlflow.pyfunc is imported
]


@dataclass(frozen=True)
class Registry:
    """A result that is recorded once, and the registry beside it."""

    inp: Path
    run_id: str

    def register(self, name: str, loss: float | None, **corpus: Any) -> str:
        """Register the result as one with this validation loss, and with what is said of its corpus."""
        metrics = replace(artifacts.METRICS.read(self.inp), best_validation_nats_per_char=loss)
        artifacts.METRICS.write(self.inp / "train", metrics)
        summary = artifacts.SUMMARY.read(self.inp)
        artifacts.SUMMARY.write(self.inp / "prepare", replace(summary, **corpus))
        result = tracking.hash_result(seal(self.inp))
        said = tracking.register(make_config().tracking, self.run_id, self.inp, result, name)
        artifacts.SUMMARY.write(self.inp / "prepare", summary)
        seal(self.inp)
        return said

    @property
    def client(self) -> "MlflowClient":
        return Project(self.inp.parent).mlflow_client()

    def champion(self, name: str) -> str:
        return str(self.client.get_model_version_by_alias(name, "champion").version)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with pytest.MonkeyPatch.context() as patch:
        inp = make_result(enter_project(tmp_path_factory.mktemp("registry") / "a project", patch) / "artifacts")
        models.save(make_model("rnn"), inp / "train/best.npz")
        yield Registry(inp, record(make_config(), seal(inp)).run_id)


def test_the_champion_is_the_version_with_the_lowest_validation_loss(registry: Registry) -> None:
    assert registry.register("best", 1.5).endswith("the champion, with 1.5000 nats per character of validation text")
    assert registry.register("best", 1.6).endswith("of validation text; version 1 stays the champion with 1.5000")
    assert registry.champion("best") == "1"
    said = registry.register("best", 1.25)
    assert said.startswith("version 3 of the model 'best': the champion, with 1.2500 nats")
    assert said.endswith(", after 1.5000 of version 1")
    assert registry.champion("best") == "3"
    assert "version 3 stays the champion" in registry.register("best", 1.25000001)
    assert registry.register("best", None).endswith("nothing was validated, so it cannot be the champion")


def test_a_version_validated_on_another_text_is_not_compared(registry: Registry) -> None:
    registry.register("texts", 1.5)
    assert "it was validated on another text, so the two are not compared" in registry.register(
        "texts", 1.0, sha256="0" * 64
    )
    assert "validated on another text" in registry.register("texts", 1.0, validation_characters=5)
    assert registry.champion("texts") == "1"


def test_a_result_is_one_version_however_often_it_is_registered(registry: Registry) -> None:
    registry.register("once", 1.5)
    client = registry.client
    client.delete_registered_model_alias("once", "champion")  # as a kill before it was set would leave it
    assert registry.register("once", 1.5).startswith("version 1 of the model 'once': the champion, with 1.5000")
    assert registry.register("once", 1.5) == "version 1 of the model 'once': the champion"
    assert len(client.search_model_versions("name = 'once'")) == 1


def test_a_version_is_a_model_from_code_that_refuses_what_the_library_refuses(
    registry: Registry, tmp_path: Path
) -> None:
    from mlflow.pyfunc import load_model

    registry.register("code", 1.5)
    with store.opened(make_config().tracking, "") as opened:
        folder = download(opened, "models:/code@champion", tmp_path)
        with pytest.raises(StateError, match=r"has no models:/code@second \(.*; register one with model.register$"):
            download(opened, "models:/code@second", tmp_path)
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pickle", ".pyc")]
    assert (folder / "code/charloom/params.yaml").is_file()
    pinned = re.compile(r"(mlflow|numpy|pydantic|pyyaml|threadpoolctl)==[\d.]+")
    assert all(map(pinned.fullmatch, (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()))

    model, expected = load_model(str(folder)), charloom.load(registry.inp / "train/best.npz")
    params: dict[str, Any] = {"length": 50, "temperature": 0.5, "top_k": 9, "top_p": 0.9, "seed": 3}
    assert model.predict([{"prompt": "the"}], params=params) == [expected.generate(prime="the", **params)]
    for prompt, refused, message in (
        ("the €", {}, "the prompt has '€' not among the vocabulary's"),
        ("the", {"temperature": -1.0}, "temperature must be >= 0, got -1"),
        ("the", {"length": 100_001}, "length must be at most 100,000 in all, got 100,001"),
    ):
        with pytest.raises(MlflowException, match=re.escape(message)) as raised:
            model.predict([{"prompt": prompt}], params=refused)
        assert raised.value.error_code == "INVALID_PARAMETER_VALUE"  # 400

    (version,) = registry.client.search_model_versions("name = 'code'")
    outputs = registry.client.get_run(registry.run_id).outputs
    assert outputs is not None
    assert version.source in [f"models:/{output.model_id}" for output in outputs.model_outputs]


def test_the_pinned_packages_are_those_that_the_library_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert tuple(re.split(r"[<>=]", needed)[0] for needed in project["dependencies"]) == NEEDED
