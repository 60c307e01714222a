"""Where runs go, and what happens when that place cannot take them."""

import os
import shutil
import socket
import time
from pathlib import Path

import pytest

from charloom.adapters.configuration import Config, TrackingConfig
from charloom.adapters.tracking import addresses, store
from charloom.core.common.errors import EnvironmentFault
from charloom.stages import track
from tests.project import Project
from tests.results import MLFLOW_WARNINGS, enter_project, make_config, record

pytestmark = MLFLOW_WARNINGS


def test_the_environment_variable_decides_where_runs_go(
    workspace: Path, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///elsewhere.db")
    recorded = record(
        make_config(TrackingConfig(mode="server", uri="http://127.0.0.1:1", experiment="charloom")), result
    )
    assert recorded.uri == f"sqlite:///{workspace / 'elsewhere.db'}"
    assert (workspace / "elsewhere.db").is_file()
    assert not (workspace / "mlflow.db").exists()


def test_the_database_of_a_copy_that_dvc_made_is_that_of_the_project(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace / ".dvc").mkdir()
    assert addresses.home() == workspace
    for folder in (workspace / ".dvc/tmp/exps/tmp1", workspace / ".dvc/tmp/exps/standalone/tmp2"):
        (folder / ".dvc").mkdir(parents=True)
        enter_project(folder, monkeypatch)
        assert addresses.home() == workspace
    linked = enter_project(tmp_path / "scratch/tmp3", monkeypatch)
    (linked / ".dvc").mkdir()
    assert addresses.home() == linked
    monkeypatch.setenv("DVC_ROOT", str(workspace))
    assert addresses.home() == linked  # DVC sets it for every stage
    monkeypatch.setenv("DVC_EXP_NAME", "brave-moth")
    assert addresses.home() == workspace


def test_what_a_kill_left_of_a_database_is_replaced(workspace: Path, result: Path) -> None:
    for name in ("mlflow.db.new", "mlflow.db.new-journal"):
        (workspace / name).write_bytes(b"half a database")
    record(make_config(), result)
    assert sorted(path.name for path in workspace.glob("mlflow.db*") if path.suffix != ".lock") == ["mlflow.db"]


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("copied", [False, True])
def test_the_runs_of_a_project_that_was_moved_or_copied_have_their_files_in_its_new_place(
    workspace: Path, result: Path, tmp_path: Path, copied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = record(make_config(), result)
    there = tmp_path / "elsewhere"
    before = Project(workspace).files("mlartifacts") if copied else {}
    (shutil.copytree if copied else shutil.move)(workspace, there)
    monkeypatch.chdir(there)

    second = record(make_config(learning_rate=0.2), there / "artifacts")
    client = Project(there).mlflow_client()
    assert first.run_id != second.run_id
    for run in (first, second):
        uri = client.get_run(run.run_id).info.artifact_uri
        assert uri == f"{(there / 'mlartifacts').as_uri()}/{run.run_id}/artifacts"
        assert client.list_artifacts(run.run_id)
    if copied:
        assert Project(workspace).files("mlartifacts") == before


@pytest.mark.usefixtures("database")
def test_the_files_of_runs_that_were_not_copied_are_still_found(
    workspace: Path, result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = record(make_config(), result)
    there = tmp_path / "elsewhere"
    shutil.copytree(workspace, there, ignore=shutil.ignore_patterns("mlartifacts"))
    monkeypatch.chdir(there)
    second = record(make_config(learning_rate=0.2), there / "artifacts")
    client = Project(there).mlflow_client()
    assert client.list_artifacts(first.run_id)
    assert (there / "mlartifacts" / second.run_id).is_dir()


@pytest.mark.usefixtures("database")
def test_a_deleted_experiment_is_told_so(workspace: Path, result: Path) -> None:
    record(make_config(), result)
    client = Project(workspace).mlflow_client()
    experiment = client.get_experiment_by_name("charloom")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(EnvironmentFault, match="was deleted; restore it"):
        record(make_config(), result)


def test_a_file_that_is_no_database_is_one_line(workspace: Path, result: Path) -> None:
    (workspace / "mlflow.db").write_text("this is not a database, but it is long enough to look at" * 20)
    with pytest.raises(EnvironmentFault, match="file is not a database") as caught:
        record(make_config(), result)
    assert "\n" not in str(caught.value)


def _server_at(port: int) -> Config:
    return make_config(TrackingConfig(mode="server", uri=f"http://127.0.0.1:{port}", experiment="charloom"))


def test_a_server_that_is_gone_costs_seconds_and_one_line(
    workspace: Path, result: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refused
        config = make_config()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:secret@127.0.0.1:{unused.getsockname()[1]}")
        before = time.monotonic()
        with pytest.raises(EnvironmentFault) as caught:
            track.run(config, result, workspace / "track")
        assert time.monotonic() - before < 15
    said = str(caught.value)
    assert "\n" not in said
    assert "Connection refused" in said
    assert f"the result is whole in {result}" in said
    assert "record it later with `python -m charloom.stages.track " in said
    assert "secret" not in said + caplog.text
    assert (workspace / "track/result.json").is_file()


def test_a_server_that_hangs_is_given_up(workspace: Path, result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")  # 5 where it is not set
    with socket.create_server(("127.0.0.1", 0)) as silent:
        before = time.monotonic()
        with pytest.raises(EnvironmentFault, match=r"timed out.*the result is whole in"):
            record(_server_at(silent.getsockname()[1]), result)
        assert time.monotonic() - before < 10


def test_the_wait_for_a_server_is_bounded_by_default(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.delenv(name, raising=False)
    store.prepare()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "5"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
