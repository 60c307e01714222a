"""Signals at random moments of every command: what it leaves, and what becomes of it when it is run again."""

import os
import random
import signal
import subprocess
import tempfile
import time
from functools import cache, partial
from pathlib import Path

import psutil

from tests.project import Project, checkpoint_step
from tests.torture.promise import Promise

# Tiny, but with a time of its own for validations, samples and checkpoints.
_SMALL = (
    "preset=smoke",
    "tracking=off",
    "data.validation_fraction=0.5",
    "model.hidden_size=8",
    "gradcheck.hidden_size=4",
    "gradcheck.workers=2",
    "train.steps=400",
    "train.validate_every=50",
    "train.sample_every=50",
    "train.sample_length=5000",
    "train.checkpoint_every=20",
    "train.batch_size=2",
    "synthesize.length=20000",
)
_COMMANDS = {  # with the seconds that they take on an idle machine, about
    "stages.prepare": 1.0,
    "stages.gradcheck": 3.0,
    "stages.train": 3.0,
    "stages.train train.workers=2": 4.0,
    "stages.synthesize": 1.5,
    "stages.plot": 3.0,
    "experiment": 8.0,
}
_SECONDS = 10.0  # within which a command must end; two on an idle machine


@cache
def _undisturbed(*overrides: str) -> dict[str, bytes]:
    """What an experiment leaves in its folder when nothing happens to it, without Hydra's own files."""
    with tempfile.TemporaryDirectory(prefix="charloom-undisturbed-") as folder:
        project = Project.create(Path(folder) / "project")
        ended = project.python("-m", "charloom.experiment", "out=artifacts", *_SMALL, *overrides)
        assert ended.code == 0, ended.errors
        return project.files("artifacts")


def end_by_signal(signum: signal.Signals, seed: int, folder: Path) -> None:
    """Send the signal at a random moment of a random command, to its process or to its group, by the seed."""
    rng = random.Random(seed)
    to_group = seed % 2 == 1
    command, duration = rng.choice(list(_COMMANDS.items()))
    name, *overrides = command.split()
    stage = name.rpartition(".")[2]
    expected = _undisturbed(*overrides)

    project = Project.create(folder / "project")
    for path, content in expected.items():
        (project.root / "artifacts" / path).parent.mkdir(parents=True, exist_ok=True)
        (project.root / "artifacts" / path).write_bytes(content)
    out = "anew" if stage == "experiment" else f"anew/{stage}"
    arguments = ("-m", f"charloom.{name}", *_SMALL, *overrides, f"out={out}")
    shared = _shared_memory()
    process = project.start(*arguments, start_new_session=True)
    _wait_until_received(process)
    time.sleep(rng.uniform(0, duration))
    if process.poll() is None:
        (os.killpg if to_group else os.kill)(process.pid, signum)
    _, errors = process.communicate(timeout=_SECONDS)  # returns when nobody holds its output open any more

    told = f"{command}, {'group' if to_group else 'process'}: {process.returncode}, {errors}"
    assert process.returncode in (0, 128 + signum), told
    assert "Traceback" not in errors, told
    assert "ignored" not in errors, told
    lines = [line for line in errors.splitlines() if line.startswith("charloom: ")]
    assert lines == ([f"charloom: error: ended by {signum.name}"] if process.returncode else []), told
    assert _left(process.pid) == [], told
    assert not _stays(shared), told
    if process.returncode and (step := _last_step(errors)):
        assert [checkpoint_step(path) for path in project.checkpoints()][-1:] in ([step], []), told
        assert project.checkpoints() or list(project.root.glob("anew/**/model.npz")), told
    if process.returncode:
        ended = project.python(*arguments)
        assert ended.code == 0, f"{told}{ended.errors}"
    found = project.files("anew")
    compared = {path for path in expected if stage == "experiment" or path.startswith(f"{stage}/")}
    assert {path for path in compared if found.get(path) != expected[path]} == set(), told


def _wait_until_received(process: subprocess.Popen[str]) -> None:
    """Wait until the command receives SIGTERM; before that, Python itself is starting."""
    bit = 1 << (signal.SIGTERM - 1)
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        (caught,) = (line for line in status.splitlines() if line.startswith("SigCgt:"))
        if int(caught.split()[1], 16) & bit:
            return
        time.sleep(0.001)


def _left(session: int) -> list[str]:
    """The processes of a session whose leader has ended; the resource tracker may take a moment to follow."""
    give_up = time.monotonic() + _SECONDS
    while True:
        left = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == session:
                    left.append(" ".join(process.cmdline()))
            except (ProcessLookupError, psutil.Error):
                continue
        if not left or time.monotonic() > give_up:
            return left
        time.sleep(0.05)


def _shared_memory() -> set[str]:
    return {path.name for path in Path("/dev/shm").iterdir()}


def _stays(before: set[str]) -> set[str]:
    """What is new in shared memory and stays; other processes have some there for a few seconds."""
    new = _shared_memory() - before
    give_up = time.monotonic() + 3 * _SECONDS
    while new and time.monotonic() < give_up:
        time.sleep(0.1)
        new &= _shared_memory()
    return new


def _last_step(errors: str) -> int:
    """The last step that a training told of."""
    steps = [line.split(":")[0] for line in errors.splitlines() if line.startswith("step ")]
    return int(steps[-1].removeprefix("step ").split("/")[0].replace(",", "")) if steps else 0


PROMISES = tuple(
    Promise(
        f"{signum.name} ends any command with exit code {128 + signum}, and the same again goes on",
        partial(end_by_signal, signum),
        tries=200,
        short=2,
    )
    for signum in (signal.SIGTERM, signal.SIGINT)
)
