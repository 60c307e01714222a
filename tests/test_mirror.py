"""The journal of a run and its mirror in MLflow: through outages and kills, nothing is missing and nothing double."""

import csv
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest

from charloom.adapters import tracking
from charloom.adapters.configuration import TrackingConfig
from charloom.adapters.tracking import Journal, follower, journal
from charloom.adapters.tracking.addresses import Target
from charloom.adapters.tracking.follower import Follower
from charloom.adapters.tracking.sending import Sent
from charloom.core.common.errors import ConfigError, EnvironmentFault
from charloom.core.common.records import HistoryRow
from tests.mlflow_server import Gate, MlflowServer, mlflow_server
from tests.project import Project, wait_for
from tests.results import MLFLOW_WARNINGS, make_config

pytestmark = MLFLOW_WARNINGS

PARAMETERS = {"train.seq_length": "25", "seed": "1"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")  # 5 where it is not set


def begin(folder: Path, uri: str) -> Journal:
    """A run that has begun in this process."""
    begun = Journal(folder / "tracking")
    begun.start(Target(uri, "charloom"), "a run", parameters=PARAMETERS)
    return begun


def add_rows(to: Journal, *steps: int) -> None:
    for step in steps:
        to.row(HistoryRow(step, 0, 100.0 / step, 110.0 / step, 2.0 if step % 10 == 0 else None))
    to.log(tags={"rows": "written"})  # rows may wait for what comes next


def points(server: MlflowServer, folder: Path, name: str = "loss") -> list[tuple[int, float]]:
    """A curve of the journal's one run."""
    return mirrored_points(server, folder / "tracking", name)


def mirrored_points(server: MlflowServer, folder: Path, name: str = "loss") -> list[tuple[int, float]]:
    (run,) = mirrored(server, folder)
    found = server.client.get_metric_history(run, f"curves/{name}")
    return sorted((point.step, point.value) for point in found)


def runs(server: MlflowServer, folder: Path) -> list[str]:
    return mirrored(server, folder / "tracking")


def mirrored(server: MlflowServer, folder: Path) -> list[str]:
    """The runs of the journal in a folder of its own."""
    experiment = server.client.get_experiment_by_name("charloom")
    assert experiment is not None
    own = f"tags.`charloom.journal` = '{journal.header(folder)['id']}'"
    return [run.info.run_id for run in server.client.search_runs([experiment.experiment_id], own)]


def status(server: MlflowServer, folder: Path) -> str:
    (run,) = runs(server, folder)
    return str(server.client.get_run(run).info.status)


@pytest.mark.usefixtures("workspace")
def test_a_run_is_in_mlflow_from_its_start_and_its_curves_grow(tmp_path: Path, server: MlflowServer) -> None:
    sender, live = Follower(), begin(tmp_path, server.uri)
    assert sender.send([live.folder])
    (run_id,) = runs(server, tmp_path)
    run = server.client.get_run(run_id)
    start = journal.header(live.folder)
    assert (run.info.status, run.info.start_time) == ("RUNNING", int(start["time"] * 1000))
    assert run.data.params == PARAMETERS
    for steps in ((1, 2), (10, 20, 30)):
        add_rows(live, *steps)
        assert sender.send([live.folder])
        assert points(server, tmp_path)[-1] == (steps[-1], 100.0 / steps[-1])
    assert points(server, tmp_path, "validation_nats_per_char") == [(10, 2.0), (20, 2.0), (30, 2.0)]
    live.end("FAILED", "out of paper")
    assert sender.send([live.folder])
    run = server.client.get_run(run_id)
    end = journal.last(live.folder, "end")
    assert end is not None
    assert (run.info.status, run.info.end_time) == ("FAILED", int(end["time"] * 1000))
    assert run.data.tags["charloom.error"] == "out of paper"


@pytest.mark.usefixtures("workspace")
def test_what_is_sent_twice_is_there_once(tmp_path: Path, server: MlflowServer) -> None:
    live = begin(tmp_path, server.uri)
    add_rows(live, *range(1, 400))  # more points than MLflow takes at once
    live.end("FINISHED")
    follower.sync(tmp_path)
    expected = [(step, 100.0 / step) for step in range(1, 400)]
    assert points(server, tmp_path) == expected
    sent = live.folder / "sent.json"
    # A kill before the answer was noted.
    sent.write_text(json.dumps(json.loads(sent.read_text()) | {"offset": 0}))
    follower.sync(tmp_path)
    assert points(server, tmp_path) == expected
    # A kill before the new run's id was noted.
    sent.write_text(json.dumps(json.loads(sent.read_text()) | {"offset": 0, "run_id": None, "doubtful": True}))
    follower.sync(tmp_path)
    assert points(server, tmp_path) == expected
    assert status(server, tmp_path) == "FINISHED"


@pytest.mark.usefixtures("workspace")
def test_a_journal_that_another_process_sends_is_no_fault_of_the_server(
    tmp_path: Path, server: MlflowServer, capsys: pytest.CaptureFixture[str]
) -> None:
    sender, live = Follower(), begin(tmp_path, server.uri)
    with filelock.FileLock(live.folder / "sent.lock"):
        assert (sender.send([live.folder]), sender.busy) == (False, True)
    assert (sender.send([live.folder]), sender.busy) == (True, False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("workspace", "impatient")
def test_what_a_server_that_hung_does_late_is_set_right(
    tmp_path: Path, server: MlflowServer, capsys: pytest.CaptureFixture[str]
) -> None:
    sender = Follower()
    assert sender.send([begin(tmp_path / "before", server.uri).folder])  # so that the next request makes a run
    live = begin(tmp_path, server.uri)
    server.signal(signal.SIGSTOP)
    try:
        assert not sender.send([live.folder])
        sender.hurry()
        assert not sender.send([live.folder])
    finally:
        server.signal(signal.SIGCONT)
    assert capsys.readouterr().err.count("charloom: warning: ") == 1
    add_rows(live, 1, 2, 3)
    live.end("FINISHED")
    sender.hurry()
    assert sender.send([live.folder])
    assert "answers again" in capsys.readouterr().err
    assert [step for step, _ in points(server, tmp_path)] == [1, 2, 3]  # of one run
    assert status(server, tmp_path) == "FINISHED"


@pytest.mark.usefixtures("workspace")
def test_a_server_that_fails_is_left_alone_for_a_while_and_lacks_nothing_later(
    tmp_path: Path, server: MlflowServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with Gate(server.port).open() as gate:
        sender, live = Follower(), begin(tmp_path, gate.uri)
        assert sender.send([live.folder])
        gate.status = 500
        for step in range(1, 6):
            add_rows(live, step)
            assert not sender.send([live.folder])
        assert gate.asked == 1  # the others were not even tried
        live.end("FINISHED")
        with pytest.raises(EnvironmentFault, match=r"cannot be written to .*500"):
            follower.sync(tmp_path)
        gate.status = None
        follower.sync(tmp_path)
        assert [step for step, _ in points(server, tmp_path)] == [1, 2, 3, 4, 5]
        follower.sync(tmp_path)
        assert capsys.readouterr().out.splitlines()[-1] == "0 of 1 runs had parts to send; MLflow has all of them"


@pytest.mark.usefixtures("workspace")
def test_wrong_credentials_are_said_once_without_the_secret(
    tmp_path: Path, server: MlflowServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Gate(server.port).open() as gate:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", gate.uri.replace("://", "://someone:sesame@"))
        gate.status = 401
        sender = Follower()
        config = make_config(TrackingConfig(mode="server", uri=None, experiment="charloom"))
        target = Target.of(config.tracking)
        live = Journal(tmp_path / "tracking")
        live.start(target, "a run", parameters=PARAMETERS)
        for step in (1, 2):
            add_rows(live, step)
            sender.hurry()
            assert not sender.send([live.folder])
        assert gate.asked == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "refuses this user; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in said
        gate.status = None
        follower.sync(tmp_path)
    written = "".join(path.read_text() for path in live.folder.iterdir())
    assert "sesame" not in said + written
    assert [step for step, _ in points(server, tmp_path)] == [1, 2]


@pytest.mark.usefixtures("workspace")
def test_a_run_that_a_kill_left_open_is_ended_as_killed_by_the_next_command(
    tmp_path: Path, server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        process = journal.identify(other.pid)
        with monkeypatch.context() as patch:
            patch.setattr(journal, "identify", lambda _: process)
            live = begin(tmp_path, server.uri)
        add_rows(live, 1)
        assert Follower().send([live.folder])
        follower.sync(tmp_path)
        assert status(server, tmp_path) == "RUNNING"
        other.kill()
    written = (live.folder / "journal.jsonl").stat().st_mtime
    follower.sync(tmp_path)
    (run_id,) = runs(server, tmp_path)
    info = server.client.get_run(run_id).info
    assert (info.status, info.end_time) == ("KILLED", int(written * 1000))


@pytest.mark.usefixtures("workspace")
def test_a_run_that_was_deleted_in_mlflow_is_not_made_again(tmp_path: Path, server: MlflowServer) -> None:
    live = begin(tmp_path, server.uri)
    sender = Follower()
    assert sender.send([live.folder])
    (run_id,) = runs(server, tmp_path)
    server.client.delete_run(run_id)
    add_rows(live, 1)
    assert sender.send([live.folder])
    assert runs(server, tmp_path) == []


@pytest.mark.usefixtures("workspace")
def test_a_server_that_does_not_know_a_run_any_more_gets_all_of_it(tmp_path: Path, server: MlflowServer) -> None:
    live = begin(tmp_path, server.uri)
    add_rows(live, 1, 2)
    follower.sync(tmp_path)
    sent = live.folder / "sent.json"
    sent.write_text(json.dumps(json.loads(sent.read_text()) | {"run_id": "0" * 32}))
    add_rows(live, 3)
    follower.sync(tmp_path)
    again = Sent.read(live.folder)
    assert again is not None
    found = server.client.get_metric_history(str(again.run_id), "curves/loss")
    assert [point.step for point in found] == [1, 2, 3]


def test_half_a_line_and_a_row_that_is_there_already_are_left_out(tmp_path: Path) -> None:
    live = begin(tmp_path, "http://127.0.0.1:1")
    add_rows(live, 1, 2)
    path = live.folder / "journal.jsonl"
    with path.open("ab") as file:
        file.write(b'{"event": "row", "st')
    again = Journal(live.folder)
    add_rows(again, 1, 2, 3)
    assert [event["step"] for event, _ in journal.read(live.folder) if event["event"] == "row"] in ([1, 2], [1, 2, 3])
    add_rows(Journal(live.folder), 3)
    assert [event["step"] for event, _ in journal.read(live.folder) if event["event"] == "row"] == [1, 2, 3]


def test_a_journal_that_cannot_be_written_is_said_once_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tracking").write_text("no folder")
    live = Journal(tmp_path / "tracking")
    for step in range(3):
        add_rows(live, step + 1)
    live.end("FINISHED")
    said = capsys.readouterr().err
    assert said.count("charloom: warning: ") == 1
    assert "cannot be written" in said


@pytest.mark.parametrize(
    ("raised", "end"),
    [
        (ZeroDivisionError("by 0"), ("FAILED", "ZeroDivisionError: by 0")),
        (EnvironmentFault("no paper at http://me:sesame@host"), ("FAILED", "no paper at http://host")),
        (SystemExit(3), ("FAILED", "SystemExit: 3")),
        (KeyboardInterrupt(), ("KILLED", "")),
    ],
)
def test_how_a_run_ends_is_in_its_journal(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException, end: tuple[str, str]
) -> None:
    monkeypatch.setenv(tracking.SWEEP, str(workspace))  # which would follow it
    with pytest.raises(type(raised)), tracking.live_run(make_config()):
        raise raised
    event = journal.last(workspace / "outputs/tracking", "end")
    assert event is not None
    assert (event["status"], event["message"]) == end


def test_a_folder_without_a_journal_is_refused(workspace: Path) -> None:
    with pytest.raises(ConfigError, match="must be the folder of a run or of a sweep"):
        follower.sync(workspace)


def test_a_result_that_is_gone_when_it_is_sent_is_said(workspace: Path, result: Path, server: MlflowServer) -> None:
    live = begin(workspace, server.uri)
    live.result(result, "0" * 64, [])
    live.end("FINISHED")
    with pytest.raises(EnvironmentFault, match=r"MLflow lacks the files of a result: .*got another one"):
        follower.sync(workspace)
    assert status(server, workspace) == "FINISHED"


def test_a_training_that_is_stopped_and_taken_up_again_is_one_run(project: Project, server: MlflowServer) -> None:
    variables = {"MLFLOW_TRACKING_URI": server.uri}
    overrides = ["preset=smoke", "gradcheck.workers=1", "synthesize.quality_length=0", "train.log_every=50"]
    command = ["-m", "charloom.experiment", *overrides, "train.steps=20000", "train.checkpoint_every=1000"]
    first = project.start(*command, variables=variables)
    wait_for(lambda: project.checkpoints() and [*project.root.glob("outputs/*/*/tracking/sent.json")], first)
    end(project, first)
    (killed,) = project.root.glob("outputs/*/*")
    run_id, before = runs(server, killed), journal.header(killed / "tracking")
    assert status(server, killed) == "KILLED"
    ended = project.python(*command, variables=variables)
    assert ended.code == 0, ended.errors
    (path,) = project.root.glob("outputs/*/*/train/history.csv")
    folder = path.parents[1]
    assert journal.header(folder / "tracking") == before  # it has moved to where the run goes on
    assert (runs(server, folder), status(server, folder)) == (run_id, "FINISHED")
    with path.open(encoding="ascii", newline="") as file:
        history = [(int(row["step"]), float(row["smooth_loss"])) for row in csv.DictReader(file)]
    assert points(server, folder, "smooth_loss") == history


def test_a_training_that_dvc_runs_is_in_mlflow_while_it_goes_on(prepared: Project, server: MlflowServer) -> None:
    variables = {"MLFLOW_TRACKING_URI": server.uri, "DVC_STAGE": "train"}
    long = ("preset=smoke", "train.steps=1000000", "train.log_every=50", "train.checkpoint_every=1000")
    process = prepared.start("-m", "charloom.stages.train", *long, "out=artifacts/train", variables=variables)
    wait_for(lambda: [*prepared.root.glob(".charloom/runs/*/sent.json")], process)
    (sent,) = prepared.root.glob(".charloom/runs/*/sent.json")
    (run_id,) = mirrored(server, sent.parent)
    assert server.client.get_run(run_id).info.status == "RUNNING"
    wait_for(lambda: server.client.get_metric_history(run_id, "curves/loss"), process)
    end(prepared, process)
    assert server.client.get_run(run_id).info.status == "KILLED"


@pytest.mark.parametrize(("limit", "runs"), [("null", 1), ("60", 2)])
def test_a_training_whose_result_dvc_did_not_keep_is_the_same_run_when_it_is_repeated(
    prepared: Project, server: MlflowServer, limit: str, runs: int
) -> None:
    """One that is limited by time is another run: it may have other rows."""
    command = ("-m", "charloom.stages.train", "preset=smoke", f"train.max_seconds={limit}", "out=artifacts/train")
    run_ids = set()
    for _ in range(2):
        ended = prepared.python(*command, variables={"MLFLOW_TRACKING_URI": server.uri, "DVC_STAGE": "train"})
        assert ended.code == 0, ended.errors
        (folder,) = prepared.root.glob(".charloom/runs/*")
        run_ids |= set(mirrored(server, folder))
        shutil.rmtree(prepared.root / "artifacts/train")  # as DVC does
    assert len(run_ids) == runs
    assert {server.client.get_run(run_id).info.status for run_id in run_ids} == {"FINISHED"}
    events = [event["event"] for event, _ in journal.read(folder)]
    steps = [step for step, _ in mirrored_points(server, folder)]
    assert steps == sorted(set(steps))
    assert events.count("row") == len(steps)


def end(project: Project, process: subprocess.Popen[str]) -> None:
    """End a run by a signal; what MLflow then lacks of it, on a busy machine, is sent as the run says."""
    process.terminate()
    _, errors = process.communicate()
    assert process.returncode == 143, errors
    if "see to it with" in errors:
        assert project.python("-m", "charloom.tracking", "sync").code == 0
    assert "MLflow lacks" not in errors


def test_a_sweep_through_an_outage_is_whole_and_is_sent_later(project: Project, server: MlflowServer) -> None:
    small = ("preset=smoke", "train.steps=40", "gradcheck.workers=1", "gradcheck.hidden_size=4", "sweep.plot=none")
    nobody = {"MLFLOW_TRACKING_URI": "http://someone:sesame@127.0.0.1:9"}
    ended = project.python("-m", "charloom.experiment", "-m", *small, "seed=1,2", variables=nobody)
    assert ended.code == 0, ended.errors
    assert ended.errors.count("MLflow at http://127.0.0.1:9 cannot be written to") == 1
    assert "sesame" not in ended.errors + ended.output
    assert not [path for path in project.root.rglob("*") if path.is_file() and b"sesame" in path.read_bytes()]
    (folder,) = project.root.glob("multirun/*/*")
    with (folder / "sweep.csv").open(encoding="utf-8", newline="") as file:
        assert all(float(row["validation_nats_per_char"]) > 0 for row in csv.DictReader(file))
    synced = project.python("-m", "charloom.tracking", "sync", variables={"MLFLOW_TRACKING_URI": server.uri})
    assert synced.code == 0, synced.errors
    assert synced.output.startswith("3 of 3 runs had parts to send")
    (parent,) = runs(server, folder)
    for job in (folder / "0", folder / "1"):
        (child,) = runs(server, job)
        assert server.client.get_run(child).data.tags["mlflow.parentRunId"] == parent
        assert [status(server, each) for each in (folder, job)] == ["FINISHED"] * 2
