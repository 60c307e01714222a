"""The work folder of a training, `.charloom/<fingerprint>/`: its lock, its last two checkpoints, history and snapshots.

Its content survives a kill at any moment: a checkpoint is whole or absent, and the history that it counts and the
snapshots to date are on disk before it. DVC does not manage this folder. Knows nothing about networks.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from charloom.adapters.files import archive
from charloom.adapters.files.formats import named_in_errors, replacing, to_json
from charloom.core.common.errors import EnvironmentFault, StateError, hint
from charloom.core.common.types import Array

_SECONDS_UNTIL_REFUSED = 2.0  # within which a training that has got a signal ends

Row = dict[str, Any]  # what is kept of a step, as JSON


class Saved(NamedTuple):
    """The arrays and JSON values of a checkpoint."""

    arrays: dict[str, Array]
    values: dict[str, Any]


class WorkFolder:
    """A context in which no other process trains what has this fingerprint.

    `history` is the list of rows to date. Where another process holds the folder, entering waits for it if `waits`,
    else for the two seconds in which one that was interrupted ends. Entering then raises EnvironmentFault, and where
    the folder cannot be written to.
    """

    def __init__(self, root: Path, fingerprint: str, *, waits: bool = False) -> None:
        self.path = root / ".charloom" / fingerprint
        self.history: list[Row] = []
        self._journal = self.path / "history.jsonl"
        self._written = 0  # rows on disk
        self._sha256 = hashlib.sha256()  # of these rows
        # The lock stands beside the folder, so that `discard` can remove the folder while it is held.
        self._lock = FileLock(self.path.with_suffix(".lock"), timeout=-1 if waits else _SECONDS_UNTIL_REFUSED)

    def __enter__(self) -> "WorkFolder":
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            self.path.mkdir(exist_ok=True)
        except Timeout:
            raise EnvironmentFault(
                f"another process trains this configuration (it holds {self._lock.lock_file}); wait for it or stop it"
            ) from None
        except OSError as error:
            raise EnvironmentFault(f"cannot work in {self.path}: {error.strerror}") from None
        for orphan in self.path.glob("*.tmp"):
            orphan.unlink()
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def append(self, row: Row) -> None:
        """Add a row to the history; it reaches the disk with the next checkpoint."""
        self.history.append(row)

    def save(self, arrays: Mapping[str, Array], values: Mapping[str, Any]) -> None:
        """Write a checkpoint and the history up to it; the last two checkpoints are kept."""
        lines = "".join(to_json(row) + "\n" for row in self.history[self._written :]).encode()
        with named_in_errors(self._journal), self._journal.open("ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        self._written = len(self.history)
        self._sha256.update(lines)
        path = self.path / f"checkpoint-{values['step']:012d}.npz"
        history = {"rows": self._written, "rows_sha256": self._sha256.hexdigest()}
        archive.save(path, "checkpoint", arrays, {**values, **history})
        for old in self._checkpoints()[2:]:
            old.unlink()

    def save_snapshot(self, step: int, arrays: Mapping[str, Array]) -> None:
        """Write the arrays of a training step to a file of their own, which replaces one of the same step."""
        archive.save(self._snapshot(step), "snapshot", arrays, {"step": step})

    def load_snapshot(self, step: int) -> dict[str, Array]:
        """The arrays of a training step in `snapshot_steps`. Raises StateError where they are damaged."""
        with hint(StateError, f"or remove {self.path} to train from the start"):
            return archive.load(self._snapshot(step), "snapshot")[0]

    def remove_snapshot(self, step: int) -> None:
        """Remove the arrays of a training step in `snapshot_steps`."""
        self._snapshot(step).unlink()

    @property
    def snapshot_steps(self) -> list[int]:
        """The training steps that have a snapshot, in rising order."""
        return sorted(int(path.stem.removeprefix("snapshot-")) for path in self.path.glob("snapshot-*.npz"))

    @property
    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint, damaged or not; None where there is none."""
        return next(iter(self._checkpoints()), None)

    def resume(self) -> Saved | None:
        """The newest undamaged checkpoint, with `history` up to it; None where there are no checkpoints.

        A damaged one is skipped with a warning. Raises StateError, and deletes nothing, where all are damaged.
        """
        checkpoints = self._checkpoints()
        for path in checkpoints:
            try:
                saved = Saved(*archive.load(path, "checkpoint"))
                self._read_history(saved.values.pop("rows"), saved.values.pop("rows_sha256"))
                return saved
            except (StateError, KeyError) as error:
                print(f"charloom: warning: {error}", file=sys.stderr)
        if checkpoints:
            raise StateError(f"no checkpoint in {self.path} can be used; remove that folder to train from the start")
        self._journal.unlink(missing_ok=True)
        return None

    def discard(self) -> None:
        """Remove the folder once the training is done and its result is elsewhere."""
        for path in self._checkpoints():  # first: a kill must not leave checkpoints without their history
            path.unlink()
        shutil.rmtree(self.path)

    def _snapshot(self, step: int) -> Path:
        return self.path / f"snapshot-{step:012d}.npz"

    def _checkpoints(self) -> list[Path]:
        """Newest first."""
        return sorted(self.path.glob("checkpoint-*.npz"), reverse=True)

    def _read_history(self, rows: int, sha256: str) -> None:
        """Read the first rows of the history, which must have this sha256, and remove those after them."""
        try:
            lines = self._journal.read_bytes().splitlines(keepends=True)[:rows]
        except OSError as error:
            raise StateError(f"{self._journal} cannot be read ({error})") from None
        if len(lines) < rows:
            raise StateError(f"{self._journal} has {len(lines)} rows where its checkpoint counts {rows}")
        read = hashlib.sha256(b"".join(lines))
        if read.hexdigest() != sha256:
            raise StateError(f"the first {rows} rows of {self._journal} are not those that its checkpoint counts")
        with replacing(self._journal) as file:
            file.writelines(lines)
        self.history, self._written, self._sha256 = [json.loads(line) for line in lines], rows, read
