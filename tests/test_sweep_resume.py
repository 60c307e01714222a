"""A sweep that is taken up again, and what its jobs share, on a small text without MLflow."""

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from charloom.adapters.command import process_pool
from tests.project import Ended, Project

SMALL = (
    *("preset=smoke", "model.hidden_size=8", "train.steps=60", "gradcheck.hidden_size=4", "gradcheck.workers=1"),
    *("baseline.order=1", "synthesize.quality_length=0", "sweep.plot=none", "tracking=off"),
)
LATE = ("seed=1,2", "data.path=data/corpus.txt,data/late.txt")  # the second text is not there at first
TWO_AT_A_TIME = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


def sweep(project: Project, *overrides: str) -> Ended:
    return project.python("-m", "charloom.experiment", "-m", *SMALL, *overrides)


def record(folder: Path, number: int) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / str(number) / "job.json").read_text(encoding="utf-8"))
    return values


def log(folder: Path, number: int) -> str:
    return (folder / str(number) / "job.log").read_text(encoding="utf-8")


def same_file(folder: Path, name: str, *numbers: int) -> bool:
    """Whether a file of several jobs is one and the same on disk."""
    return len({(folder / str(number) / name).stat().st_ino for number in numbers}) == 1


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Path, Ended, Ended]:
    """A sweep of which two jobs lacked their text: its folder, and how it ended then and when it was taken up again."""
    project = Project.create(tmp_path_factory.mktemp("late") / "a project")
    first = sweep(project, *LATE, *TWO_AT_A_TIME)
    (folder,) = project.root.glob("multirun/*/*")
    shutil.copytree(folder, project.root / "before")
    text = project.corpus.read_text(encoding="utf-8")
    (project.root / "data/late.txt").write_text(text[:3000], encoding="utf-8")
    return project, folder, first, sweep(project, *LATE, "sweep.resume=latest")


def test_a_job_that_failed_is_recorded_with_its_message_and_the_end_of_its_log(
    late: tuple[Project, Path, Ended, Ended],
) -> None:
    project, _, first, _ = late
    failed = record(project.root / "before", 1)
    assert (failed["status"], failed["exit_code"]) == ("failed", 3)
    assert "there is no file data/late.txt" in failed["message"]
    assert failed["log"].endswith(f"charloom: error: {failed['message']}")
    (row,) = (line for line in first.errors.splitlines() if line.startswith("    1     3  "))
    assert row == f"    1     3  seed=1 data.path=data/late.txt: {failed['message']}"


def test_the_terminal_has_a_line_for_each_job_that_ended(late: tuple[Project, Path, Ended, Ended]) -> None:
    *_, first, second = late
    header, *lines = first.errors.splitlines()[:5]
    assert header.split() == ["job", "status", "nats/char", "seconds", "overrides"]
    told = {line.split()[0]: line.split()[1:3] for line in lines}
    assert {number: status for number, (status, _) in told.items()} == {
        "0": "finished", "1": "failed", "2": "finished", "3": "failed",
    }  # fmt: skip
    assert told["1"][1] == "-"
    assert float(told["0"][1]) > 0
    assert "2 of 4 jobs have their results already" in second.errors


def test_a_sweep_that_is_taken_up_again_runs_only_what_has_no_result(late: tuple[Project, Path, Ended, Ended]) -> None:
    project, folder, _, second = late
    assert second.code == 0, second.errors
    for number in (0, 2):
        assert record(folder, number) == record(project.root / "before", number)
        assert log(folder, number) == log(project.root / "before", number)
    assert [record(folder, number)["status"] for number in range(4)] == ["finished"] * 4
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"0", "1", "2", "3", "shared"}


def test_jobs_share_what_they_have_in_common_and_nothing_else(late: tuple[Project, Path, Ended, Ended]) -> None:
    _, folder, _, _ = late
    for stage in ("prepare", "baseline", "gradcheck"):
        for numbers in ((0, 2), (1, 3)):  # of one text each
            assert same_file(folder, f"{stage}/SHA256SUMS", *numbers), f"{stage} of {numbers}"
        assert not same_file(folder, f"{stage}/SHA256SUMS", 0, 1), stage
    assert not same_file(folder, "train/SHA256SUMS", 0, 2)
    assert "gradcheck: as another job of this sweep found it" in log(folder, 0) + log(folder, 2)


def test_another_sweep_in_the_same_folder_is_refused_with_what_differs(
    late: tuple[Project, Path, Ended, Ended],
) -> None:
    project, folder, _, _ = late
    before = (folder / "sweep.json").read_bytes()
    where = str(folder.relative_to(project.root))
    for place in ("sweep.resume=latest", f"sweep.resume={where}", f"out={where}"):
        ended = sweep(project, "seed=1,3", LATE[1], "train.log_every=7", place)
        ended.assert_one_error(
            2, f"{where} has a sweep of other values", "seed=1,2 before, seed=1,3 now",
            "no train.log_every before, train.log_every=7 now", "sweep.extend=true",
        )  # fmt: skip
    assert (folder / "sweep.json").read_bytes() == before


def test_a_sweep_whose_files_have_other_values_by_now_is_refused(late: tuple[Project, Path, Ended, Ended]) -> None:
    project, folder, _, _ = late
    for path, change, code in (
        (project.root / "params.yaml", ("clip_value: 5.0", "clip_value: 4.0"), 2),
        (project.root / "data/late.txt", ("e", "E"), 3),
    ):
        content = path.read_text(encoding="utf-8")
        path.write_text(content.replace(*change), encoding="utf-8")
        ended = sweep(project, *LATE, "sweep.resume=latest")
        path.write_text(content, encoding="utf-8")
        ended.assert_one_error(code, path.name, str(folder.relative_to(project.root)), "start a new sweep")


@pytest.mark.parametrize("resume", ["latest", "data"])
def test_a_folder_that_is_no_sweep_is_refused(project: Project, resume: str) -> None:
    ended = sweep(project, "seed=1,2", f"sweep.resume={resume}")
    ended.assert_one_error(2, "sweep.resume")
    assert {path.name for path in project.root.iterdir()} == {"params.yaml", "conf", "data"}


def test_a_sweep_is_extended_where_that_is_asked_for(late: tuple[Project, Path, Ended, Ended], tmp_path: Path) -> None:
    _, folder, _, _ = late
    project = late[0].copy_to(tmp_path / "a project")
    copy = project.root / folder.relative_to(late[0].root)
    ended = sweep(project, "seed=3,1", LATE[1], "sweep.resume=latest", "sweep.extend=true")
    assert ended.code == 0, ended.errors
    jobs = [record(copy, number)["overrides"] for number in range(6)]
    assert ["seed=1" in job for job in jobs] == [True, True, False, False, False, False]
    assert ["seed=3" in job for job in jobs] == [False, False, False, False, True, True]
    assert [record(copy, number) for number in range(4)] == [record(folder, number) for number in range(4)]
    assert all((copy / f"{number}/track/result.json").is_file() for number in (4, 5))


def test_of_jobs_with_the_same_training_one_trains_and_the_other_takes_the_result(project: Project) -> None:
    ended = sweep(project, "synthesize.temperature=0.5,0.5,1", "train.steps=600", *TWO_AT_A_TIME)
    assert ended.code == 0, ended.errors
    (folder,) = project.root.glob("multirun/*/*")
    assert same_file(folder, "train/model.npz", 0, 1, 2)
    assert [log(folder, number).count("\nstep 600: smooth loss") for number in range(3)].count(1) == 1
    assert (folder / "0/synthesize/sample.txt").read_bytes() == (folder / "1/synthesize/sample.txt").read_bytes()


def test_a_sweep_that_was_ended_says_how_it_is_taken_up_and_no_other_process_runs_it_meanwhile(
    project: Project,
) -> None:
    process = project.start("-m", "charloom.experiment", "-m", *SMALL, "train.steps=1000000,2000000", *TWO_AT_A_TIME)
    while len(project.checkpoints()) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    (folder,) = (path.relative_to(project.root) for path in project.root.glob("multirun/*/*"))
    same = ("train.steps=1000000,2000000", f"sweep.resume={folder}")
    sweep(project, *same).assert_one_error(5, f"another process runs the sweep in {folder}")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert f"python -m charloom.experiment -m {' '.join(SMALL)} train.steps=1000000,2000000 " in errors
    assert f"sweep.resume={folder}" in errors
    assert [record(project.root / folder, number)["status"] for number in range(2)] == ["interrupted"] * 2


def test_a_job_has_no_more_processes_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARLOOM_CORES", "1")
    with process_pool(4) as found:
        assert found is map
