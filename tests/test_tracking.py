import csv
import json
import multiprocessing
import shutil
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from charloom.adapters import sweeps, tracking, ui
from charloom.adapters.configuration import Config, TrackingConfig, flatten
from charloom.adapters.files import artifacts
from charloom.adapters.process import kernels
from charloom.adapters.sweeps.objectives import Objective
from charloom.adapters.sweeps.summary import summarize
from charloom.adapters.tracking import Journal, follower, store
from charloom.adapters.tracking.addresses import Target
from charloom.adapters.tracking.payload import read_payload
from charloom.adapters.tracking.sending import Sent
from charloom.core.common.errors import EnvironmentFault, StateError
from charloom.stages import track
from tests.project import Project
from tests.results import MLFLOW_WARNINGS, ROWS, SEQ_LENGTH, TENSORS, make_config, record, set_parameters

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = MLFLOW_WARNINGS


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _assert_holds(client: "MlflowClient", run_id: str, config: Config, inp: Path) -> None:
    """Everything that the files say stands in the run."""
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert {key: _plain(value) for key, value in run.data.params.items()} == flatten(config.parameters())
    errors = json.loads((inp / "gradcheck/errors.json").read_text())
    for tensor in TENSORS:
        exact, central = errors["complex_step"][tensor], errors["central"][tensor]
        for method, found in (("complex_step", exact), ("central_difference", central)):
            magnitude = run.data.metrics[f"gradcheck/log10_{method}/{tensor}"]
            assert 10**magnitude == pytest.approx(found["max_relative_error"])
    history = _rows(inp / "train/history.csv")
    assert len(history) == ROWS
    for name in ("loss", "smooth_loss", "validation_nats_per_char"):
        noted = [(int(row["step"]), float(row[name])) for row in history if row[name]]
        assert [(point.step, point.value) for point in client.get_metric_history(run_id, f"curves/{name}")] == noted
    bits = client.get_metric_history(run_id, "curves/bits_per_char")
    assert bits[-1].value == pytest.approx(float(history[-1]["smooth_loss"]) / SEQ_LENGTH / 0.693147180559945)
    validation = client.get_metric_history(run_id, "curves/validation_bits_per_char")
    assert [point.step for point in validation] == [10_000, 20_000, 30_000]
    assert run.data.metrics["train/epochs"] == 3
    assert run.data.metrics["ngrams/5-gram/nats_per_char"] == 1.3
    assert run.data.metrics["synthesize/known_word_fraction"] == 0.875
    assert run.data.metrics["evaluate/carried/nats_per_char"] == 1.5
    assert run.data.metrics["evaluate/windows/nats_per_char"] == 1.6
    assert run.data.tags["charloom.train.stopped"] == "steps"

    assert set(_artifacts(client, run_id)) == {
        *(name for name in tracking.hash_result(inp).files if name not in ("prepare/ids.npy", "train/samples.jsonl")),
        "gradcheck/relative_errors.json",
        *(f"samples/step-{step:08d}.txt" for step in (1, 10_000, 20_000, 30_000)),
    }
    for name in ("train/model.npz", "plot/report.html", "synthesize/sample.txt"):
        assert Path(client.download_artifacts(run_id, name)).read_bytes() == (inp / name).read_bytes()
    sample = Path(client.download_artifacts(run_id, "samples/step-00010000.txt"))
    assert sample.read_bytes().decode() == "at 10000\nthe fôx\u2028quick"
    table = json.loads(Path(client.download_artifacts(run_id, "gradcheck/relative_errors.json")).read_text())
    shown = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    expected = _rows(inp / "gradcheck/errors.csv")
    assert len(shown) == len(expected) == 4 * len(TENSORS)
    for found, row in zip(shown, expected, strict=True):
        assert found.keys() == row.keys()
        assert (found["weights"], found["method"], found["tensor"]) == (row["weights"], row["method"], row["tensor"])
        assert float(found["max_relative_error"]) == pytest.approx(float(row["max_relative_error"]), rel=1e-3)
        assert found["entries"] == row["entries"]

    assert run.inputs is not None
    (dataset,) = run.inputs.dataset_inputs
    summary = json.loads((inp / "prepare/summary.json").read_text())
    assert dataset.dataset.name == "corpus.txt"
    assert summary["sha256"].startswith(dataset.dataset.digest)
    assert json.loads(dataset.dataset.source) == {"uri": "data/corpus.txt"}
    assert run.data.tags["charloom.corpus_sha256"] == summary["sha256"]
    assert run.data.tags["charloom.kernels"] == "portable"


def _plain(text: str) -> Any:
    with suppress(ValueError):
        return json.loads(text)
    return text


def _artifacts(client: "MlflowClient", run_id: str, folder: str | None = None) -> Iterator[str]:
    for entry in client.list_artifacts(run_id, folder):
        if entry.is_dir:
            yield from _artifacts(client, run_id, entry.path)
        else:
            yield entry.path


@pytest.mark.usefixtures("database")
def test_a_run_holds_what_the_files_say(workspace: Path, result: Path) -> None:
    config = make_config()
    recorded = record(config, result)
    assert recorded.new
    assert recorded.name == "rnn 100, adagrad 0.1, smooth loss 38.4"
    client = Project(workspace).mlflow_client()
    assert client.get_run(recorded.run_id).info.run_name == recorded.name
    _assert_holds(client, recorded.run_id, config, result)
    assert (workspace / "mlartifacts" / recorded.run_id / "artifacts/plot/loss.png").is_file()


@pytest.mark.parametrize(("chosen", "known"), [("portable", True), ("native", False)])
@pytest.mark.usefixtures("workspace")
def test_the_kernels_of_a_result_are_told_by_a_process_that_has_the_same(
    result: Path, monkeypatch: pytest.MonkeyPatch, chosen: str, known: bool
) -> None:
    monkeypatch.setattr(kernels, "chosen", lambda: chosen)
    payload = read_payload(result, tracking.hash_result(result))
    assert payload.tags["charloom.kernels"] == (f"portable: {kernels.loaded()}" if known else "portable")


@pytest.mark.usefixtures("database")
def test_a_result_recorded_twice_is_one_run(workspace: Path, result: Path) -> None:
    first = record(make_config(), result)
    again = record(make_config(), result)
    assert (again.run_id, again.name, again.new) == (first.run_id, first.name, False)
    assert len(Project(workspace).runs()) == 1


@contextmanager
def another_sends(journal: Path) -> Iterator[None]:
    """Something else sends the journal when the block begins, and half a second longer."""
    lock = FileLock(journal / "sent.lock", thread_local=False)
    lock.acquire()
    timer = threading.Timer(0.5, lock.release)
    timer.start()
    yield
    timer.join()


@pytest.mark.usefixtures("database")
def test_a_process_that_still_sends_the_journal_is_waited_for(workspace: Path, result: Path) -> None:
    live = Journal(result / "tracking")
    live.start(Target.of(make_config().tracking), "a run")
    with another_sends(live.folder):
        run_id = record(make_config(), result).run_id
    live.log(tags={"late": "yes"})
    with another_sends(live.folder):
        follower.sync(result)
    (run,) = Project(workspace).runs()
    assert (run.info.run_id, run.info.status, run.data.tags["late"]) == (run_id, "FINISHED", "yes")


def test_a_file_that_is_not_whole_is_a_state_error_and_leaves_no_run(workspace: Path, result: Path) -> None:
    (result / "gradcheck/errors.json").write_text('{"passed": true}')
    with pytest.raises(StateError, match=r"gradcheck/errors\.json is damaged \(step: Field required\); run the"):
        record(make_config(), result)
    assert not (workspace / "mlflow.db").exists()


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("status", ["RUNNING", "FAILED", "KILLED"])
def test_what_a_kill_left_half_way_is_replaced_by_one_finished_run(workspace: Path, result: Path, status: str) -> None:
    config = make_config()
    fingerprint = tracking.hash_result(result).result
    with store.opened(config.tracking, "") as opened:
        client, experiment_id = opened.client, opened.experiment_id
    zombie = client.create_run(experiment_id, tags={"charloom.result": fingerprint})
    if status != "RUNNING":
        client.set_terminated(zombie.info.run_id, status)
    recorded = record(config, result)
    (run,) = Project(workspace).runs(f"tags.`charloom.result` = '{fingerprint}'")
    assert run.info.run_id == recorded.run_id != zombie.info.run_id
    _assert_holds(client, recorded.run_id, config, result)


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(("raised", "status"), [(OSError("no space left"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_an_exception_half_way_leaves_no_open_run_and_a_retry_ends_in_one(
    workspace: Path, result: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException, status: str
) -> None:
    from mlflow import MlflowClient

    def fail(*_: object, **__: object) -> None:
        raise raised

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifact", fail)
        expected = EnvironmentFault if isinstance(raised, OSError) else KeyboardInterrupt
        with pytest.raises(expected):
            record(make_config(), result)
    assert [run.info.status for run in Project(workspace).runs()] == [status]
    recorded = record(make_config(), result)
    assert [run.info.run_id for run in Project(workspace).runs()] == [recorded.run_id]


def _record_in_process(start: Any, inp: str, rate: float) -> None:
    start.wait()
    record(make_config(learning_rate=rate), Path(inp))


def test_four_processes_can_record_into_a_database_that_is_not_there_yet(workspace: Path, result: Path) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(4)
    # Two of the four have the same result.
    rates = (0.1, 0.1, 0.2, 0.3)
    copies = [str(shutil.copytree(result, workspace / f"copy {number}")) for number in range(len(rates))]
    workers = [
        context.Process(target=_record_in_process, args=(start, *work)) for work in zip(copies, rates, strict=True)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    runs = Project(workspace).runs()
    assert sorted(run.data.params["optimizer.learning_rate"] for run in runs) == ["0.1", "0.2", "0.3"]
    assert {run.info.status for run in runs} == {"FINISHED"}


@pytest.mark.usefixtures("database")
def test_a_sweep_is_a_parent_with_its_runs_and_its_table(workspace: Path, result: Path) -> None:
    config, other = make_config(), make_config(learning_rate=0.05)
    alone = record(config, result)
    above = workspace / "a sweep/tracking"
    journal = Journal(above)
    journal.start(Target.named(config.tracking), "sweep a sweep")
    children = [record(each, result, parent=above) for each in (other, config)]
    assert all(child.new for child in children)  # the second is recorded elsewhere, and still belongs in this sweep
    assert children[1].run_id != alone.run_id
    assert not record(config, result, parent=above).new
    sent = Sent.read(above)
    assert sent is not None
    client = Project(workspace).mlflow_client()
    parent = str(sent.run_id)
    assert client.get_run(parent).info.status == "RUNNING"

    message = "a parameter is no longer finite at step 7; lower optimizer.learning_rate"
    failed = Journal(workspace / "a sweep/2/tracking")
    failed.start(Target.named(config.tracking), "rnn 100", parameters={"optimizer.learning_rate": "1e9"}, parent=above)
    failed.end("FAILED", message)
    rate = "optimizer.learning_rate"
    jobs = [
        sweeps.Job(0, (), "finished", {rate: 0.1}, {"nats_per_char": 1.5}),
        sweeps.Job(1, (), "finished", {rate: 0.05}, {"nats_per_char": 37.5e-12}),
        sweeps.Job(2, (), "failed", {rate: 1e9}, reason=message, exit_code=4),
        sweeps.Job(3, (), "finished", {rate: 1e8}, {"nats_per_char": float("nan")}),
    ]
    sweeps.note_summary(journal, summarize(jobs, Objective("nats_per_char")), workspace)
    journal.end("FAILED", "1 of 4 jobs failed")
    follower.sync(workspace / "a sweep")
    run = client.get_run(parent)
    assert run.info.status == "FAILED"
    assert run.data.metrics == {"best/nats_per_char": 37.5e-12, "best/seeds": 1, "best/lead": 1.5 - 37.5e-12}
    assert run.data.params == {rate: "0.1, 0.05, 1000000000.0, 100000000.0"}
    table = json.loads(Path(client.download_artifacts(parent, "sweep.json")).read_text())
    assert table["columns"] == ["job", "status", rate, "nats_per_char", "seconds", "error"]
    assert table["data"][1] == ["1", "finished", "0.05", "3.75e-11", "", ""]
    assert table["data"][2] == ["2", "failed", "1000000000.0", "", "", message]

    under = Project(workspace).runs(f"tags.mlflow.parentRunId = '{parent}'")
    (failure,) = (run for run in under if "charloom.error" in run.data.tags)
    assert {run.info.run_id for run in under} == {*(child.run_id for child in children), failure.info.run_id}
    assert failure.info.status == "FAILED"
    assert failure.data.tags["charloom.error"] == message
    assert failure.data.params["optimizer.learning_rate"] == "1e9"


def test_off_sends_nothing_but_still_writes_the_fingerprint(
    workspace: Path, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    config = make_config(TrackingConfig(mode="off", uri=None, experiment="charloom"))
    track.run(config, result, workspace / "track")
    written = json.loads((workspace / "track/result.json").read_text())
    whole = tracking.hash_result(result)
    assert written == {"result": whole.result, "files": whole.files}
    with tracking.live_run(config) as journal, tracking.live_sweep(config.tracking, workspace) as above:
        assert journal is None
        assert above is None
    sweeps.note_summary(None, summarize([], Objective("nats_per_char")), workspace)
    assert sorted(path.name for path in workspace.iterdir()) == ["artifacts", "conf", "params.yaml", "track"]


@pytest.mark.usefixtures("database")
def test_the_stage_writes_the_same_bytes_again(
    workspace: Path, result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    track.run(make_config(), result, workspace / "one")
    track.run(make_config(), result, workspace / "two")
    assert (workspace / "one/result.json").read_bytes() == (workspace / "two/result.json").read_bytes()
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("recorded as 'rnn 100, adagrad 0.1")
    assert second.startswith("already recorded as 'rnn 100, adagrad 0.1")


@pytest.mark.usefixtures("database")
def test_a_result_that_has_grown_before_it_was_sent_is_recorded_as_it_is_by_then(workspace: Path, result: Path) -> None:
    config = make_config()
    set_parameters(config, result)
    journal = Journal(result / "tracking")
    journal.start(Target.of(config.tracking), "a run", parameters=flatten(config.parameters()))
    journal.result(result, tracking.hash_result(result).result, artifacts.HISTORY.read(result))
    journal.end("FINISHED")
    artifacts.REPORT.write_bytes(result / "plot", b"<!doctype html><title>another report</title>")
    artifacts.seal("plot", result / "plot")
    grown = tracking.hash_result(result).result
    journal.result(result, grown, [])

    follower.sync(result)
    (run,) = Project(workspace).runs()
    assert (run.info.status, run.data.tags["charloom.result"]) == ("FINISHED", grown)


@pytest.mark.usefixtures("database")
def test_the_commit_is_a_tag_where_git_is_there(workspace: Path, result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(workspace.parent))
    project = Project(workspace)
    client_tags = project.mlflow_client().get_run(record(make_config(), result).run_id).data.tags
    assert not [name for name in client_tags if "git" in name]
    project.git("init", "--quiet")
    project.git("add", "params.yaml")
    project.git("commit", "--quiet", "-m", "first")
    clean = project.mlflow_client().get_run(record(make_config(learning_rate=0.2), result).run_id).data.tags
    assert clean["mlflow.source.git.commit"] == project.git("rev-parse", "HEAD")
    assert clean["charloom.git_dirty"] == "false"
    (workspace / "params.yaml").write_text("seed: 2\n")
    dirty = project.mlflow_client().get_run(record(make_config(learning_rate=0.3), result).run_id).data.tags
    assert dirty["charloom.git_dirty"] == "true"


def test_a_run_on_a_server_and_its_pages(
    workspace: Path, result: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Project(workspace).mlflow_pages("--port", str(port)) as pages:
        assert pages.stdout is not None
        assert pages.stdout.readline().startswith("There are no runs yet")
        address = f"http://127.0.0.1:{port}"
        view = f"{address}/#/experiments/1/runs?workflowType=machine_learning"
        assert pages.stdout.readline().startswith(f"MLflow: {view}")

        config = make_config(TrackingConfig(mode="server", uri=address, experiment="charloom"))
        recorded = record(config, result)
        _assert_holds(MlflowClient(address), recorded.run_id, config, result)
        assert not record(config, result).new
        # The pages are those of the project's own database.
        assert [run.info.run_id for run in Project(workspace).runs()] == [recorded.run_id]
        with closing(urllib.request.urlopen(address)) as page:
            assert b"<title>MLflow" in page.read()

        with pytest.raises(EnvironmentFault, match=f"port {port} is unavailable"):
            ui.serve(make_config().tracking, port=port)
    assert pages.returncode == 143
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=2):
        pass
