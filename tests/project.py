"""A small project in a folder of its own, its commands as processes, as a person runs them, and its runs in MLflow.

For the tests and for the attempts in `torture`; knows nothing about pytest.
"""

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING, Any, Self

from charloom.adapters.command import exit_code
from charloom.adapters.configuration import load

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ROOT = Path(__file__).parents[1]
CHARACTERS = 6_000  # of the small text
TIMEOUT = 240  # seconds until a process that hangs is given up
RESULTS = (
    "model.npz",
    "best.npz",
    "history.csv",
    "samples.jsonl",
    "inspection.jsonl",
    "snapshots.npz",
    "warnings.jsonl",
    "metrics.json",
)  # of the train stage

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
    pid: int

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
            assert fragment in lines[0], lines[0]
        return lines[0]


@dataclass(frozen=True)
class Project:
    """params.yaml, conf/ and a small text in a folder of their own, without git."""

    root: Path

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Make a project in this folder, which there must not be yet."""
        copy_configuration(folder)
        project = cls(folder)
        project.corpus.parent.mkdir()
        text = (ROOT / "data/corpus.txt").read_text(encoding="utf-8")
        project.corpus.write_text(text[:CHARACTERS], encoding="utf-8")
        return project

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment(PYTHONPATH=str(ROOT / "src"), PYTHONDONTWRITEBYTECODE="1")

    @property
    def corpus(self) -> Path:
        return self.root / "data/corpus.txt"

    def start(
        self, *arguments: str, variables: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start Python with these arguments, these environment variables besides the usual ones, and these options of
        `Popen`.
        """
        usual: dict[str, Any] = {"cwd": self.root, "stdin": DEVNULL, "stdout": PIPE, "stderr": PIPE}
        environment = {**self.environment, **(variables or {})}
        return subprocess.Popen([sys.executable, *arguments], env=environment, encoding="utf-8", **(usual | options))

    def python(self, *arguments: str, **options: Any) -> Ended:
        """What becomes of Python with these arguments, started with the options of `start`."""
        return end(self.start(*arguments, **options))

    def git(self, *arguments: str) -> str:
        """What git prints, on behalf of somebody."""
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, cwd=self.root, check=True, capture_output=True, text=True).stdout.strip()

    def try_stage(self, stage: str, *overrides: str, **options: Any) -> Ended:
        """What becomes of a stage, whatever its exit code."""
        return self.python("-m", f"charloom.stages.{stage}", *overrides, **options)

    def stage(self, stage: str, *overrides: str) -> Ended:
        """A stage that succeeds and writes to its folder under artifacts/, if no other is given."""
        ended = self.try_stage(stage, f"out=artifacts/{stage}", *overrides)
        assert ended.code == 0, ended.errors
        return ended

    def stage_here(self, stage: str, *overrides: str) -> Ended:
        """What becomes of a stage that runs in this process, in the project's root: the same but for half a second, in
        which a process of its own would start.
        """
        run = import_module(f"charloom.stages.{stage}").run
        with contextlib.chdir(self.root):
            return command_here(lambda: run(config := load(overrides), Path(config.inp), Path(config.out)))

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
        wait_for(lambda: any(checkpoint_step(path) >= step for path in self.checkpoints()), process)

    def hashes(self, folder: str = "artifacts/train", names: Sequence[str] = RESULTS) -> dict[str, str]:
        """The sha256 of files in a folder."""
        return {name: hashlib.sha256((self.root / folder / name).read_bytes()).hexdigest() for name in names}

    def files(self, folder: str = ".") -> dict[str, bytes]:
        """Every file in the folder with its content."""
        top = self.root / folder
        return {path.relative_to(top).as_posix(): path.read_bytes() for path in top.rglob("*") if path.is_file()}

    def copy_to(self, folder: Path) -> Self:
        shutil.copytree(self.root, folder, symlinks=True)
        return replace(self, root=folder)

    def hash_training(self, folder: Path, *overrides: str) -> dict[str, str]:
        """The hashes of what a training leaves when nothing happens to it, in a copy of the project in the folder."""
        copy = self.copy_to(folder / "a project")
        copy.stage("train", *overrides)
        return copy.hashes()

    @contextmanager
    def mlflow_pages(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """The process that serves MLflow's pages, ended with SIGTERM afterwards."""
        with self.start("-m", "charloom.tracking", *arguments, stderr=None) as process:
            try:
                yield process
            finally:
                process.terminate()
                process.wait(20)

    def mlflow_client(self) -> "MlflowClient":
        """A client of the project's own database."""
        from mlflow import MlflowClient

        return MlflowClient(f"sqlite:///{self.root / 'mlflow.db'}")

    def runs(self, filter_string: str = "") -> "list[Run]":
        """The runs in the project's own database, all or those that MLflow's filter lets through."""
        client = self.mlflow_client()
        experiment = client.get_experiment_by_name("charloom")
        assert experiment is not None
        return list(client.search_runs([experiment.experiment_id], filter_string))


def wait_for(there: Callable[[], object], process: "subprocess.Popen[str]") -> None:
    """Wait until something is there, which must be before the process ends."""
    give_up = time.monotonic() + TIMEOUT
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.005)


def command_here(work: Callable[[], None]) -> Ended:
    """What becomes of a command that does this work in this process."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = exit_code(work)
    return Ended(code, output.getvalue(), errors.getvalue(), os.getpid())


def end(process: subprocess.Popen[str]) -> Ended:
    """Wait for the end of a process."""
    with process:
        try:
            output, errors = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return Ended(process.returncode, output, errors, process.pid)


def checkpoint_step(path: Path) -> int:
    """The training step in a checkpoint's name."""
    return int(path.stem.removeprefix("checkpoint-"))


def clean_environment(**own: str) -> dict[str, str]:
    """Environment variables for a process: this one's without what they tell tools and without a display, and `own`."""
    dropped = ("DVC_", "HYDRA_", "MLFLOW_", "PYTHON", "DISPLAY", "WAYLAND_DISPLAY")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return kept | {"MLFLOW_DISABLE_TELEMETRY": "true"} | own


def copy_configuration(folder: Path) -> None:
    """Give a folder, made where there is none, this project's params.yaml and conf/."""
    shutil.copytree(ROOT / "conf", folder / "conf")
    shutil.copy(ROOT / "params.yaml", folder)
