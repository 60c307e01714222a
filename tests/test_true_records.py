"""A result carries the parameters that it was made with; its record and its report are made of these."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from charloom.adapters import tracking
from charloom.adapters.configuration import flatten, load, override
from charloom.adapters.configuration.schema import STAGE_PARAMETERS
from charloom.adapters.files import artifacts, parameters
from charloom.core.common.errors import StateError
from charloom.stages import plot, track
from tests.project import ROOT, Project
from tests.results import MLFLOW_WARNINGS, make_config, make_result, seal, set_parameters

pytestmark = MLFLOW_WARNINGS

HOSTILE = "it's, a [folder] of $HOME {x: 1} = ${seed}\\"


def test_the_parameters_of_a_stage_are_those_that_dvc_reruns_it_for() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert {stage: tuple(stages[stage]["params"]) for stage in STAGE_PARAMETERS} == STAGE_PARAMETERS


def test_a_stage_leaves_the_parameters_that_it_and_its_inputs_were_made_with(prepared: Project) -> None:
    prepared.stage("train", "preset=smoke", "seed=7")
    values = json.loads((prepared.root / "artifacts/train/parameters.json").read_bytes())
    made_with = flatten(load(["preset=smoke", "seed=7"]).parameters())
    sections = ("seed", "kernels", "data", "model", "optimizer", "train")
    assert values == {key: value for key, value in made_with.items() if key.partition(".")[0] in sections}


def test_the_parameters_of_the_stages_are_all_that_shapes_a_result(result: Path) -> None:
    assert parameters.read(result) == flatten(make_config().parameters())


@pytest.mark.parametrize("stage", [plot, track])
def test_stages_that_were_made_with_different_parameters_are_told_apart(result: Path, stage: Any) -> None:
    other = make_config(learning_rate=0.2)
    parameters.write("train", other.stage_parameters("train"), result, result / "train")
    seal(result)
    with pytest.raises(StateError) as caught:
        stage.run(make_config(), result, result / "anew")
    assert str(caught.value) == (
        f"the stages in {result} must be made with the same parameters, "
        "got optimizer.learning_rate 0.2 in train and 0.1 in synthesize; run them again"
    )


def test_a_corpus_that_was_split_anew_after_the_training_is_found(result: Path) -> None:
    values = artifacts.PARAMETERS["prepare"].read(result)
    artifacts.PARAMETERS["prepare"].write(result / "prepare", values | {"data.validation_fraction": 0.5})
    seal(result)
    with pytest.raises(StateError, match=r"got data\.validation_fraction 0\.5 in prepare and 0\.1 in baseline"):
        track.run(make_config(), result, result / "anew")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"model.hidden_size": "wide"}, "model.hidden_size must be a whole number, got 'wide'"),
        ({"model.hidden_size": None}, "model.hidden_size must be a whole number, got null"),
        ({"seed.x": 1}, "seed must be a whole number, got {'x': 1}"),
        ({"model.cell.x": 3}, "there is no key 'model.cell'"),
        ({"tracking.uri": "x"}, "there is no key 'tracking'"),
        ({"": 3}, "there is no key ''"),
    ],
)
def test_parameters_that_are_none_of_this_version_are_named(result: Path, values: dict[str, Any], found: str) -> None:
    for stage in ("gradcheck", "train", "synthesize", "evaluate"):
        artifacts.PARAMETERS[stage].write(result / stage, artifacts.PARAMETERS[stage].read(result) | values)
        seal(result)
    with pytest.raises(StateError, match=re.escape(found)):
        plot.run(make_config(), result, result / "anew")


@pytest.mark.parametrize("content", ["[]", '{"seed": []}', '{"seed": 1', "null"])
def test_a_damaged_file_of_parameters_is_named(result: Path, content: str) -> None:
    (result / "train/parameters.json").write_text(content, encoding="utf-8")
    seal(result)
    with pytest.raises(StateError, match=r"train/parameters\.json is damaged"):
        plot.run(make_config(), result, result / "anew")


@pytest.mark.parametrize("text", [HOSTILE, "a'b", "C:\\new\\", "\\'", "null", "1e3", "a,b", "[1]", "'a'", " a ", "é"])
def test_an_override_gives_a_key_the_text_to_the_letter(workspace: Path, text: str) -> None:
    assert load([override("inp", text)]).inp == text


def test_the_command_that_is_printed_records_the_result_as_it_was_made_and_where_it_should_have_gone(
    workspace: Path,
) -> None:
    folder = make_result(workspace / HOSTILE)
    set_parameters(make_config(learning_rate=0.2), folder)
    database = workspace / "elsewhere.db"
    database.write_text("for now, this is no database" * 20)
    project, uri = Project(workspace), "tracking.uri=sqlite:///elsewhere.db"
    failed = project.try_stage("track", override("inp", HOSTILE), "out=track", uri, "tracking.experiment=a")
    line = failed.assert_one_error(5, "file is not a database", "record it later with `python -m charloom.stages.track")
    database.unlink()

    command = line.partition("`")[2].rpartition("`")[0]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(command, shell=True, check=True, cwd=workspace, env=project.environment | {"PATH": path})
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{database}")
    experiment = client.get_experiment_by_name("a")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["optimizer.learning_rate"] == "0.2"
    assert run.data.tags["charloom.result"] == tracking.hash_result(folder).result
    assert not (workspace / "mlflow.db").exists()
