"""Sweeps on a real Ray cluster of two nodes, one of which is killed in the middle of a sweep."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from omegaconf import OmegaConf

from charloom.adapters.configuration.launchers import Ray
from charloom.adapters.sweeps.cluster import RayLauncher, shipping
from charloom.adapters.sweeps.cluster.changes import Inbox, Outbox
from charloom.adapters.sweeps.cluster.worker import PACKAGES, differences, versions
from charloom.adapters.tracking.journal import FOLDER, last
from charloom.adapters.tracking.payload import CURVES
from charloom.core.common.errors import ConfigError, EnvironmentFault
from tests.project import ROOT, Project, wait_for
from tests.ray_cluster import SMALL, Cluster, cluster, models, records, sweep_folder, trains_on_second

# Python imports this in every process that finds it; to the jobs with these seeds, something happens.
PLANTED = """
    import os, resource, signal, sys

    if "charloom.experiment" in sys.orig_argv and "seed=61" in sys.orig_argv:
        os.kill(os.getpid(), signal.SIGKILL)
    if "charloom.experiment" in sys.orig_argv and "seed=62" in sys.orig_argv:
        resource.setrlimit(resource.RLIMIT_DATA, (60 << 20, 60 << 20))
    if "charloom.experiment" in sys.orig_argv and "seed=63" in sys.orig_argv:
        sys.modules["numpy"] = None
"""


@dataclass(frozen=True)
class Swept:
    """A sweep that has ended."""

    folder: Path
    code: int
    output: str
    errors: str

    @property
    def records(self) -> dict[int, dict[str, Any]]:
        return records(self.folder)

    def log(self, number: int) -> str:
        return (self.folder / str(number) / "job.log").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, _database: Path) -> Project:
    made = Project.create(tmp_path_factory.mktemp("project") / "a project")
    shutil.copyfile(_database, made.root / "mlflow.db")
    made.script("sitecustomize.py", PLANTED)
    made.git("init", "--quiet")
    made.git("add", "params.yaml")
    made.git("commit", "--quiet", "-m", "first")
    return made


def start(project: Project, nodes: Cluster, *overrides: str) -> "subprocess.Popen[str]":
    path = os.pathsep.join([str(ROOT / "src"), str(project.root.parent)])
    variables = {**nodes.variables, "PYTHONPATH": path}
    return project.start("-m", "charloom.experiment", "-m", *SMALL, *nodes.options(), *overrides, variables=variables)


@pytest.fixture(scope="module")
def swept(project: Project, nodes: Cluster) -> Swept:
    """A sweep of six jobs, of which three fail; one of the two nodes was killed while it trained."""
    with start(project, nodes, "seed=1,2,3,61,62,63") as process:
        wait_for(lambda: trains_on_second(nodes, project, process.pid), process)
        nodes.kill_second()
        output, errors = process.communicate()
        return Swept(sweep_folder(project, process.pid), process.returncode, output, errors)


def test_the_jobs_of_a_sweep_finish_although_a_node_is_killed_under_them(swept: Swept) -> None:
    statuses = [swept.records[number]["status"] for number in range(3)]
    assert statuses == ["finished"] * 3, swept.errors


def test_the_job_of_the_killed_node_goes_on_elsewhere_from_its_checkpoint(swept: Swept) -> None:
    (moved,) = (number for number in range(3) if "going on from step" in swept.log(number))
    assert f"job {moved} lost its worker" in swept.errors


def test_the_models_of_a_job_that_moved_have_the_same_bytes_as_those_of_a_run_here(
    project: Project, swept: Swept
) -> None:
    (moved,) = (number for number in range(3) if "going on from step" in swept.log(number))
    here = project.python("-m", "charloom.experiment", *SMALL, f"seed={moved + 1}", "tracking=off", "out=here")
    assert here.code == 0, here.errors
    alone = models(project.root, "here")
    assert alone == models(swept.folder, str(moved))
    assert len(alone) == 3


def test_a_job_on_a_cluster_is_one_run_in_mlflow_with_its_curve_whole(project: Project, swept: Swept) -> None:
    assert project.python("-m", "charloom.tracking", "sync").code == 0
    finished = [run for run in project.runs("attributes.status = 'FINISHED'") if "seed" in run.data.params]
    assert sorted(run.data.params["seed"] for run in finished) == ["1", "2", "3"]
    for run in finished:
        points = project.mlflow_client().get_metric_history(run.info.run_id, f"{CURVES}/smooth_loss")
        steps = [point.step for point in points]
        assert steps == sorted(set(steps))
        assert steps[-1] == 30000


def test_a_job_on_a_cluster_is_recorded_with_the_commit_that_it_was_started_from(
    project: Project, swept: Swept
) -> None:
    for number in range(3):
        start = last(swept.folder / str(number) / FOLDER, "start")
        assert start
        assert start["tags"]["mlflow.source.git.commit"] == project.git("rev-parse", "HEAD")
        assert start["tags"]["charloom.git_dirty"] == "false"


def test_a_job_that_fails_on_a_cluster_says_why_and_the_others_go_on(swept: Swept) -> None:
    killed, limited, raised = (swept.records[number] for number in (3, 4, 5))
    assert [record["status"] for record in (killed, limited, raised)] == ["failed"] * 3
    assert killed["message"] == "ended by SIGKILL: out of memory?"
    assert killed["exit_code"] == 128 + signal.SIGKILL
    assert limited["exit_code"] != 0
    assert "numpy" in raised["message"]
    assert swept.code == killed["exit_code"]


def test_rays_own_messages_do_not_reach_the_terminal(swept: Swept) -> None:
    assert "raylet" not in swept.output + swept.errors
    assert "gcs" not in swept.output + swept.errors


def test_a_sweep_that_is_terminated_leaves_no_job_on_the_cluster_and_goes_on_later(
    project: Project, nodes: Cluster
) -> None:
    before = set(project.checkpoints())
    with start(project, nodes, "seed=4", "tracking=off") as process:
        wait_for(lambda: set(project.checkpoints()) - before, process)
        process.terminate()
        _, errors = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert nodes.jobs() == set()
    folder = sweep_folder(project, process.pid)
    assert {record["status"] for record in records(folder).values()} == {"interrupted"}
    with start(project, nodes, "seed=4", "tracking=off", "sweep.resume=latest") as process:
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert {record["status"] for record in records(folder).values()} == {"finished"}
    assert "going on from step" in (folder / "0/job.log").read_text(encoding="utf-8")


def test_a_cluster_that_wants_another_token_is_said_in_one_line(project: Project, nodes: Cluster) -> None:
    variables = {**nodes.variables, "RAY_AUTH_TOKEN": "another" * 8}
    ended = project.python("-m", "charloom.experiment", "-m", *SMALL, *nodes.options(), "seed=6", variables=variables)
    line = ended.assert_one_error(5, nodes.address, "token", "RAY_AUTH_TOKEN")
    assert "anotheranother" not in line


def test_a_cluster_that_does_not_answer_is_said_in_one_line(project: Project) -> None:
    overrides = ("hydra/launcher=ray", "hydra.launcher.address=127.0.0.1:1")
    ended = project.python("-m", "charloom.experiment", "-m", *SMALL, *overrides, "seed=6", "tracking=off")
    ended.assert_one_error(5, "127.0.0.1:1", "hydra.launcher.address=null")


@pytest.mark.parametrize(
    ("option", "must"),
    [
        ({"address": "http://me:pass@host"}, "address must be host:port, auto or null"),
        ({"num_cpus": 0}, "num_cpus must be >= 1"),
        ({"max_retries": -1}, "max_retries must be >= 0"),
        ({"storage": "nowhere"}, "storage must be there, got none"),
        ({"storage": "data"}, "the sweep's folder must be in hydra.launcher.storage"),
    ],
)
def test_an_option_of_the_cluster_that_cannot_be_is_refused(workspace: Path, option: dict[str, Any], must: str) -> None:
    (workspace / "data").mkdir(exist_ok=True)
    options = {key: value for key, value in vars(Ray()).items() if key != "_target_"}
    launcher, nothing = RayLauncher(**options | option), cast(Any, None)
    config = OmegaConf.create({"hydra": {"sweep": {"dir": "multirun/a sweep"}}})
    with pytest.raises(ConfigError, match=must):
        launcher.setup(hydra_context=nothing, task_function=nothing, config=config)


def test_files_come_over_piece_by_piece_while_they_are_written(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    outbox, inbox = Outbox(there, lambda folder: folder.glob("*")), Inbox(here)
    (there / "journal.jsonl").write_text("1\n", encoding="ascii")
    (there / "checkpoint-1.npz").write_bytes(bytes(1 << 26))  # more than one look takes
    while pieces := outbox.look():
        inbox.take(pieces)
    with (there / "journal.jsonl").open("a", encoding="ascii") as journal:
        journal.write("2\n")
    (there / "checkpoint-2.npz").write_bytes(b"2")
    (there / "checkpoint-1.npz").unlink()
    pieces = outbox.look()
    assert sum(len(piece.data or b"") for piece in pieces) == 3
    inbox.take(pieces)
    assert {path.name: path.read_bytes() for path in here.iterdir()} == {
        "journal.jsonl": b"1\n2\n",
        "checkpoint-2.npz": b"2",
    }


def test_a_file_that_was_replaced_comes_over_anew(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    outbox, inbox = Outbox(there, lambda folder: folder.glob("*")), Inbox(here)
    (there / "history.jsonl").write_text("1\n2\n3\n", encoding="ascii")
    inbox.take(outbox.look())
    (there / "history.jsonl").unlink()
    (there / "history.jsonl").write_text("1\n4\n5\n6\n", encoding="ascii")  # may get the number of the one removed
    inbox.take(outbox.look())
    assert (here / "history.jsonl").read_text(encoding="ascii") == "1\n4\n5\n6\n"
    assert outbox.look() == []


def test_what_git_ignores_does_not_travel(workspace: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    (workspace / ".gitignore").write_text("*.secret\n", encoding="ascii")
    (workspace / "conf/of-mine.secret").touch()
    (workspace / "conf/preset/mine.yaml").touch()
    shipping.copy_code(tmp_path / "code")
    names = {path.relative_to(tmp_path / "code").as_posix() for path in (tmp_path / "code").rglob("*")}
    assert {"params.yaml", "conf/config.yaml", "conf/preset/mine.yaml", "charloom/params.yaml"} <= names
    assert not any(name.endswith(".secret") or "__pycache__" in name for name in names)


def test_passwords_travel_in_the_environment_of_jobs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pass")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), "/more"]))
    monkeypatch.setenv("HOME", "/home/me")
    found = shipping.environment()
    assert found["MLFLOW_TRACKING_PASSWORD"] == "pass"
    assert found["PYTHONPATH"] == "/more"
    assert "HOME" not in found


def test_a_node_with_another_numpy_is_refused_and_other_differences_are_said() -> None:
    here = versions()
    assert set(here) == {"Python", *PACKAGES}
    assert differences(here, here, "node") is None
    assert differences(here, here | {"tqdm": "0.1"}, "node") == f"node has tqdm 0.1 in place of {here['tqdm']}"
    with pytest.raises(EnvironmentFault, match=r"numpy 1\.0 in place of"):
        differences(here, here | {"numpy": "1.0"}, "node")
    with pytest.raises(EnvironmentFault, match="mlflow missing"):
        differences(here, here | {"mlflow": None}, "node")
