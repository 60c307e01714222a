"""A small project of its own for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project import Project
from tests.results import enter_project, make_result


@pytest.fixture(scope="session", autouse=True)
def quiet_mlflow() -> Iterator[None]:
    """MLflow, which some tests ask themselves, sends no telemetry."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        yield


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project in which nothing has run."""
    return Project.create(tmp_path / "a project")


@pytest.fixture(scope="session")
def _prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.create(tmp_path_factory.mktemp("prepared") / "a project")
    project.stage("prepare")
    return project


@pytest.fixture(scope="session")
def _trained(tmp_path_factory: pytest.TempPathFactory, _prepared: Project) -> Project:
    project = _prepared.copy_to(tmp_path_factory.mktemp("trained") / "a project")
    project.stage("train", "preset=smoke")
    return project


@pytest.fixture
def prepared(tmp_path: Path, _prepared: Project) -> Project:
    """A project in which prepare has run."""
    return _prepared.copy_to(tmp_path / "a prepared project")


@pytest.fixture
def trained(tmp_path: Path, _trained: Project) -> Project:
    """A project in which prepare and train, with preset=smoke, have run."""
    return _trained.copy_to(tmp_path / "a trained project")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a project without a text: the working directory."""
    return enter_project(tmp_path / "a project", monkeypatch)


@pytest.fixture
def result(workspace: Path) -> Path:
    """What every stage leaves, made up, under artifacts/ of the working directory."""
    return make_result(workspace / "artifacts")


@pytest.fixture(scope="session")
def _database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database with nothing in it: to make one takes seconds, a copy nothing."""
    from charloom.adapters.tracking.store import create

    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    create(path)
    return path


@pytest.fixture
def database(workspace: Path, _database: Path) -> None:
    """Give the project MLflow's database with nothing in it."""
    shutil.copyfile(_database, workspace / "mlflow.db")
