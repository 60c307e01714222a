"""The pipeline through the real DVC, in copies of the project with small values: what runs, what not, what is kept."""

import ast
import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

from tests.project import ROOT, TIMEOUT
from tests.repository import SMALL, Repository, stages_run
from tests.results import CHROMIUM, browser_page

STAGES = ["prepare", "baseline", "gradcheck", "train", "synthesize", "evaluate", "plot", "track"]
LONG = 20_000  # steps, of which some are left whenever a training is interrupted at its first checkpoints
GATES = {"train": {"artifacts/gradcheck/errors.json"}}  # not read: no training before the check has passed
PICTURES = ("loss", "gradcheck", "step_sweep", "samples", "gradient_flow", "dynamics", "quality")

# Python imports this at its start where it is found, as it is in `src` by DVC's stages: it notes what a stage reads.
# The process that sends a training's run to MLflow may be at it while later stages run, and reads what they found.
NOTE_READS = """
import os, sys

if "DVC_STAGE" in os.environ and "charloom.tracking" not in sys.orig_argv:
    def note(event, arguments, log=os.open("reads.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)):
        if event == "open" and isinstance(arguments[0], str) and str(arguments[1]).startswith("r"):
            os.write(log, f"{os.environ['DVC_STAGE']}\\t{os.path.relpath(arguments[0])}\\n".encode())

    sys.addaudithook(note)
"""


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, list[str]]:
    """A project in which `dvc repro` ran once, its dvc.lock committed, and the stages that ran. Copied, not changed."""
    project = Repository.small(tmp_path_factory.mktemp("reproduced"))
    (project.root / "src/sitecustomize.py").write_text(NOTE_READS, encoding="utf-8")
    with (project.root / ".gitignore").open("a") as file:
        file.write("reads.log\n")
    project.commit()
    ran = project.repro()
    project.commit()
    return project, ran


@pytest.fixture
def project(reproduced: tuple[Repository, list[str]], tmp_path: Path) -> Repository:
    """A copy of the reproduced project, for one test."""
    before, _ = reproduced
    return before.copy_to(tmp_path / "project")


def test_repro_runs_every_stage_and_records_the_result_as_one_mlflow_run(
    reproduced: tuple[Repository, list[str]],
) -> None:
    project, ran = reproduced
    assert ran == STAGES
    (run,) = project.runs()
    assert run.info.status == "FINISHED"
    assert run.data.tags["charloom.result"] == project.json("artifacts/track/result.json")["result"]
    assert run.data.params["model.hidden_size"] == "8"
    assert run.data.metrics["train/smooth_loss"] == project.json("artifacts/train/metrics.json")["smooth_loss"]


def test_a_second_repro_runs_nothing(project: Repository) -> None:
    before = project.text("dvc.lock")
    assert project.repro() == []
    assert project.text("dvc.lock") == before
    assert len(project.runs()) == 1
    assert "up to date" in project.dvc("status").stdout


def test_a_forced_repro_runs_everything_and_changes_neither_dvc_lock_nor_the_runs(project: Repository) -> None:
    before = project.text("dvc.lock")
    (run,) = project.runs()
    assert project.repro("--force") == STAGES
    assert project.text("dvc.lock") == before
    assert [again.info.run_id for again in project.runs()] == [run.info.run_id]
    assert "up to date" in project.dvc("status").stdout
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_another_temperature_runs_synthesize_and_what_follows_and_records_the_new_result(project: Repository) -> None:
    project.set(temperature="0.5")
    assert project.repro() == ["synthesize", "plot", "track"]
    results = {run.data.tags["charloom.result"]: run.data.params for run in project.runs()}
    assert len(results) == 2
    assert results[project.json("artifacts/track/result.json")["result"]]["synthesize.temperature"] == "0.5"


def test_another_learning_rate_runs_neither_prepare_nor_gradcheck(project: Repository) -> None:
    before = project.json("artifacts/train/metrics.json")["smooth_loss"]
    project.set(learning_rate="0.05")
    assert project.repro("train") == ["train"]
    assert project.json("artifacts/train/metrics.json")["smooth_loss"] != before


def test_another_figure_runs_plot_and_track_alone(project: Repository) -> None:
    (module,) = (
        path for path in project.root.glob("src/charloom/adapters/plots/*.py") if "\nDPI = " in path.read_text()
    )
    module.write_text(re.sub(r"(?m)^DPI = \d+", "DPI = 50", module.read_text(encoding="utf-8")), encoding="utf-8")
    assert project.repro() == ["plot", "track"]


def test_a_remark_in_a_cell_runs_the_stages_that_use_it_and_no_more_where_their_results_are_the_same(
    project: Repository,
) -> None:
    remark(project, "core/cells")
    assert project.repro() == ["gradcheck", "train", "synthesize", "evaluate", "plot"]


def remark(project: Repository, name: str) -> None:
    """Add a comment to a module, or to each module in a folder."""
    path = project.root / "src/charloom" / name
    for module in path.rglob("*.py") if path.is_dir() else [path]:
        module.write_text(module.read_text(encoding="utf-8") + "# A remark.\n", encoding="utf-8")


def test_a_wrong_gradient_fails_the_repro_before_training(project: Repository) -> None:
    project.change("src/charloom/core/cells/rnn.py", "multiply(dh, t.da, t.da)", "multiply(dh, 1.0001 * t.da, t.da)")
    failed = project.dvc("repro", code=255)
    assert stages_run(failed.stdout) == ["gradcheck"]
    assert "charloom: error: the gradient is wrong: " in failed.stderr
    assert "exited with 6" in failed.stderr


@pytest.fixture
def training(project: Repository) -> Iterator[Callable[[int], subprocess.Popen[str]]]:
    """Starts `dvc repro train` of a long training and returns when it has that many checkpoints more than it had."""
    started: list[subprocess.Popen[str]] = []

    def newest() -> str:
        return max((path.name for path in project.checkpoints()), default="")

    def start(checkpoints: int) -> subprocess.Popen[str]:
        process = project.start("-m", "dvc", "repro", "train", start_new_session=True)
        started.append(process)
        seen = newest()
        for _ in range(checkpoints):
            while newest() == seen:
                assert process.poll() is None, process.communicate()
                time.sleep(0.01)
            seen = newest()
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="a stage ends with a killed DVC on Linux alone")
def test_a_training_that_was_interrupted_is_not_taken_as_finished_and_ends_like_one_that_was_not(
    project: Repository, training: Callable[[int], subprocess.Popen[str]]
) -> None:
    project.set(steps=str(LONG), checkpoint_every="500")
    before = project.text("dvc.lock")

    def assert_unfinished() -> None:
        assert project.text("dvc.lock") == before
        assert not (project.root / "artifacts/train/model.npz").exists()
        assert "train" in json.loads(project.dvc("status", "--json").stdout)

    process = training(1)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: to DVC and to its stage
    process.communicate()
    assert process.returncode != 0
    assert_unfinished()

    process = training(1)
    (stage,) = stage_processes(process)
    os.kill(stage, signal.SIGTERM)
    _, said = process.communicate()
    assert "charloom: error: ended by SIGTERM" in said
    assert "exited with 143" in said
    assert process.returncode == 255
    assert_unfinished()

    process = training(1)
    (stage,) = stage_processes(process)
    process.kill()
    process.communicate()  # the stage, which holds the other end of the pipe, ends as well
    assert_unfinished()

    finished = project.dvc("repro", "train")
    assert stages_run(finished.stdout) == ["train"]
    assert "going on from step" in finished.stderr
    resumed = project.text("dvc.lock")
    assert project.json("artifacts/train/metrics.json")["steps"] == LONG

    whole = project.dvc("repro", "--force", "--single-item", "train")
    assert stages_run(whole.stdout) == ["train"]
    assert "going on from step" not in whole.stderr
    assert project.text("dvc.lock") == resumed


def stage_processes(process: subprocess.Popen[str]) -> list[int]:
    """The processes that a process started, by their ids."""
    children = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(child) for path in children for child in path.read_text().split()]


def test_the_metrics_are_the_headline_and_none_is_rounded_to_nothing(project: Repository) -> None:
    shown = json.loads(project.dvc("metrics", "show", "--json").stdout)[""]["data"]
    headline = project.json("artifacts/plot/metrics.json")
    assert shown == {"metrics.json": {"data": headline}}
    assert headline["smooth_loss"] == project.json("artifacts/train/metrics.json")["smooth_loss"]
    errors = project.json("artifacts/gradcheck/errors.json")
    checks = (errors["complex_step"], errors["large_weights"]["complex_step"])
    largest = max(found["max_scaled_error"] for tensors in checks for found in tensors.values())
    assert 10 ** -headline["gradient_digits"] == pytest.approx(largest)
    assert all(round(value, 5) for value in headline.values())  # as DVC shows them


def test_the_metrics_of_a_commit_are_known_without_dvcs_cache(project: Repository) -> None:
    shutil.rmtree(project.root / ".dvc/cache")
    before = project.json("metrics.json")
    project.change("metrics.json", f'"steps": {SMALL["steps"]}', '"steps": 150')
    changed = json.loads(project.dvc("metrics", "diff", "--json").stdout)
    assert changed == {"metrics.json": {"steps": {"old": before["steps"], "new": 150, "diff": 150 - before["steps"]}}}


def test_plots_show_writes_a_page_of_pictures_and_curves_that_takes_nothing_from_the_network(
    project: Repository,
) -> None:
    project.dvc("plots", "show")
    page = project.text("dvc_plots/index.html")
    references = re.findall(r"""<[^>]*(?:src|href)\s*=\s*["']?([^"'\s>]+)""", page)
    shown = {(project.root / "dvc_plots" / reference).read_bytes() for reference in references}
    assert shown == {(project.root / f"artifacts/plot/{name}.png").read_bytes() for name in PICTURES}
    assert project.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
def test_plots_diff_lays_the_curves_of_two_experiments_over_each_other(project: Repository, tmp_path: Path) -> None:
    rows = {}
    for name, rate in (("slow", "0.05"), ("fast", "0.2")):
        project.dvc("exp", "run", "--name", name, "--set-param", f"optimizer.learning_rate={rate}", "train")
        rows[name] = list(csv.DictReader(project.text("artifacts/train/history.csv").splitlines()))
    project.dvc("plots", "diff", "slow", "fast")

    asked: list[str] = []
    with browser_page(tmp_path / "profile") as page:
        page.on("request", lambda request: asked.append(request.url))
        page.goto((project.root / "dvc_plots/index.html").as_uri())
        training, validation = page.locator("figure").all()
        assert "nats per window" in training.inner_text()
        assert "nats per character" in validation.inner_text()
        curves = [curve.get_attribute("points") or "" for curve in training.locator("polyline").all()]
        assert [len(curve.split()) for curve in curves] == [len(rows[name]) for name in rows for _ in range(2)]
        assert len(set(curves)) == 4
        values = training.locator("li").all_inner_texts()
        assert values == [
            f"{name}: {column} {float(rows[name][-1][column]):#.5g} at {rows[name][-1]['step']}"
            for name in rows
            for column in ("loss", "smooth_loss")
        ]
        last = {name: float(rows[name][-1]["validation_nats_per_char"]) for name in rows}
        assert validation.locator("li").all_inner_texts() == [
            f"{name} {loss:#.5g} at {SMALL['steps']}" for name, loss in last.items()
        ]
    assert all(address.startswith("file://") for address in asked)


def test_an_experiment_of_dvc_changes_one_value_in_params_yaml_and_is_recorded(project: Repository) -> None:
    before = project.text("params.yaml")
    expected = yaml.safe_load(before)
    expected["train"]["steps"] = 150
    ran = project.dvc("exp", "run", "--name", "shorter", "--set-param", "train.steps=150")
    assert stages_run(ran.stdout) == ["train", "synthesize", "evaluate", "plot", "track"]
    after = project.text("params.yaml")
    assert yaml.safe_load(after) == expected
    assert re.findall("#.*", after) == re.findall("#.*", before)
    assert project.dvc("exp", "list", "--name-only").stdout.split() == ["shorter"]
    results = {run.data.tags["charloom.result"]: run.data.params for run in project.runs()}
    assert len(results) == 2
    assert results[project.json("artifacts/track/result.json")["result"]]["train.steps"] == "150"


# The slowest test here: DVC makes a copy of the project for each experiment, and starts workers to run them.
def test_queued_experiments_run_in_copies_and_their_runs_are_in_the_projects_own_database(project: Repository) -> None:
    project.dvc("exp", "run", "--queue", "--set-param", "optimizer.learning_rate=0.05,0.2")
    project.dvc("queue", "start", "--jobs", "2")
    give_up = time.monotonic() + 2 * TIMEOUT
    while not re.search(r"Success.*Success.*0 active, 0 idle", status := project.dvc("queue", "status").stdout, re.S):
        assert "Failed" not in status
        assert time.monotonic() < give_up, status
        time.sleep(1)
    rates = sorted(run.data.params["optimizer.learning_rate"] for run in project.runs())
    assert rates == ["0.05", "0.1", "0.2"]
    assert {run.info.status for run in project.runs()} == {"FINISHED"}
    assert project.run("git", "status", "--porcelain").stdout == ""  # nor is params.yaml another

    (options,) = re.findall(r"dvc (exp show .*) \$\(ARGS\)", project.text("Makefile"))  # of `make compare`
    options = options.replace("--md", "--csv").replace("$$", "$")
    table = csv.DictReader(project.dvc(*shlex.split(options)).stdout.splitlines())
    shown = {row["optimizer.learning_rate"]: row for row in table if row["rev"]}
    assert shown.keys() == {*rates}
    others = {*shown["0.2"]} - {*project.json("metrics.json")}
    assert others == {"Experiment", "rev", "typ", "optimizer.learning_rate"}
    losses = {float(row["validation_nats_per_char"]) for row in shown.values()}
    assert len(losses) == 3


def definition(root: Path = ROOT) -> dict[str, Any]:
    stages: dict[str, Any] = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return stages


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def test_the_stages_parameters_together_are_all_that_is_in_params_yaml() -> None:
    named = {key for stage in definition().values() for key in stage["params"]}
    every = set(leaves(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))))
    assert {leaf for leaf in every if not any(f"{leaf}.".startswith(f"{key}.") for key in named)} == set()
    assert {key for key in named if not any(f"{leaf}.".startswith(f"{key}.") for leaf in every)} == set()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_folders_that_it_reads(reproduced: tuple[Repository, list[str]], stage: str) -> None:
    project, _ = reproduced
    listed = {name for name in definition(project.root)[stage]["deps"] if not name.startswith("src/")}
    if "${data.path}" in listed:
        listed = listed - {"${data.path}"} | {SMALL["path"]}
    reads = {line.split("\t")[1] for line in project.text("reads.log").splitlines() if line.split("\t")[0] == stage}
    found = {name for name in reads if name.startswith("data/")}
    found |= {os.path.dirname(name) for name in reads if name.startswith("artifacts/")} - {f"artifacts/{stage}"}
    assert found | GATES.get(stage, set()) == listed


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("charloom", exclude_type_checking_imports=True, cache_dir=None)


def imported(imports: grimp.ImportGraph, module: str) -> set[str]:
    """The module, those that it imports, at once or within a function, and the packages that these are in; and on."""
    found: set[str] = set()
    waiting = {module}
    while waiting:
        found.add(module := waiting.pop())
        package = module.rpartition(".")[0]
        waiting |= (imports.find_modules_directly_imported_by(module) | {package} - {""}) - found
    return found


def unit(module: str) -> str:
    """The file or folder that stands for a module in dvc.yaml: a part of a level is one, whatever is in it."""
    path = ROOT.joinpath("src", *module.split(".")[:3])
    path = path if path.is_dir() else path.with_suffix(".py")
    depth = module.count(".")
    return (path if depth > 1 or path.is_file() else path / "__init__.py").relative_to(ROOT).as_posix()


def is_docstring(path: Path) -> bool:
    """Is a module's docstring all that it holds."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return len(tree.body) == 1 and ast.get_docstring(tree) is not None


def needed(imports: grimp.ImportGraph, stage: str) -> set[str]:
    """The files and folders of the package that a stage's result may depend on."""
    units = {unit(module) for module in imported(imports, f"charloom.stages.{stage}")}
    return {name for name in units if not (name.endswith("__init__.py") and is_docstring(ROOT / name))}


def assert_depends_on_what_it_imports(deps: list[str], needed: set[str]) -> None:
    listed = [name for name in deps if name.startswith("src/")]
    assert listed == sorted(listed)
    assert set(listed) == needed, {"missing": needed - set(listed), "superfluous": set(listed) - needed}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_packages_that_it_imports_and_on_no_others(
    imports: grimp.ImportGraph, stage: str
) -> None:
    assert_depends_on_what_it_imports(definition()[stage]["deps"], needed(imports, stage))


def test_a_package_that_is_missing_among_the_dependencies_or_superfluous_is_named(imports: grimp.ImportGraph) -> None:
    deps, expected = definition()["gradcheck"]["deps"], needed(imports, "gradcheck")
    with pytest.raises(AssertionError, match=r"'missing': {'src/charloom/core/cells'}"):
        assert_depends_on_what_it_imports([name for name in deps if name != "src/charloom/core/cells"], expected)
    with pytest.raises(AssertionError, match=r"'superfluous': {'src/charloom/core/training'}"):
        assert_depends_on_what_it_imports(sorted([*deps, "src/charloom/core/training"]), expected)


def test_a_package_counts_with_what_its_init_imports(imports: grimp.ImportGraph) -> None:
    imports.add_import(importer="charloom.core.common", imported="charloom.core.training.schedules")
    assert "src/charloom/core/training" in needed(imports, "plot")
    imports.remove_import(importer="charloom.core.common", imported="charloom.core.training.schedules")
    assert "src/charloom/core/training" not in needed(imports, "plot")


def test_the_init_files_that_no_stage_depends_on_hold_a_docstring_and_nothing_else() -> None:
    for name in ("adapters", "core", "stages"):
        assert is_docstring(ROOT / "src/charloom" / name / "__init__.py"), name
    assert not is_docstring(ROOT / "src/charloom/__init__.py")


EDITS = {
    "core/text": {"prepare", "baseline", "gradcheck", "train", "synthesize", "evaluate", "plot"},
    "core/cells": {"gradcheck", "train", "synthesize", "evaluate", "plot"},
    "core/gradcheck": {"gradcheck"},
    "core/training": {"train"},
    "adapters/plots": {"plot"},
    "adapters/report": {"plot"},
    "adapters/tracking": {"train", "track"},
    "experiment.py fetch.py adapters/fetch.py adapters/sharing.py adapters/sweeps": set(),
    "tracking.py adapters/ui.py": set(),
}

# Prints the stages that DVC would run, for every line of names on stdin: files and folders to which a remark is added.
STATUS_AFTER_EDITS = """
import json, sys
from pathlib import Path

from dvc.repo import Repo

for line in sys.stdin:
    paths = [path for name in line.split() for path in sorted(Path(name).rglob("*.py")) or [Path(name)]]
    before = {path: path.read_bytes() for path in paths}
    for path in paths:
        path.write_bytes(before[path] + b"# A remark.\\n")
    with Repo() as repo:
        print(json.dumps(list(repo.status())))
    for path in paths:
        path.write_bytes(before[path])
"""


def test_an_edit_concerns_the_stages_that_import_what_was_edited(project: Repository) -> None:
    lines = "".join(" ".join(f"src/charloom/{name}" for name in edited.split()) + "\n" for edited in EDITS)
    ended = subprocess.run(
        [sys.executable, project.script("status_after_edits.py", STATUS_AFTER_EDITS)],
        input=lines,
        cwd=project.root,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    concerned = [set(json.loads(line)) for line in ended.stdout.splitlines()]
    assert dict(zip(EDITS, concerned, strict=True)) == EDITS
