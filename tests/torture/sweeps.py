"""Sweeps some of whose jobs fail, in every way, and sweeps that are ended at any moment: what is left, and taken up."""

import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import psutil

from tests.project import Ended, Project, wait_for
from tests.torture.promise import Promise

LAUNCHERS = {
    "serial": (),
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "Ray": ("hydra/launcher=ray",),
}
_TINY = (
    *("preset=smoke", "model.hidden_size=8", "gradcheck.hidden_size=4", "gradcheck.workers=1", "baseline.order=1"),
    *("train.steps=400", "train.checkpoint_every=20", "synthesize.quality_length=0", "sweep.plot=none"),
)
_DIVERGING = 1e10  # a learning rate
_JOBS, _FEW_JOBS = 32, 7  # in the long form, and with seed 0, which the test suite has
_SECONDS_TO_END = 30.0  # ten of which MLflow may take, and jobs few on an idle machine
_SECONDS_OF_RAY = 90.0  # its agents try to report the end of a cluster that was killed for a minute

# Python imports this when it starts, where it is on its path. In the process of a job, by the job's number, it plants a
# failure: an exception that nobody expects, an exit, a kill within the training, or a limit of the memory.
_PLANTED = """
    import json, os, resource, signal, sys, threading
    from importlib.abc import MetaPathFinder
    from pathlib import Path

    folders = [text.partition("=")[2] for text in sys.orig_argv if text.startswith("hydra.run.dir=")]
    planted = Path(__file__).with_name("planted.json")
    failure = json.loads(planted.read_text())[Path(folders[0].strip("'")).name] if folders else None


    class Fails(MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name == "charloom.stages.train" and failure == "exception":
                raise RuntimeError("planted")
            if name == "charloom.stages.train" and failure == "exit":
                sys.exit(7)
            if name == "charloom.stages.train" and failure == "memory":
                size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (size + (16 << 20), size + (16 << 20)))
            if name == "charloom.stages.train" and failure == "kill":
                threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()


    if failure:
        sys.meta_path.insert(0, Fails())
"""
_FAILURES = {  # with what the job's record has of each, whatever comes first
    "exception": "RuntimeError: planted",
    "exit": "exit code 7",
    "kill": "ended by SIGKILL",
    "memory": "Memory",
}


def sweep(project: Project, *overrides: str, planted: Path | None = None, **options: Any) -> "Popen[str]":
    """Start a sweep; `planted` is a folder that Python looks for modules in first."""
    path = os.pathsep.join([*([str(planted)] if planted else []), project.environment["PYTHONPATH"]])
    arguments = ("-m", "charloom.experiment", "-m", *_TINY, *overrides)
    return project.start(*arguments, variables={"PYTHONPATH": path}, start_new_session=True, **options)


def end(process: "Popen[str]") -> Ended:
    output, errors = process.communicate(timeout=1800)
    assert "Traceback" not in errors, errors
    return Ended(process.returncode, output, errors, process.pid)


def records(project: Project) -> dict[int, dict[str, Any]]:
    """What the one sweep of the project has recorded of its jobs, by their numbers."""
    found = (json.loads(path.read_text()) for path in project.root.glob("multirun/*/*/*/job.json"))
    return {record["number"]: record for record in found}


def results(project: Project) -> dict[int, bytes]:
    """The model and the text of each job, by its number."""
    folders = {path.parents[1] for path in project.root.glob("multirun/*/*/*/track/result.json")}
    names = ("train/model.npz", "train/history.csv", "synthesize/sample.txt")
    return {int(folder.name): b"".join((folder / name).read_bytes() for name in names) for folder in folders}


def failures_planted(launcher: str, seed: int, folder: Path) -> None:
    """Plant failures into jobs that the seed chooses, run the sweep, mend what can be mended, and take it up again."""
    rng = random.Random(seed)
    jobs = _JOBS if seed else _FEW_JOBS
    kinds = [*_FAILURES, "diverging"] * (2 if seed else 1)
    failing = dict(zip(rng.sample(range(jobs), len(kinds)), kinds, strict=True))
    project = Project.create(folder / "project")
    planted = folder / "planted"
    planted.mkdir()
    shutil.move(project.script("sitecustomize.py", _PLANTED), planted)
    plan = {str(number): failing.get(number) for number in range(jobs)}
    (planted / "planted.json").write_text(json.dumps(plan))
    rates = [_DIVERGING * (1 + n) if failing.get(n) == "diverging" else 0.001 * (1 + n) for n in range(jobs)]
    overrides = (
        *("optimizer=sgd", "optimizer.clip_value=null", "optimizer.clip_norm=null", "tracking=off"),
        f"optimizer.learning_rate={','.join(f'{rate:g}' for rate in rates)}",
        *LAUNCHERS[launcher],
    )
    ended = end(sweep(project, *overrides, planted=planted))
    first = records(project)
    told = f"{ended.errors}\n{json.dumps(first, indent=1)}"
    assert {number for number, record in first.items() if record["status"] == "failed"} == set(failing), told
    assert {number for number, record in first.items() if record["status"] == "finished"} == {*range(jobs)} - {*failing}
    for number, kind in failing.items():
        assert first[number]["exit_code"], told
        assert _FAILURES.get(kind, "optimizer.learning_rate") in f"{first[number]['message']}{first[number]['log']}", (
            told
        )
    assert ended.code == first[min(failing)]["exit_code"], told
    assert f"{len(failing)} of {jobs} jobs failed" in ended.errors.splitlines()[-1], told

    shutil.rmtree(planted)
    still_failing = {number for number, kind in failing.items() if kind == "diverging"}
    ended = end(sweep(project, *overrides, "sweep.resume=latest"))
    assert f"{len(still_failing)} of {jobs} jobs failed" in ended.errors.splitlines()[-1], ended.errors
    second = records(project)
    assert {number for number, record in second.items() if record["status"] != "finished"} == still_failing, (
        ended.errors
    )
    again = {number for number in second if second[number]["started"] != first[number]["started"]}
    assert again == set(failing), ended.errors
    assert results(project).keys() == {*range(jobs)} - still_failing


@cache
def _undisturbed(jobs: int) -> tuple[dict[int, bytes], float]:
    """What the jobs of a sweep leave when nothing happens to it, and the seconds that it takes."""
    with tempfile.TemporaryDirectory(prefix="charloom-undisturbed-") as folder:
        project = Project.create(Path(folder) / "project")
        began = time.monotonic()
        ended = end(sweep(project, "tracking=off", f"seed=range({jobs})"))
        assert ended.code == 0, ended.errors
        return results(project), time.monotonic() - began


def ended_at_any_moment(seed: int, folder: Path) -> None:
    """End a sweep at a moment that the seed chooses, by a kill, SIGTERM or Ctrl-C, and take it up again."""
    rng = random.Random(seed)
    jobs = 6 if seed else 3
    expected, seconds = _undisturbed(jobs)
    project = Project.create(folder / "project")
    launcher = [*LAUNCHERS][(seed + seed // 3) % 3]  # each with each of the signals in nine seeds
    tracking = "off" if seed == 0 else "sqlite"
    overrides = (f"tracking={tracking}", f"seed=range({jobs})", *LAUNCHERS[launcher])
    said = folder / "stderr"
    with said.open("w") as stderr:  # no pipe: what sends to MLflow may hold its end for some seconds more
        process = sweep(project, *overrides, stdout=DEVNULL, stderr=stderr)
    wait_for(lambda: list(project.root.glob("multirun/*/*/sweep.json")), process)  # one that could be taken up
    time.sleep(rng.uniform(0, seconds))
    signum = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[seed % 3]
    if process.poll() is None:
        (os.killpg if signum == signal.SIGINT else os.kill)(process.pid, signum)
    before = time.monotonic()
    process.wait(_SECONDS_TO_END)
    errors = said.read_text(encoding="utf-8")
    told = f"{signum.name} {process.returncode} {errors}"
    assert process.returncode in (0, -signum, 128 + signum), told
    assert "Traceback" not in errors, told
    if process.returncode == 128 + signum:
        assert "sweep.resume=multirun/" in errors, told
    while left := [child for child in _session(process.pid) if child.status() != psutil.STATUS_ZOMBIE]:
        late = [child for child in left if signum != signal.SIGKILL or not _is_of_ray(child)]
        assert time.monotonic() - before < (_SECONDS_TO_END if late else _SECONDS_OF_RAY), f"{told} {left}"
        time.sleep(0.05)
    done = {number: record for number, record in records(project).items() if record["status"] == "finished"}

    ended = end(sweep(project, *overrides, "sweep.resume=latest"))
    assert ended.code == 0, f"{told}{ended.errors}"
    found = records(project)
    assert {number: record["status"] for number, record in found.items()} == dict.fromkeys(range(jobs), "finished"), (
        told
    )
    assert {number: found[number] for number in done} == done, f"run again: {told}{ended.errors}"
    assert results(project) == expected, told
    if tracking != "off":
        ended = project.python("-m", "charloom.tracking", "sync")
        assert ended.code == 0, ended.errors
        runs = project.runs("tags.mlflow.parentRunId != ''")
        assert sorted(run.data.params["seed"] for run in runs) == [str(number) for number in range(jobs)], told
        assert {run.info.status for run in runs} == {"FINISHED"}, told


def _is_of_ray(process: psutil.Process) -> bool:
    """Whether a process is one of a cluster's own, and no job."""
    try:
        return process.name().startswith("ray::") or "default_worker.py" in " ".join(process.cmdline())
    except psutil.Error:
        return True


def _session(leader: int) -> Iterator[psutil.Process]:
    """The processes of a session, but for those that send to MLflow, which have sessions of their own."""
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader:
                yield process
        except (ProcessLookupError, psutil.Error):
            continue


PROMISES = (
    *(
        Promise(
            f"exceptions, exits, kills, memory limits and NaN in jobs of a sweep, {launcher}: the others complete, and "
            "taking it up again runs only the rest",
            partial(failures_planted, launcher),
            tries=3,
            short=int(launcher == "joblib"),
        )
        for launcher in LAUNCHERS
    ),
    Promise(
        "a sweep ended at any moment, by a kill, SIGTERM or Ctrl-C, leaves no process behind; taken up again, it has "
        "every job exactly once",
        ended_at_any_moment,
        tries=60,
        short=1,
    ),
)
