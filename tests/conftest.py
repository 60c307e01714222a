"""A small project of its own for each test, and its stages as processes, as a person runs them."""

import hashlib
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).parents[1]
CHARACTERS = 6_000  # of the small text
TIMEOUT = 240  # seconds until a process that hangs is given up
RESULTS = ("model.npz", "best.npz", "history.csv", "samples.jsonl", "metrics.json")  # of the train stage

# The train stage, killed from within once the checkpoint of the step in its first argument is on disk.
_KILLED_AT = """
    import os, signal, sys
    from charloom.adapters.command import stage_main
    from charloom.stages import train
    from charloom.adapters.files.work_folder import WorkFolder

    if __name__ == "__main__":
        save, last = WorkFolder.save, int(sys.argv.pop(1))

        def save_and_die(self, arrays, values):
            save(self, arrays, values)
            if values["step"] >= last:
                os.kill(os.getpid(), signal.SIGKILL)

        WorkFolder.save = save_and_die
        stage_main(train.run)
"""


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    code: int
    output: str
    errors: str

    def assert_one_error(self, code: int, *fragments: str) -> str:
        """The one line that says what went wrong, once it is sure that it is one, with this exit code and all of these
        in it.
        """
        assert "Traceback" not in self.errors, self.errors
        lines = [line for line in self.errors.splitlines() if line.startswith("charloom: error:")]
        assert len(lines) == 1, self.errors
        assert self.errors.splitlines()[-1] == lines[0], self.errors
        assert self.code == code, f"{self.code}: {lines[0]}"
        for fragment in fragments:
            assert fragment in lines[0]
        return lines[0]


@dataclass(frozen=True)
class Project:
    """params.yaml, conf/ and a small text in a folder of their own, without git."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("DVC_", "HYDRA_", "MLFLOW_", "PYTHON"))
        }
        own = {"PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
        return kept | own

    @property
    def corpus(self) -> Path:
        return self.root / "data/corpus.txt"

    def start(
        self,
        *arguments: str,
        cwd: Path | None = None,
        preexec: Callable[[], None] | None = None,
        stdout: IO[str] | int = subprocess.PIPE,
        **environment: str,
    ) -> subprocess.Popen[str]:
        """Start Python with these arguments."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd or self.root,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            preexec_fn=preexec,
        )

    def python(
        self, *arguments: str, cwd: Path | None = None, preexec: Callable[[], None] | None = None, **environment: str
    ) -> Ended:
        return end(self.start(*arguments, cwd=cwd, preexec=preexec, stdout=subprocess.PIPE, **environment))

    def try_stage(
        self,
        stage: str,
        *overrides: str,
        cwd: Path | None = None,
        preexec: Callable[[], None] | None = None,
        **environment: str,
    ) -> Ended:
        """What becomes of a stage, whatever its exit code."""
        return self.python("-m", f"charloom.stages.{stage}", *overrides, cwd=cwd, preexec=preexec, **environment)

    def stage(self, stage: str, *overrides: str) -> Ended:
        """A stage that succeeds and writes to its folder under artifacts/, if no other is given."""
        ended = self.try_stage(stage, f"out=artifacts/{stage}", *overrides)
        assert ended.code == 0, ended.errors
        return ended

    def start_training(self, *overrides: str) -> subprocess.Popen[str]:
        return self.start("-m", "charloom.stages.train", "out=artifacts/train", *overrides)

    def train_until_killed(self, step: int, *overrides: str) -> None:
        """Train until the checkpoint of this step is on disk, and no instruction further."""
        script = self.script("killed_at.py", _KILLED_AT)
        ended = self.python(script, str(step), "out=artifacts/train", *overrides)
        assert ended.code == -9, ended

    def script(self, name: str, text: str) -> str:
        """The path of a Python script with this text, beside the project."""
        path = self.root.with_name(name)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return str(path)

    def folder(self) -> Path:
        """The one work folder."""
        (folder,) = (path for path in (self.root / ".charloom").iterdir() if path.is_dir())
        return folder

    def checkpoints(self) -> list[Path]:
        """Those of all work folders, the oldest first."""
        return sorted(self.root.glob(".charloom/*/checkpoint-*.npz"), key=lambda path: path.name)

    def wait_for_step(self, step: int, process: subprocess.Popen[str]) -> None:
        """Wait until a checkpoint of this step or a later one is on disk."""
        give_up = time.monotonic() + TIMEOUT
        while not any(int(path.stem.removeprefix("checkpoint-")) >= step for path in self.checkpoints()):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < give_up
            time.sleep(0.005)

    def hashes(self, folder: str = "artifacts/train", names: Sequence[str] = RESULTS) -> dict[str, str]:
        """The sha256 of files in a folder."""
        return {name: hashlib.sha256((self.root / folder / name).read_bytes()).hexdigest() for name in names}

    def files(self, folder: str = ".") -> dict[str, bytes]:
        """Every file in the folder with its content."""
        top = self.root / folder
        return {path.relative_to(top).as_posix(): path.read_bytes() for path in top.rglob("*") if path.is_file()}

    def copy_to(self, folder: Path) -> "Project":
        shutil.copytree(self.root, folder)
        return Project(folder)


def end(process: subprocess.Popen[str]) -> Ended:
    """Wait for the end of a process."""
    with process:
        try:
            output, errors = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return Ended(process.returncode, output, errors)


def hashes_of_training(prepared: Project, folder: Path, *overrides: str) -> dict[str, str]:
    """The hashes of what a training leaves when nothing happens to it, in a copy of the project in the folder."""
    project = prepared.copy_to(folder / "a project")
    project.stage("train", *overrides)
    return project.hashes()


def make_project(folder: Path) -> Project:
    """A project in this folder, which there must not be yet."""
    (folder / "data").mkdir(parents=True)
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    shutil.copytree(ROOT / "conf", folder / "conf")
    text = (ROOT / "data/corpus.txt").read_text(encoding="utf-8")
    (folder / "data/corpus.txt").write_text(text[:CHARACTERS], encoding="utf-8")
    return Project(folder)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project in which nothing has run."""
    return make_project(tmp_path / "a project")


@pytest.fixture(scope="session")
def _prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(tmp_path_factory.mktemp("prepared") / "a project")
    project.stage("prepare")
    return project


@pytest.fixture(scope="session")
def _trained(tmp_path_factory: pytest.TempPathFactory, _prepared: Project) -> Project:
    project = _prepared.copy_to(tmp_path_factory.mktemp("trained") / "a project")
    project.stage("train", "preset=smoke")
    return project


@pytest.fixture
def prepared(tmp_path: Path, _prepared: Project) -> Project:
    """A project in which prepare has run."""
    return _prepared.copy_to(tmp_path / "a prepared project")


@pytest.fixture
def trained(tmp_path: Path, _trained: Project) -> Project:
    """A project in which prepare and train, with preset=smoke, have run."""
    return _trained.copy_to(tmp_path / "a trained project")
