"""Experiments and sweeps through the real Hydra, on a small text, and their runs as MLflow has them."""

import csv
import json
import re
import signal
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.project import Ended, Project, checkpoint_step, wait_for

if TYPE_CHECKING:
    from mlflow.entities import Run

SMALL = (
    *("preset=smoke", "model.hidden_size=8", "train.steps=60", "gradcheck.hidden_size=4", "gradcheck.workers=1"),
    "sweep.plot=none",
)


@dataclass(frozen=True)
class SweepProject(Project):
    """A project in which experiments and sweeps run."""

    def start_experiment(self, *overrides: str) -> subprocess.Popen[str]:
        return self.start("-m", "charloom.experiment", *overrides)

    def experiment(self, *overrides: str, **options: Any) -> Ended:
        return self.python("-m", "charloom.experiment", *overrides, **options)

    def names(self) -> set[str]:
        """The paths of all files in the project, relative to it."""
        return {path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()}

    def long_trainings(self) -> set[Path]:
        """The work folders of trainings that are beyond their hundredth step."""
        return {path.parent for path in self.checkpoints() if checkpoint_step(path) >= 100}

    def output_folder(self, kind: str, pid: int) -> Path:
        """The one folder of an experiment or of a sweep, by the process that made it."""
        (folder,) = self.root.glob(f"{kind}/*/*-{pid}")
        return folder

    def sweep_runs(self, folder: Path) -> "tuple[Run, list[Run]]":
        """MLflow's run of a sweep, and the runs below it."""
        (parent,) = self.runs(f"tags.mlflow.runName = 'sweep {folder.name}'")
        return parent, self.runs(f"tags.mlflow.parentRunId = '{parent.info.run_id}'")

    def table(self, run: "Run", name: str = "sweep.json") -> list[dict[str, str]]:
        """A table that a sweep's run has."""
        (path,) = self.root.glob(f"mlartifacts/**/{run.info.run_id}/artifacts/{name}")
        table = json.loads(path.read_text(encoding="utf-8"))
        return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> SweepProject:
    """One project for all tests here, each of which looks at its own runs: making a database takes seconds."""
    return SweepProject.create(tmp_path_factory.mktemp("project") / "a project")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def metrics(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "train/metrics.json").read_text(encoding="utf-8"))
    return values


def result(folder: Path) -> str:
    return str(json.loads((folder / "track/result.json").read_text(encoding="utf-8"))["result"])


JOBS = [("0.05", "8"), ("0.05", "12"), ("0.1", "8"), ("0.1", "12")]


@pytest.fixture(scope="module")
def four(project: SweepProject) -> Path:
    """The folder of a sweep of four jobs, which ran without errors."""
    rest = [override for override in SMALL if not override.startswith("model.")]
    ended = project.experiment("-m", "optimizer.learning_rate=0.05,0.1", "model.hidden_size=8,12", *rest)
    assert ended.code == 0, ended.errors
    return project.output_folder("multirun", ended.pid)


def test_a_sweep_of_four_jobs_is_five_runs_in_mlflow(project: SweepProject, four: Path) -> None:
    parent, children = project.sweep_runs(four)
    assert [run.info.status for run in (parent, *children)] == ["FINISHED"] * 5
    assert parent.data.tags["charloom.sweep"] == "true"
    chosen = {(run.data.params["optimizer.learning_rate"], run.data.params["model.hidden_size"]) for run in children}
    assert chosen == set(JOBS)


def test_each_run_of_a_sweep_has_the_result_the_parameters_and_the_figures_of_its_job(
    project: SweepProject, four: Path
) -> None:
    _, children = project.sweep_runs(four)
    by_result = {run.data.tags["charloom.result"]: run.data for run in children}
    assert set(by_result) == {result(four / str(number)) for number in range(4)}
    for number, (learning_rate, hidden_size) in enumerate(JOBS):
        data = by_result[result(four / str(number))]
        assert data.params["optimizer.learning_rate"] == learning_rate
        assert data.params["model.hidden_size"] == hidden_size
        assert data.params["train.steps"] == "60"
        figures = {key: value for key, value in metrics(four / str(number)).items() if isinstance(value, int | float)}
        assert {key: data.metrics[f"train/{key}"] for key in figures} == figures
        assert data.metrics["curves/smooth_loss"] == figures["smooth_loss"]


def test_the_runs_of_a_sweep_have_the_loss_at_each_step_of_the_history(project: SweepProject, four: Path) -> None:
    _, children = project.sweep_runs(four)
    (run,) = (run for run in children if run.data.tags["charloom.result"] == result(four / "3"))
    client = project.mlflow_client()
    points = [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "curves/smooth_loss")]
    with (four / "3/train/history.csv").open(encoding="ascii", newline="") as file:
        history = [(int(row["step"]), float(row["smooth_loss"])) for row in csv.DictReader(file)]
    assert points == history
    assert [step for step, _ in points] == [1, 10, 20, 30, 40, 50, 60]


def test_the_summary_of_a_sweep_has_the_figures_of_each_job(project: SweepProject, four: Path) -> None:
    summary = rows(four)
    assert [row["job"] for row in summary] == ["0", "1", "2", "3"]
    for number, (row, (learning_rate, hidden_size)) in enumerate(zip(summary, JOBS, strict=True)):
        assert (row["optimizer.learning_rate"], row["model.hidden_size"]) == (learning_rate, hidden_size)
        figures = metrics(four / str(number))
        for name in ("validation_nats_per_char", "nats_per_char"):
            assert float(row[name]) == figures[name]
        assert row["error"] == ""
    parent, _ = project.sweep_runs(four)
    assert project.table(parent) == summary


def test_the_best_job_of_a_sweep_is_named_in_mlflow(project: SweepProject, four: Path) -> None:
    parent, _ = project.sweep_runs(four)
    losses = [metrics(four / str(number))["validation_nats_per_char"] for number in range(4)]
    best = losses.index(min(losses))
    assert parent.data.metrics["best/validation_nats_per_char"] == losses[best]
    learning_rate, hidden_size = JOBS[best]
    note = parent.data.tags["mlflow.note.content"]
    assert f"best: model.hidden_size={hidden_size} optimizer.learning_rate={learning_rate}, {losses[best]:.4f}" in note
    assert (parent.data.params["optimizer.learning_rate"], parent.data.params["model.hidden_size"]) == (
        "0.05, 0.1",
        "8, 12",
    )


def test_a_sweep_over_seeds_has_their_mean_and_standard_deviation_everywhere(project: SweepProject) -> None:
    ended = project.experiment("-m", *SMALL[:-1], "seed=21,22")
    assert ended.code == 0, ended.errors
    folder = project.output_folder("multirun", ended.pid)
    losses = [metrics(folder / str(number))["validation_nats_per_char"] for number in range(2)]
    mean, sd = statistics.mean(losses), statistics.stdev(losses)
    assert f"{mean:.4f} ± {sd:.4f}" in ended.errors
    with (folder / "summary.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["jobs"], row["seeds"], row["failed"]) == ("0 1", "2", "0")
    assert "seed" not in row
    assert float(row["validation_nats_per_char"]) == pytest.approx(mean)
    assert float(row["validation_nats_per_char_sd"]) == pytest.approx(sd)
    parent, _ = project.sweep_runs(folder)
    assert parent.data.metrics["best/validation_nats_per_char"] == pytest.approx(mean)
    assert parent.data.metrics["best/validation_nats_per_char_sd"] == pytest.approx(sd)
    assert parent.data.metrics["best/seeds"] == 2
    assert project.table(parent, "summary.json") == [row]

    # The best job alone has figures and pages, and they are in its run.
    best = losses.index(min(losses))
    assert (folder / str(best) / "plot/report.html").is_file()
    assert not (folder / str(1 - best) / "plot").exists()
    runs = {run.data.tags["charloom.result"]: run.info.run_id for run in project.sweep_runs(folder)[1]}
    assert runs.keys() == {result(folder / "0"), result(folder / "1")}
    reports = list(project.root.glob("mlartifacts/**/plot/report.html"))
    assert any(runs[result(folder / str(best))] in path.parts for path in reports)


@pytest.fixture(scope="module")
def failing(project: SweepProject) -> tuple[Ended, Path]:
    """A sweep of three jobs: the second cannot read its text, and the third repeats the first."""
    ended = project.experiment("-m", *SMALL, "data.path=data/corpus.txt,data/none.txt,data/corpus.txt")
    return ended, project.output_folder("multirun", ended.pid)


def test_a_sweep_with_a_failed_job_ends_with_its_exit_code_and_one_line(failing: tuple[Ended, Path]) -> None:
    ended, _ = failing
    assert ended.code == 3
    last = ended.errors.strip().splitlines()[-1]
    assert re.match(
        r"charloom: error: 1 of 3 jobs failed, the first: job 1 \(.*data\.path=data/none\.txt\): .*none\.txt", last
    )
    assert "Traceback" not in ended.errors


def test_the_other_jobs_of_a_sweep_with_a_failed_one_are_there(failing: tuple[Ended, Path]) -> None:
    _, folder = failing
    first, second, third = rows(folder)
    assert float(first["nats_per_char"]) == metrics(folder / "0")["nats_per_char"]
    assert (first["error"], third["error"]) == ("", "")
    assert second["nats_per_char"] == ""
    assert "data/none.txt" in second["error"]


def test_a_failed_job_is_a_failed_run_below_the_failed_run_of_its_sweep(
    project: SweepProject, failing: tuple[Ended, Path]
) -> None:
    parent, children = project.sweep_runs(failing[1])
    assert parent.info.status == "FAILED"
    (failed,) = (run for run in children if run.info.status != "FINISHED")
    assert failed.info.status == "FAILED"
    assert failed.data.tags["charloom.error"] == rows(failing[1])[1]["error"]
    assert failed.data.params["data.path"] == "data/none.txt"


def test_a_job_that_is_repeated_in_a_sweep_is_one_run_in_mlflow(
    project: SweepProject, failing: tuple[Ended, Path]
) -> None:
    _, folder = failing
    assert result(folder / "0") == result(folder / "2")
    _, children = project.sweep_runs(folder)
    finished = [run.data.tags["charloom.result"] for run in children if run.info.status == "FINISHED"]
    assert finished == [result(folder / "0")]


def test_a_sweep_of_which_no_job_could_run_is_refused_before_the_first(project: SweepProject) -> None:
    before = project.names()
    ended = project.experiment("-m", *SMALL, "optimizer.learning_rate=0.05,0.1", "train.steps=0")
    assert ended.code == 2
    assert ended.errors.splitlines() == ["charloom: error: train.steps must be >= 1, got 0"]
    assert project.names() == before


def test_a_sweep_with_a_misspelt_key_is_refused_before_the_first_job(project: SweepProject) -> None:
    before = project.names()
    ended = project.experiment("-m", *SMALL, "optimizer.learningrate=0.05,0.1")
    assert ended.code == 2
    assert ended.errors.count("\n") == 1
    assert "optimizer.learning_rate" in ended.errors
    assert project.names() == before


def test_a_job_with_a_value_out_of_its_range_fails_and_the_others_run(project: SweepProject) -> None:
    ended = project.experiment("-m", *SMALL, "synthesize.temperature=-1,1")
    assert ended.code == 2
    first, second = rows(project.output_folder("multirun", ended.pid))
    assert first["error"].startswith("synthesize.temperature must be >= 0, got -1")
    assert float(second["nats_per_char"]) > 0
    parent, children = project.sweep_runs(project.output_folder("multirun", ended.pid))
    assert parent.info.status == "FAILED"
    refused, finished = sorted(children, key=lambda run: run.info.status)
    assert (refused.info.status, finished.info.status) == ("FAILED", "FINISHED")
    assert refused.data.tags["charloom.error"] == first["error"]
    assert refused.data.tags["charloom.log"] == f"charloom: error: {first['error']}"
    assert refused.data.params["synthesize.temperature"] == "-1"


def test_an_experiment_writes_under_outputs_alone_and_its_repetition_is_the_same_run(project: SweepProject) -> None:
    def new_runs() -> "list[Run]":
        return [run for run in project.runs() if run.data.params.get("seed") == "7"]

    before = project.names()
    first = project.experiment(*SMALL, "seed=7")
    assert first.code == 0, first.errors
    folder = project.output_folder("outputs", first.pid)
    new = {
        name for name in project.names() - before if not name.startswith(("mlartifacts/", "mlflow.db", ".charloom/"))
    }
    assert {name for name in new if not (project.root / name).is_relative_to(folder)} == set()
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {
        ".hydra", "prepare", "baseline", "gradcheck", "train", "synthesize", "evaluate", "plot", "track", "tracking",
    }  # fmt: skip
    (run,) = new_runs()
    assert run.data.tags["charloom.result"] == result(folder)
    assert "mlflow.parentRunId" not in run.data.tags

    again = project.experiment(*SMALL, "seed=7")
    assert again.code == 0, again.errors
    assert result(project.output_folder("outputs", again.pid)) == result(folder)
    assert [found.info.run_id for found in new_runs()] == [run.info.run_id]


def test_an_experiment_without_tracking_makes_no_database(tmp_path: Path) -> None:
    project = SweepProject.create(tmp_path / "project")
    ended = project.experiment(*SMALL, "tracking=off")
    assert ended.code == 0, ended.errors
    assert "the result is not recorded" in ended.output
    assert {path.name for path in project.root.iterdir()} == {"params.yaml", "conf", "data", "outputs", ".charloom"}


def test_an_experiment_records_where_mlflow_tracking_uri_says(
    project: SweepProject, four: Path, tmp_path: Path
) -> None:
    elsewhere = SweepProject.create(tmp_path / "project")
    uri = f"sqlite:///{project.root / 'mlflow.db'}"  # a database that is there already: making one takes seconds
    ended = elsewhere.experiment(*SMALL, "seed=8", variables={"MLFLOW_TRACKING_URI": uri})
    assert ended.code == 0, ended.errors
    (run,) = (run for run in project.runs() if run.data.params.get("seed") == "8")
    assert run.data.tags["charloom.result"] == result(elsewhere.output_folder("outputs", ended.pid))
    assert not (elsewhere.root / "mlflow.db").exists()


def test_a_failed_experiment_ends_in_one_line(project: SweepProject) -> None:
    ended = project.experiment(*SMALL, "seed=18", "data.path=data/none.txt")
    assert ended.code == 3
    message = ended.assert_one_error(3, "data/none.txt").removeprefix("charloom: error: ")
    (run,) = project.runs("params.seed = '18'")
    assert (run.info.status, run.data.tags["charloom.error"]) == ("FAILED", message)


def test_a_sweep_that_is_terminated_keeps_what_is_done_and_leaves_no_run_open(project: SweepProject) -> None:
    before = project.long_trainings()
    process = project.start_experiment("-m", *SMALL, "seed=9", "train.steps=60,100000")
    wait_for(lambda: project.long_trainings() - before, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert errors.strip().splitlines()[-1] == "charloom: error: ended by SIGTERM"
    folder = project.output_folder("multirun", process.pid)
    done, broken = rows(folder)
    assert float(done["nats_per_char"]) == metrics(folder / "0")["nats_per_char"]
    assert broken["error"] == "the sweep was interrupted"
    project.python("-m", "charloom.tracking", "sync", str(folder))  # what was not sent in the seconds of leaving
    parent, children = project.sweep_runs(folder)
    finished, killed = sorted(children, key=lambda run: run.info.status)
    assert (parent.info.status, killed.info.status) == ("KILLED", "KILLED")
    assert (finished.info.status, finished.data.tags["charloom.result"]) == ("FINISHED", result(folder / "0"))


@pytest.fixture
def workers() -> tuple[str, str]:
    """Overrides that run a sweep's jobs in two processes."""
    return ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


def test_a_sweep_in_several_processes_is_recorded_like_one_in_one_process(
    project: SweepProject, workers: tuple[str, str]
) -> None:
    ended = project.experiment("-m", *workers, *SMALL, "seed=10,11", "data.path=data/corpus.txt,data/none.txt")
    assert ended.code == 3
    last = ended.errors.strip().splitlines()[-1]
    assert "2 of 4 jobs failed, the first: job 1 (" in last
    folder = project.output_folder("multirun", ended.pid)
    assert [row["error"] == "" for row in rows(folder)] == [True, False, True, False]
    parent, children = project.sweep_runs(folder)
    assert parent.info.status == "FAILED"
    assert sorted(run.info.status for run in children) == ["FAILED", "FAILED", "FINISHED", "FINISHED"]
    finished = {run.data.tags.get("charloom.result") for run in children if run.info.status == "FINISHED"}
    assert finished == {result(folder / "0"), result(folder / "2")}


def test_the_processes_of_a_sweep_that_is_terminated_end_with_it(
    project: SweepProject, workers: tuple[str, str]
) -> None:
    before = project.long_trainings()
    process = project.start_experiment("-m", *workers, *SMALL, "seed=12,13", "train.steps=100000", "tracking=off")
    wait_for(lambda: len(project.long_trainings() - before) == 2, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)  # returns when every process that can write to the pipes has ended
    assert process.returncode == 128 + signal.SIGTERM
    summary = rows(project.output_folder("multirun", process.pid))
    assert [row["error"] for row in summary] == ["the sweep was interrupted"] * 2


def test_the_runs_of_a_sweep_that_was_killed_are_ended_as_killed(project: SweepProject) -> None:
    before = project.long_trainings()
    process = project.start_experiment("-m", *SMALL, "seed=14", "train.steps=100000,200000")
    wait_for(lambda: project.long_trainings() - before, process)
    process.kill()
    process.communicate()  # returns when the process that sends the runs to MLflow has ended, too
    parent, (child,) = project.sweep_runs(project.output_folder("multirun", process.pid))
    assert (parent.info.status, child.info.status) == ("KILLED", "KILLED")
    assert project.runs("attributes.status = 'RUNNING'") == []
