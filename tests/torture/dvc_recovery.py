"""A pipeline of DVC that is ended by a signal, whichever process gets it: one `dvc repro` finishes it.

The project is a copy without git whose stages note each file of a work folder that they write to.
"""

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tests.project import ROOT, Project, clean_environment
from tests.torture.promise import Promise

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
TARGETS = ("dvc", "the stage", "the group")
TRIES = 20  # of each signal to each target
TIMEOUT = 120  # seconds
SMALL: dict[str, dict[str, Any]] = {
    "data": {"path": "data/small.txt"},
    "model": {"hidden_size": 8},
    "train": {
        **{"steps": 3000, "checkpoint_every": 100, "validate_every": 500, "sample_every": 500},
        **{"sample_length": 50, "final_sample_length": 50},
    },
    "gradcheck": {"hidden_size": 2, "seq_length": 3, "workers": 1},
    "synthesize": {"length": 100},
}

# Python imports this at the start of each stage, whose path of imports is `src`.
NOTE_WRITERS = """
import os, sys

if os.environ.get("DVC_STAGE") == "train":
    def note(event, arguments, log=os.open("writers.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)):
        if event == "open" and ".charloom" in str(arguments[0]) and "checkpoint-" in str(arguments[0]):
            os.write(log, f"{os.getpid()}\\n".encode())

    sys.addaudithook(note)
"""


def create(folder: Path) -> Project:
    """A project in this folder in which nothing has run."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "conf", folder / "conf")
    (folder / "src/sitecustomize.py").write_text(NOTE_WRITERS, encoding="utf-8")
    for name in ("dvc.yaml", ".dvcignore", ".dvc/config"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for section, own in SMALL.items():
        values[section] |= own
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    (folder / "data").mkdir()
    text = (ROOT / "data/corpus.txt").read_text(encoding="utf-8")
    (folder / "data/small.txt").write_text(text[:6000], encoding="utf-8")
    return Project(folder)


@contextmanager
def repro(project: Project) -> Iterator[subprocess.Popen[str]]:
    """A `dvc repro` that has started, in a process group of its own, of which nothing is left after the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=project.root,
        env=clean_environment(
            PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            DVC_SITE_CACHE_DIR=str(project.root.with_name("site-cache")),
            PYTHONDONTWRITEBYTECODE="1",
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def interrupted(seed: int, folder: Path) -> None:
    """Send a signal at a moment of the pipeline that the seed chooses; then one `dvc repro` must finish it."""
    signum, target = SIGNALS[seed % 3], TARGETS[seed // 3 % 3]
    expected, locked, seconds = _undisturbed()
    project = create(folder / "a project")
    with repro(project) as process:
        time.sleep(random.Random(seed).random() * seconds)
        send(signum, target, process)
        process.wait(TIMEOUT)  # for DVC alone: a stage that it may have left must not hinder the recovery
        partial = {stage: entry for stage, entry in lock(project).items() if entry != locked[stage]}
        with repro(project) as recovery:
            output, _ = recovery.communicate(timeout=TIMEOUT)
    assert not partial, f"after {signum.name} to {target}, dvc.lock holds what is not whole: {partial}"
    assert recovery.returncode == 0, f"after {signum.name} to {target}:\n{output}"
    assert lock(project) == locked
    assert project.files("artifacts") == expected
    assert_cache_is_whole(project)
    assert recorded_runs(project).count("FINISHED") == 1
    writers = [pid for pid, _ in groupby((project.root / "writers.log").read_text(encoding="utf-8").split())]
    assert len(writers) == len(set(writers)), f"two trainings took turns in one work folder: {writers}"


def send(signum: signal.Signals, target: str, process: subprocess.Popen[str]) -> None:
    """Send the signal to DVC, to the stage that it runs or will run next, or to the group of both.

    A pipeline that has ended gets none.
    """
    while process.poll() is None:
        running = {"dvc": [process.pid], "the stage": stages(process.pid), "the group": [-process.pid]}[target]
        if running:
            with suppress(ProcessLookupError):  # it has just ended; the next one will do
                return os.kill(running[0], signum)
        time.sleep(0.005)
    return None


def stages(dvc: int) -> list[int]:
    """The processes that DVC has started, by their ids."""
    found = []
    for path in Path(f"/proc/{dvc}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # of a thread that has ended
            found += [int(child) for child in path.read_text().split()]
    return found


def lock(project: Project) -> dict[str, Any]:
    """The stages in dvc.lock."""
    path = project.root / "dvc.lock"
    locked: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"] if path.exists() else {}
    return locked


def assert_cache_is_whole(project: Project) -> None:
    """Every object in DVC's cache has the hash that is its name."""
    for path in (project.root / ".dvc/cache/files/md5").glob("*/*"):
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        assert path.parent.name + path.name.removesuffix(".dir") == md5, f"{path} is not what DVC takes it for"


def recorded_runs(project: Project) -> list[str]:
    """The states of MLflow's runs."""
    with closing(sqlite3.connect(project.root / "mlflow.db")) as database:
        return [status for (status,) in database.execute("select status from runs")]


@cache
def _undisturbed() -> tuple[dict[str, bytes], dict[str, Any], float]:
    """The files, the stages in dvc.lock and the seconds of a pipeline that gets no signal."""
    with TemporaryDirectory() as folder:
        project = create(Path(folder) / "a project")
        began = time.monotonic()
        with repro(project) as process:
            output, _ = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, output
        return project.files("artifacts"), lock(project), time.monotonic() - began


PROMISES = (
    Promise(
        "SIGTERM, SIGINT and SIGKILL to DVC, to its stage and to both: one `dvc repro` finishes, nothing partial is "
        "committed, and never do two trainings write to one work folder",
        interrupted,
        tries=TRIES * len(SIGNALS) * len(TARGETS),
        short=0,  # test_dvc.py interrupts one training in three of these ways
    ),
)
