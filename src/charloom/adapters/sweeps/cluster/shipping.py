"""What travels to a cluster: the code and the configuration, once, and what each job needs of files and variables.

What git ignores does not travel, but for files that a job's configuration names. Knows nothing about Ray.
"""

import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

import charloom
from charloom.adapters.configuration import load, project_root
from charloom.adapters.files.formats import hash_file
from charloom.adapters.process.workers import CORES
from charloom.adapters.sweeps.cluster.changes import Inbox, Outbox, Piece
from charloom.adapters.sweeps.cluster.node import JOURNAL, News, Shipment
from charloom.adapters.sweeps.process import note_end
from charloom.adapters.sweeps.records import JobRecord, Task
from charloom.adapters.tracking import SWEEP
from charloom.core.common.errors import ConfigError

_PACKAGE = Path(charloom.__file__).parent
# Of this process's variables, those that are for the jobs; passwords among them go to the nodes' memory alone.
_FORWARDED = ("MLFLOW_", "AWS_", "PYTHON", "CHARLOOM_")
_ALSO_FORWARDED = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"}
_NOT_FORWARDED = {"PYTHONHOME", "CHARLOOM_KERNELS", "CHARLOOM_PARENT", CORES, SWEEP}
_TRAINING = "training"  # a file in a job's folder with the name of its training's folder in .charloom/


def copy_code(folder: Path) -> None:
    """Put charloom, params.yaml and conf/ into a folder, as they are here and now."""
    root = project_root()
    for name, top in {"charloom": _PACKAGE, "conf": root / "conf"}.items():
        for path in _not_ignored(top):
            target = folder / name / path.relative_to(top)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    shutil.copy(root / "params.yaml", folder)


def _not_ignored(top: Path) -> Iterator[Path]:
    """The files in a folder that git does not ignore; without git, all but compiled ones."""
    git = ["git", "-C", str(top), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(git, capture_output=True, check=True, text=True, timeout=60).stdout.split("\0")
        paths = [top / name for name in listed if name]
    except (OSError, subprocess.SubprocessError):
        paths = []
    if not paths:  # no repository, or one that ignores all of this
        paths = [path for path in top.rglob("*") if "__pycache__" not in path.parts]
    yield from (path for path in paths if path.is_file())


def sweep_id(sweep: Path) -> str:
    """A name for the sweep's folder among those of all machines."""
    return hashlib.sha256(f"{platform.node()} {sweep.absolute()}".encode()).hexdigest()[:16]


def environment() -> dict[str, str]:
    """The variables that go to the jobs; of PYTHONPATH, what is not charloom's own."""
    names = [name for name in os.environ if name.startswith(_FORWARDED) or name.upper() in _ALSO_FORWARDED]
    found = {name: os.environ[name] for name in names if name not in _NOT_FORWARDED}
    folders = [Path(entry).absolute() for entry in found.pop("PYTHONPATH", "").split(os.pathsep) if entry]
    found["PYTHONPATH"] = os.pathsep.join(str(folder) for folder in folders if folder != _PACKAGE.parent)
    return found


def named_files(task: Task) -> dict[str, Path]:
    """The files that a job's configuration names, by their paths relative to the project where they are in it."""
    try:
        config = load(task.overrides)
    except ConfigError:  # the job says it
        return {}
    root, found = project_root(), dict[str, Path]()
    for value in config.parameters().values():
        for text in (part for part in (value.values() if isinstance(value, Mapping) else [value])):
            if isinstance(text, str) and text and Path(text).is_file():
                path = Path(text).absolute()
                found[os.path.relpath(path, root) if path.is_relative_to(root) else str(path)] = path
    return found


class Parcel:
    """A job as this machine has it: what goes with it, and where what comes back belongs.

    Its checkpoints belong to .charloom/ of the project, where any later run of the same training goes on from them.
    """

    def __init__(self, task: Task, cores: int, storage: Path | None) -> None:
        self.task, self._cores, self._storage = task, cores, storage
        self.files = {name: (path, hash_file(path)) for name, path in named_files(task).items()}
        self._work = project_root() / ".charloom"
        self._results, self._training = Inbox(task.folder), Inbox(self._work)
        self._held_back: list[Piece] = []  # of the journal, from its result on
        self._lock: FileLock | None = None  # on the training's folder, from the first checkpoint that comes back

    def pack(self) -> Shipment:
        """What goes to the node, with what is here of earlier attempts."""
        journal, training = list[Piece](), list[Piece]()
        if self._storage is None:
            journal = _all(self.task.folder, JOURNAL)
            with suppress(OSError):
                name = (self.task.folder / _TRAINING).read_text(encoding="ascii").strip()
                training = _all(self._work, f"{name}/history.jsonl", f"{name}/checkpoint-*", f"{name}/snapshot-*")
        return Shipment(
            task=replace(self.task, sweep=self.task.sweep.absolute()),
            sweep_id=sweep_id(self.task.sweep),
            cores=self._cores,
            working_directory=os.path.relpath(Path.cwd(), project_root()),
            environment=environment(),
            files={name: sha256 for name, (_, sha256) in self.files.items()},
            journal=journal,
            training=training,
            storage=self._storage,
        )

    def take(self, news: News) -> None:
        """Write what came back where it belongs. That there is a result is said when all of it is here."""
        for piece in news.results:
            if piece.path == JOURNAL and piece.first:  # another run, of which nothing was sent to MLflow
                shutil.rmtree((self.task.folder / JOURNAL).parent, ignore_errors=True)
            if piece.path == JOURNAL and (self._held_back or b'"event": "result"' in (piece.data or b"")):
                self._held_back.append(piece)
            else:
                self._results.take([piece])
        if news.training and self._holds(news.training[0].path.partition("/")[0]):
            self._training.take(news.training)

    def close(self, record: JobRecord) -> None:
        """Note what became of the job."""
        self._results.take(self._held_back)
        note_end(self.task, record)
        if record.status == "finished":
            (self.task.folder / _TRAINING).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.release()

    def _holds(self, name: str) -> bool:
        """Whether the folder of the training is this job's to write to, and no other process's of this machine."""
        if self._lock is None:
            self._work.mkdir(exist_ok=True)
            self._lock = FileLock(self._work / f"{name}.lock")
            with suppress(Timeout):
                self._lock.acquire(timeout=0)
                (self.task.folder / _TRAINING).write_text(name, encoding="ascii")
        return self._lock.is_locked


def _all(folder: Path, *patterns: str) -> list[Piece]:
    """The files of these patterns in a folder, whole."""
    outbox, pieces = Outbox(folder, lambda top: [path for pattern in patterns for path in top.glob(pattern)]), []
    while new := outbox.look():
        pieces += new
    return pieces
