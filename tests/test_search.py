"""Searches with Optuna: their spaces, the study, and the jobs that come of it."""

import json
import signal
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from optuna.trial import TrialState

from charloom.adapters.configuration import load, multirun
from charloom.adapters.configuration.search import Choice, Interval, Search, read_search
from charloom.adapters.sweeps.records import JobRecord, read_record
from charloom.adapters.sweeps.study import Study
from charloom.adapters.sweeps.trials import Trials
from charloom.core.common.errors import ConfigError, EnvironmentFault, StateError
from tests.project import ROOT, Ended, Project

OPTIONS: dict[str, Any] = {
    "n_trials": None,
    "sampler": "tpe",
    "pruner": "median",
    "seed": 1,
    "startup_trials": 3,
    "params": {},
}
SMALL = ("preset=smoke", "model.hidden_size=8", "gradcheck.hidden_size=4", "gradcheck.mode=fast", "sweep.plot=none")
QUICK = (*SMALL, "tracking=off", "synthesize.quality_length=0", "train.inspect_every=0")


@pytest.fixture(scope="module")
def hydra() -> Iterator[None]:
    """Hydra with the project's conf/, as it is when a search is read."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield


def space(*overrides: str, **options: Any) -> Search:
    return read_search(OPTIONS | options, overrides)


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize(
    ("override", "dimension"),
    [
        ("model.cell=rnn,gru", Choice("model.cell", ("rnn", "gru"))),
        ("model=glob(*, exclude=l*)", Choice("model", ("gru", "rnn"))),
        ("synthesize.prime='a, b',c", Choice("synthesize.prime", ("'a, b'", "c"))),
        ("model.hidden_size=range(16, 65, 16)", Interval("model.hidden_size", 16, 64, 16.0, whole=True)),
        ("model.hidden_size=range(64, 0, -16)", Interval("model.hidden_size", 16, 64, 16.0, whole=True)),
        ("optimizer.momentum=range(0.1, 0.5, 0.1)", Interval("optimizer.momentum", 0.1, 0.4, 0.1)),
        ("optimizer.momentum=interval(0, 0.9)", Interval("optimizer.momentum", 0.0, 0.9)),
        ("optimizer.epsilon=tag(log, interval(1e-8, 1))", Interval("optimizer.epsilon", 1e-8, 1.0, log=True)),
        ("model.hidden_size=interval(8, 64)", Interval("model.hidden_size", 8.0, 64.0, 1.0, whole=True)),
        ("optimizer.weight_decay=int(interval(0, 3))", Interval("optimizer.weight_decay", 0, 3, 1.0, whole=True)),
    ],
)  # fmt: skip
def test_a_space_is_written_in_hydras_grammar(override: str, dimension: Choice | Interval) -> None:
    assert space(override).space == [dimension]


@pytest.mark.usefixtures("hydra")
def test_a_trial_has_a_job_for_each_seed_and_the_overrides_in_the_order_in_which_they_were_given() -> None:
    search = space("seed=range(1,3)", "model.cell=rnn,gru", "train.steps=60", "search=network")
    assert search.overrides({"model.cell": "gru"}) == [
        ("model.cell=gru", "train.steps=60", "seed=1"),
        ("model.cell=gru", "train.steps=60", "seed=2"),
    ]


@pytest.mark.usefixtures("hydra")
def test_a_grid_has_the_points_that_hydras_own_sweeper_would_run_in_the_same_order() -> None:
    search = space("model.cell=rnn,gru", "optimizer.momentum=range(0.1,0.35,0.1)", sampler="grid")
    points = [tuple(point.values()) for point in search.points()]
    assert points == [(cell, momentum) for cell in ("rnn", "gru") for momentum in ("0.1", "0.2", "0.3")]
    assert search.n_trials == 6


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize(
    ("override", "options", "message"),
    [
        ("model.hidden_size=interval(0,5)", {}, r"model.hidden_size must be >= 1, got 'interval\(0,5\)'"),
        ("model.hidden_size=interval(5,1)", {}, "from a lower to a higher number"),
        ("model.cell=interval(1,2)", {}, r"model.cell takes no numbers, got 'interval\(1,2\)'; try choice"),
        ("optimizer.learning_rate=tag(log,interval(0,1))", {}, "above 0 and no steps on a logarithmic scale"),
        ("optimizer.learning_rate=tag(nice,interval(0.1,1))", {}, "no tags but log and int, got 'nice'"),
        ("model=glob(x*)", {}, "model must have values to choose from, got none that match"),
        ("train.steps=range(1,1000000000)", {}, "a range of at most 100,000 values"),
        ("seed=range(1,1000000000)", {}, "seed must have at most 1,000 values"),
        ("seed=interval(1,5)", {}, "seed must be a list in a search"),
        ("seed=1,2", {}, "a search must have a key with several values, got none"),
        ("search=network,windows", {}, "search must be one space"),
        (
            "optimizer.learning_rate=interval(0.1,1)",
            {"sampler": "grid"},
            "must have a list of values or a range in a grid",
        ),
        ("model.cell=rnn,gru", {"pruner": "best"}, "one of median, halving, hyperband, none, got 'best'"),
        ("model.cell=rnn,gru", {"n_trials": 0}, "hydra.sweeper.n_trials must be a whole number from 1"),
        ("model.cell=rnn,gru", {"n_jobs": 2}, "there is no key hydra.sweeper.n_jobs; there are n_trials,"),
        ("model.cell=rnn,gru", {"params": {"hydra.verbose": "1,2"}}, "hydra.verbose is no key of a search"),
    ],
)
def test_a_search_that_cannot_be_is_refused(override: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        space(override, **options)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.hiden_size=range(1,5)", "there is no key 'model.hiden_size'; did you mean 'model.hidden_size'"),
        ("hydra.sweeper.params={model.hiden_size: 'range(1,5)'}", "there is no key 'model.hiden_size'"),
        ("search=nothing", "search must be one of learning-rate, network, optimizer, windows, got 'nothing'"),
        ("model=range(1,1000000000)", "model must be one of gru, lstm, rnn, got '1'"),
        ("model.hidden_size=interval(5,1)", "from a lower to a higher number"),
    ],
)
def test_a_search_with_a_wrong_key_or_space_is_refused_before_anything_runs(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        load(["hydra/sweeper=optuna", override], multirun=True)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("overrides", "is_multirun", "message"),
    [
        (["search=network"], False, "search=network must go with a search, got none; add -m hydra/sweeper=optuna"),
        (["search=network"], True, "search=network must go with a search"),
        (["model.hidden_size=interval(8,64)"], True, "model.hidden_size must have an interval in a search alone"),
    ],
)
def test_a_space_without_a_search_is_refused(overrides: list[str], is_multirun: bool, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(overrides, multirun=is_multirun)


@pytest.mark.parametrize("name", [path.stem for path in sorted((ROOT / "conf/search").glob("*.yaml"))])
def test_the_ready_spaces_are_spaces(name: str) -> None:
    load(["hydra/sweeper=optuna", f"search={name}"], multirun=True)


def test_a_search_without_optuna_says_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multirun, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match=r"run: python -m pip install 'charloom\[search\]'"):
        load(["hydra/sweeper=optuna", "model.cell=rnn,gru"], multirun=True)


def study(folder: Path, **options: Any) -> Study:
    """The study of a search in one number, of trainings that validate every 10 of 100 updates."""
    folder.mkdir(exist_ok=True)
    return Study(folder, numbers(**options), validate_every=10, steps=100)


def numbers(**options: Any) -> Search:
    values: dict[str, Any] = {"n_trials": 6, "sampler": "tpe", "pruner": "median", "seed": 1, "startup_trials": 3}
    return Search({"x": None}, [Interval("x", 0.001, 1.0, log=True)], [], **values | options)


def search(folder: Path, *, trials: int = 6, **options: Any) -> list[tuple[int, str, int | None]]:
    """The first trials of the study in a folder: place, value, and the step at which it was pruned.

    A trial's curve falls to its value; the best value is 0.1.
    """
    asked, done = study(folder, **options), list[tuple[int, str, int | None]]()
    for trial in asked.trials():
        if len(done) == trials:
            break
        loss = abs(float(trial.values["x"]) - 0.1)
        pruned = asked.judge(trial, [(step, loss + 1 / step) for step in range(10, 100, 10)])
        if pruned is None:
            asked.complete(trial, loss)
        done.append((trial.place, trial.values["x"], pruned))
    return done


def test_the_same_search_asks_the_same_also_where_it_was_killed(tmp_path: Path) -> None:
    whole = search(tmp_path / "whole")
    parts = search(tmp_path / "parts", trials=4) + search(tmp_path / "parts")
    assert [place for place, _, _ in whole] == list(range(6))
    assert whole == parts
    assert any(pruned for _, _, pruned in whole)


def test_another_seed_asks_something_else(tmp_path: Path) -> None:
    assert search(tmp_path / "1", trials=1) != search(tmp_path / "2", trials=1, seed=2)


@pytest.mark.parametrize("pruner", ["halving", "hyperband"])
def test_halving_and_hyperband_prune_at_their_rungs(tmp_path: Path, pruner: str) -> None:
    rungs = {"halving": {10, 20, 40, 80}, "hyperband": {10, 30, 90}}[pruner]
    steps = {pruned for _, _, pruned in search(tmp_path, pruner=pruner) if pruned}
    assert steps
    assert steps <= rungs


def test_a_folder_with_another_search_is_refused(tmp_path: Path) -> None:
    search(tmp_path, trials=1)
    with pytest.raises(ConfigError, match="must have the space and the seeds that it has in"):
        Study(tmp_path, space_of_one_cell(), validate_every=10, steps=100)


def space_of_one_cell() -> Search:
    return Search({"model.cell": None}, [Choice("model.cell", ("rnn", "gru"))], [], 2, "tpe", "none", 1, 3)


def test_a_study_that_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"no database" * 1000)
    with pytest.raises(
        StateError, match=r"study\.db must be a study that can be read and written, got .*not a database"
    ):
        Trials(tmp_path, space_of_one_cell(), "validation_nats_per_char", validate_every=10, steps=100)


def test_a_job_whose_trial_was_pruned_before_the_search_was_killed_is_recorded_as_pruned(tmp_path: Path) -> None:
    place = next(place for place, _, pruned in search(tmp_path) if pruned)
    JobRecord(place, ("x=1",), "running", 1.0).write(tmp_path / str(place))
    again = Trials(tmp_path, numbers(), "validation_nats_per_char", validate_every=10, steps=100)
    assert read_record(tmp_path / str(place)).status == "pruned"
    assert list(again.tasks()) == []


# A grid whose first point ends by its loss, whose second has no text and whose third learns nothing, for ever.
GRID = (
    *QUICK, "hydra/sweeper=optuna", "hydra.sweeper.sampler=grid", "hydra.sweeper.startup_trials=1",
    "hydra.sweeper.n_trials=3", "optimizer.learning_rate=0.1,1e-9", "data.path=data/corpus.txt,data/other.txt",
    "seed=1,2", "train.steps=1000000", "train.smoothing=0.9", "train.stop_at_smooth_loss=80", "train.validate_every=5",
    "train.checkpoint_every=1000",
)  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.create(tmp_path_factory.mktemp("project") / "a project")


@pytest.fixture(scope="module")
def grid(project: Project) -> Ended:
    """A search of three trials with two seeds each, in the folder `grid`: one finished, one failed, one pruned."""
    return project.python("-m", "charloom.experiment", "-m", *GRID, "out=grid")


def records(project: Project, folder: str) -> dict[int, dict[str, Any]]:
    found = (json.loads(path.read_text(encoding="utf-8")) for path in (project.root / folder).glob("*/job.json"))
    return {record["number"]: record for record in found}


def trials(project: Project, folder: str) -> list[optuna.trial.FrozenTrial]:
    """What Optuna itself has of the search in a folder."""
    loaded = optuna.load_study(study_name="charloom", storage=f"sqlite:///{project.root / folder / 'study.db'}")
    return loaded.trials


def objective(project: Project, folder: str) -> float:
    metrics = json.loads((project.root / folder / "train/metrics.json").read_text(encoding="utf-8"))
    return float(metrics["validation_nats_per_char"])


def test_a_trial_is_the_mean_of_its_seeds_one_that_fails_is_failed_and_one_that_is_pruned_has_its_step(
    project: Project, grid: Ended
) -> None:
    finished, failed, pruned = trials(project, "grid")
    assert finished.state == TrialState.COMPLETE
    assert finished.value == pytest.approx(statistics.mean(objective(project, f"grid/{number}") for number in (0, 1)))
    assert failed.state == TrialState.FAIL
    assert "data/other.txt" in failed.user_attrs["error"]
    assert pruned.state == TrialState.PRUNED
    assert pruned.last_step == 5


def test_a_trial_that_failed_or_was_pruned_has_no_jobs_for_its_other_seeds(project: Project, grid: Ended) -> None:
    statuses = {number: (record["status"], record["message"]) for number, record in records(project, "grid").items()}
    assert statuses.pop(2)[0] == "failed"
    assert statuses == {0: ("finished", ""), 1: ("finished", ""), 4: ("pruned", "pruned at step 5")}
    assert grid.code == 3  # that of the failed job; a pruned one is no failure
    assert "1 of 4 jobs failed" in grid.errors


def test_a_search_that_is_taken_up_again_tries_what_failed_again_and_nothing_else(
    project: Project, grid: Ended
) -> None:
    before = records(project, "grid")
    other = (project.root / "data/corpus.txt").read_text(encoding="utf-8")[:5_000]
    (project.root / "data/other.txt").write_text(other, encoding="utf-8")
    ended = project.python("-m", "charloom.experiment", "-m", *GRID, "sweep.resume=grid")
    assert ended.code == 0, ended.errors
    after = records(project, "grid")
    assert [record["status"] for _, record in sorted(after.items())] == ["finished"] * 4 + ["pruned"]
    assert {number: after[number] for number in (0, 1, 4)} == {number: before[number] for number in (0, 1, 4)}
    again = trials(project, "grid")[3]
    assert again.state == TrialState.COMPLETE
    assert again.params == trials(project, "grid")[1].params


def test_a_search_that_was_killed_goes_on_with_the_trial_that_was_running(project: Project) -> None:
    command = (*QUICK, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "optimizer.learning_rate=interval(0.05,0.1)")
    process = project.start("-m", "charloom.experiment", "-m", *command, "train.steps=400", "out=killed")
    while records(project, "killed").get(1, {}).get("status") != "running":
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    first, second = trials(project, "killed")
    ended = project.python("-m", "charloom.experiment", "-m", *command, "train.steps=400", "sweep.resume=killed")
    assert ended.code == 0, ended.errors
    assert trials(project, "killed")[0] == first
    assert [trial.state for trial in trials(project, "killed")] == [TrialState.COMPLETE] * 2
    assert trials(project, "killed")[1].params == second.params
    assert set(records(project, "killed")) == {0, 1}
