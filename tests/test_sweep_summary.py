"""The summary of a sweep, from its folder alone: of what its jobs recorded, whatever became of them."""

import csv
import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charloom import sweep as command
from charloom.adapters.configuration import flatten, load
from charloom.adapters.files import artifacts
from charloom.adapters.sweeps.reading import read_history, read_jobs
from charloom.adapters.sweeps.records import LOG, JobRecord
from charloom.adapters.sweeps.summary import Summary
from charloom.adapters.sweeps.writing import write_summary
from charloom.adapters.tracking import Journal
from charloom.core.common.errors import CharloomError, ConfigError
from charloom.core.common.records import HistoryRow
from tests.results import EVALUATION, make_config
from tests.swept import ROWS, SEQ_LENGTH, add_job

RATE = "optimizer.learning_rate"

Run = Callable[..., str]


@pytest.fixture
def run(workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in a project, in this process, and what it prints."""

    def with_arguments(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["sweep", *arguments])
        command.main()
        return capsys.readouterr().out

    return with_arguments


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def statuses(sweep: Path) -> list[str]:
    return [job.status for job in read_jobs(sweep)]


def test_the_columns_are_the_recorded_parameters_that_differ_even_where_a_group_set_them(tmp_path: Path) -> None:
    for number, (name, rate) in enumerate((("adagrad", 0.1), ("adam", 0.001))):
        values = {"optimizer.name": name, RATE: rate}
        add_job(tmp_path, number, values, 2.0, overrides=(f"optimizer={name}", "preset=smoke"))
    summary = write_summary(tmp_path)
    assert summary.keys == ["optimizer.name", RATE]
    first, second = rows(tmp_path / "summary.csv")
    assert (first["optimizer.name"], first[RATE], second[RATE]) == ("adagrad", "0.1", "0.001")
    assert "optimizer" not in first
    assert summary.best_command() == "python -m charloom.experiment optimizer=adagrad preset=smoke"


def test_the_figures_are_those_of_the_jobs_files_and_all_are_there(tmp_path: Path) -> None:
    folder = add_job(tmp_path, 0, {RATE: 0.1}, 1.75)
    write_summary(tmp_path)
    (row,) = rows(tmp_path / "sweep.csv")
    metrics, windows = artifacts.METRICS.read(folder), EVALUATION.windows
    assert windows is not None
    assert float(row["validation_nats_per_char"]) == 1.75
    assert float(row["best_validation_nats_per_char"]) == 1.75
    assert float(row["nats_per_char"]) == metrics.nats_per_char
    assert float(row["windows_nats_per_char"]) == windows.nats_per_char
    assert (row["status"], row["seconds"], row["error"]) == ("finished", "12.5", "")


def test_a_sweep_says_itself_what_it_is_compared_by_unless_the_command_does(tmp_path: Path, run: Run) -> None:
    add_job(tmp_path, 0, {RATE: 0.1}, 1.75)
    (tmp_path / "sweep.json").write_text(json.dumps({"objective": "windows_bits_per_char"}), encoding="utf-8")
    assert write_summary(tmp_path).objective.name == "windows_bits_per_char"
    assert "nats per character, validation text" in run(str(tmp_path), "sweep.objective=validation_nats_per_char")


def test_a_job_that_was_refused_has_the_values_that_it_was_given(tmp_path: Path) -> None:
    add_job(tmp_path, 0, {"synthesize.temperature": 1.0}, 2.0)
    refused = JobRecord(1, ("synthesize.temperature=-1", "model=gru"), "failed", 0.0, 1.0, 2, "must be >= 0, got -1")
    (tmp_path / "1").mkdir()
    refused.write(tmp_path / "1")
    summary = write_summary(tmp_path)
    assert summary.keys == ["synthesize.temperature"]
    assert rows(tmp_path / "sweep.csv")[1]["synthesize.temperature"] == "-1"
    assert rows(tmp_path / "sweep.csv")[1]["error"] == "must be >= 0, got -1"


def test_what_hydra_composed_is_what_is_known_of_a_job_that_has_just_started(tmp_path: Path) -> None:
    folder = tmp_path / "0"
    (folder / ".hydra").mkdir(parents=True)
    text = "seed: 3\nmodel:\n  cell: gru\n  register: null\nsweep:\n  plot: none\nhydra: {}\n"
    (folder / ".hydra/config.yaml").write_text(text, encoding="utf-8")
    JobRecord(0, ("seed=3", "model=gru"), "failed", 0.0).write(folder)
    (job,) = read_jobs(tmp_path)
    assert job.parameters == {"seed": 3, "model.cell": "gru"}


def test_a_job_runs_as_long_as_a_process_holds_its_log_and_was_interrupted_otherwise(tmp_path: Path) -> None:
    folder = add_job(tmp_path, 0, {RATE: 0.1}, None, status="running")
    with (folder / LOG).open("wb") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        assert statuses(tmp_path) == ["running"]
    assert statuses(tmp_path) == ["interrupted"]
    assert read_jobs(tmp_path)[0].reason == "its sweep was killed"


def test_a_job_whose_files_are_damaged_counts_as_failed_and_the_others_are_summed_up(tmp_path: Path) -> None:
    add_job(tmp_path, 0, {RATE: 0.1}, 2.0)
    folder = add_job(tmp_path, 1, {RATE: 0.2}, 1.0)
    with artifacts.METRICS.path(folder / "train").open("ab") as file:
        file.write(b" ")
    lost = add_job(tmp_path, 2, {RATE: 0.3}, 1.0)
    artifacts.RESULT.path(lost / "track").unlink()
    assert statuses(tmp_path) == ["finished", "failed", "failed"]
    assert "is damaged" in read_jobs(tmp_path)[1].reason
    assert [job.number for job in write_summary(tmp_path).ranked[0].jobs] == [0]


def test_the_curve_of_a_pruned_job_is_what_its_journal_has(tmp_path: Path) -> None:
    folder = add_job(tmp_path, 0, {RATE: 0.1}, None, status="pruned")
    journal = Journal(folder / "tracking")
    journal.row(HistoryRow(100, 0, 70.0, 75.0, None))
    journal.row(HistoryRow(200, 0, 60.0, 70.0, 2.5))
    journal.end("KILLED", "pruned at step 200")
    (job,) = read_jobs(tmp_path)
    points = [(point.step, point.training, point.validation) for point in read_history(tmp_path, job)]
    assert points == [(100, 75.0 / SEQ_LENGTH, None), (200, 70.0 / SEQ_LENGTH, 2.5)]


def test_the_curve_of_a_finished_job_is_its_history(tmp_path: Path) -> None:
    folder = add_job(tmp_path, 0, {RATE: 0.1}, 2.0)
    (job,) = read_jobs(tmp_path)
    found, history = read_history(tmp_path, job), artifacts.HISTORY.read(folder)
    assert len(found) == ROWS
    assert [point.training for point in found] == [row.smooth_loss / SEQ_LENGTH for row in history]
    assert [point.validation for point in found] == [row.validation_nats_per_char for row in history]


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("name", ["nothing", "artifacts"])
def test_a_folder_that_is_no_sweep_is_refused(workspace: Path, name: str) -> None:
    (workspace / "artifacts").mkdir()
    with pytest.raises(ConfigError, match=f"{name} must be the folder of a sweep.*, got one without jobs"):
        write_summary(Path(name))


def test_an_unknown_objective_is_refused_with_what_there_is(tmp_path: Path, run: Run) -> None:
    add_job(tmp_path, 0, {RATE: 0.1}, 2.0)
    for wrong in ("sweep.objective=perplexity", "sweep.plot=none", "validation_nats_per_char"):
        with pytest.raises(
            ConfigError, match=r"must be one of validation_nats_per_char, best_vali.* bits_per_char, got"
        ):
            run(str(tmp_path), wrong)


def make_sweep(sweep: Path) -> Summary:
    """Two configurations with two seeds each, the second better, with all that YAML may mistake."""
    for number, (rate, seed) in enumerate([(0.1, 1), (0.1, 2), (1e-05, 1), (1e-05, 2)]):
        values: dict[str, Any] = {
            RATE: rate,
            "seed": seed,
            "optimizer.clip_value": None,
            "synthesize.prime": "no: # 007",
        }
        add_job(sweep, number, values, 2.0 - 0.1 * (rate < 0.1) + 0.01 * seed)
    return write_summary(sweep)


def test_the_best_configuration_becomes_a_preset_that_gives_its_parameters(workspace: Path, run: Run) -> None:
    sweep = workspace / "multirun/a"
    best = make_sweep(sweep).best
    assert best is not None
    printed = run("multirun/a", "--preset", "tiny-rate")
    assert "preset=tiny-rate is in" in printed
    composed = flatten(load(["preset=tiny-rate"]).parameters())
    assert {key: composed[key] for key in best.parameters} == best.parameters
    assert composed["seed"] == make_config().seed
    text = (workspace / "conf/preset/tiny-rate.yaml").read_text(encoding="utf-8")
    assert "learning_rate: 1.0e-05" in text  # as every dialect of YAML reads a number
    assert "seed" not in text.replace("seeds", "")
    assert text.count("\n") == 7


def test_a_preset_is_not_replaced_unless_that_is_asked_for(workspace: Path, run: Run) -> None:
    make_sweep(workspace / "multirun/a")
    before = (workspace / "conf/preset/smoke.yaml").read_bytes()
    with pytest.raises(ConfigError, match=r"smoke.yaml is there; .* --force to replace it"):
        run("multirun/a", "--preset", "smoke")
    assert (workspace / "conf/preset/smoke.yaml").read_bytes() == before
    run("multirun/a", "--preset", "smoke", "--force")
    assert load(["preset=smoke"]).optimizer.learning_rate == 1e-05


@pytest.mark.parametrize("name", ["../smoke", "a/b", "", ".hidden", "a b", "x" * 65])
def test_a_name_that_is_none_of_a_preset_is_refused(workspace: Path, run: Run, name: str) -> None:
    make_sweep(workspace / "multirun/a")
    before = sorted(workspace.rglob("*.yaml"))
    with pytest.raises(ConfigError, match="a preset's name must have letters"):
        run("multirun/a", "--preset", name)
    assert sorted(workspace.rglob("*.yaml")) == before


def test_values_that_a_preset_cannot_hold_leave_none(workspace: Path, run: Run) -> None:
    sweep = workspace / "multirun/a"
    add_job(sweep, 0, {"synthesize.prime": "${inp}"}, 2.0)
    with pytest.raises(ConfigError, match="a value must be written out"):
        run("multirun/a", "--preset", "odd")
    assert not (workspace / "conf/preset/odd.yaml").exists()
    assert load(["preset=smoke"]).train.steps == 300


def test_a_sweep_without_a_finished_job_has_no_preset(workspace: Path, run: Run) -> None:
    add_job(workspace / "multirun/a", 0, {RATE: 0.1}, None, status="failed", message="no")
    assert "1 configuration, 1 job: 1 failed" in run("multirun/a")
    with pytest.raises(CharloomError, match="a preset takes a job that has finished, got none"):
        run("multirun/a", "--preset", "any")


def test_the_best_as_overrides_gives_its_parameters(workspace: Path) -> None:
    summary = make_sweep(workspace / "multirun/a")
    assert summary.best is not None
    composed = flatten(load(summary.best_overrides()).parameters())
    assert {key: composed[key] for key in summary.best.parameters} == summary.best.parameters
    assert not [override for override in summary.best_overrides() if override.startswith("seed=")]
