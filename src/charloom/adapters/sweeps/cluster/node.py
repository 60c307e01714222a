"""A job on a node of a cluster: the folders that it runs in there, and what comes back while it runs.

On the node, a job has a project of its own, with the code, the configuration and the text that travelled with it. Knows
nothing about Ray.
"""

import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from charloom.adapters.files.formats import hash_file, replacing
from charloom.adapters.sweeps.cluster.changes import Inbox, Outbox, Piece, files_in
from charloom.adapters.sweeps.process import Supervisor
from charloom.adapters.sweeps.records import LOG, JobRecord, Task
from charloom.core.common.errors import CharloomError, DataError, EnvironmentFault

SEEN = ".on-shared-storage"  # a file in the sweep's folder, where every node sees it
# Of the node's own variables, those that Ray sets for its worker, and those that a job sets itself.
_NOT_FOR_JOBS = ("RAY_", "CHARLOOM_", "OMP_", "PYTHONPATH", "PYTHONBREAKPOINT", "OPENBLAS_", "NPY_")
JOURNAL = "tracking/journal.jsonl"  # in a job's folder
_SECONDS_BETWEEN_LOOKS = 0.05


@dataclass(frozen=True)
class Shipment:
    """What a job takes to a node.

    `files` are those that its configuration names, relative to the project where they are in it, with their sha256.
    `journal` and `training` (its checkpoints) are from an earlier attempt. `storage` is a folder that every node sees.
    """

    task: Task
    sweep_id: str
    cores: int
    working_directory: str  # in the project
    environment: Mapping[str, str]
    files: Mapping[str, str]
    journal: list[Piece]
    training: list[Piece]
    storage: Path | None


@dataclass(frozen=True)
class News:
    """What is new of a job: pieces of its files, pieces of its training's, and at the end what became of it."""

    results: list[Piece]
    training: list[Piece]
    record: JobRecord | None


class NodeJob:
    """A job that runs on this node. `fetch` gets the content of a file by its sha256."""

    def __init__(self, shipment: Shipment, code: Path, node_id: str, fetch: Callable[[str], bytes]) -> None:
        self._shipment, task = shipment, shipment.task
        started = time.time()
        own = _folder(shipment.sweep_id, node_id)
        self._project = own / "projects" / str(task.number)
        sweep = task.sweep if shipment.storage else own / "sweep"
        self._task = Task(task.number, task.overrides, sweep)
        self._results = Outbox(self._task.folder, self._find_results, appended=(LOG,))
        self._training = Outbox(self._project / ".charloom", _find_training)
        self._supervisor = Supervisor(shipment.cores, environment=_environment(shipment.environment, code))
        self._record: JobRecord | None = None
        try:
            self._lay_out(code, fetch)
        except (CharloomError, OSError) as error:
            exit_code = error.exit_code if isinstance(error, CharloomError) else EnvironmentFault.exit_code
            self._record = JobRecord(task.number, task.overrides, "failed", started, time.time(), exit_code, str(error))
            return
        os.chdir(self._project / shipment.working_directory)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def look(self, seconds: float) -> News:
        """What is new; where nothing is, after this time, or as soon as the job has ended."""
        give_up = time.monotonic() + seconds
        while self._record is None and time.monotonic() < give_up:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        record = self._record  # before the files are looked at: what is written later is not missed
        if self._shipment.storage:
            return News([], [], record)
        results, training = self._results.look(), self._training.look()
        return News(results, training, None if results or training else record)

    def stop(self) -> None:
        """End the job, which keeps its checkpoint."""
        self._supervisor.stop()

    def clear(self) -> None:
        """Remove what the job left on this node, once it has come back."""
        shutil.rmtree(self._project, ignore_errors=True)
        if not self._shipment.storage:
            shutil.rmtree(self._task.folder, ignore_errors=True)

    def _run(self) -> None:
        self._record = self._supervisor.run(self._task)

    def _find_results(self, folder: Path) -> list[Path]:
        """All files of a job that has ended; while it runs, its log and its journal."""
        if self._record is not None:
            return files_in(folder)
        return [path for path in (folder / LOG, folder / JOURNAL) if path.is_file()]

    def _lay_out(self, code: Path, fetch: Callable[[str], bytes]) -> None:
        """Make the project that the job runs in."""
        shipment, project = self._shipment, self._project
        shutil.rmtree(project / "conf", ignore_errors=True)
        shutil.copytree(code / "conf", project / "conf")
        shutil.copy(code / "params.yaml", project)
        (project / shipment.working_directory).mkdir(parents=True, exist_ok=True)
        for name, sha256 in shipment.files.items():
            _place(project / name, sha256, fetch)
        if shipment.storage:
            _require_seen(self._task.sweep)
            work = project / ".charloom"
            if not work.is_symlink():
                (shipment.storage / ".charloom").mkdir(exist_ok=True)
                work.symlink_to(shipment.storage / ".charloom")
            return
        Inbox(self._task.folder).take(shipment.journal)
        self._results.skip()
        self._take_training(shipment.training)

    def _take_training(self, shipped: list[Piece]) -> None:
        """Go on from the checkpoints that came along, unless newer ones are here, from a sweep that was killed."""
        names = [Path(piece.path).name for piece in shipped]
        here = [path.name for path in _find_training(self._project / ".charloom")]
        if max(filter(_is_checkpoint, names), default="") > max(filter(_is_checkpoint, here), default=""):
            shutil.rmtree(self._project / ".charloom", ignore_errors=True)
            Inbox(self._project / ".charloom").take(shipped)
            self._training.skip()


def scratch() -> Path:
    """The user's own folder on a node, for files of other machines and the jobs that run. Raises EnvironmentFault."""
    folder = Path(tempfile.gettempdir()) / f"charloom-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise EnvironmentFault(f"{folder} must be this user's own folder, got another's; remove it")
    return folder


def remove_sweep(sweep_id: str, node_id: str) -> None:
    """Remove what is left of a sweep on this node; files of other machines stay for the next one."""
    shutil.rmtree(_folder(sweep_id, node_id), ignore_errors=True)


def _folder(sweep_id: str, node_id: str) -> Path:
    """A sweep's own folder on a node, of which one machine may have several."""
    return scratch() / f"{sweep_id}-{node_id[:16]}"


def _place(path: Path, sha256: str, fetch: Callable[[str], bytes]) -> None:
    """Have the file with this hash at `path`: one outside the project must be there, others are in the node's cache."""
    if not path.is_relative_to(scratch()):
        if not path.is_file() or hash_file(path) != sha256:
            must = f"{path} must be the same file on every node as where the sweep was started"
            raise DataError(f"{must}, got {'another' if path.is_file() else 'none'}; put it into the project")
        return
    cached = scratch() / "files" / sha256
    if not cached.is_file() or hash_file(cached) != sha256:
        content = fetch(sha256)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise EnvironmentFault(f"{path.name} must come whole, got other bytes; start the sweep again")
        with replacing(cached) as file:
            file.write(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    try:
        os.link(cached, path)
    except OSError:  # a file system without such links
        shutil.copy(cached, path)


def _require_seen(sweep: Path) -> None:
    """Raise EnvironmentFault where the sweep's folder, in which the file was made for this, is not to be seen here."""
    if not (sweep / SEEN).is_file():
        must = f"every node must see hydra.launcher.storage, got none of {sweep} on {os.uname().nodename}"
        raise EnvironmentFault(f"{must}; mount it there, or set hydra.launcher.storage=null")


def _environment(forwarded: Mapping[str, str], code: Path) -> dict[str, str]:
    """The job's environment: the node's own, without what Ray sets for its worker, and what came along."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_NOT_FOR_JOBS)}
    path = os.pathsep.join([str(code), *filter(None, [forwarded.get("PYTHONPATH")])])
    return {**kept, **forwarded, "PYTHONPATH": path}


def _find_training(work: Path) -> list[Path]:
    """The files from which trainings go on."""
    return [path for name in ("checkpoint-*.npz", "snapshot-*.npz", "history.jsonl") for path in work.glob(f"*/{name}")]


def _is_checkpoint(name: str) -> bool:
    return name.startswith("checkpoint-")
