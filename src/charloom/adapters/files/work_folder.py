"""The work folder of a training, `.charloom/<fingerprint>/`: its lock, its last two checkpoints and its history.

Its content survives a kill at any moment: a checkpoint is whole or absent, and the history is on disk before the
checkpoint that counts its rows. DVC does not manage this folder. Knows nothing about networks.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from charloom.adapters.files import archive
from charloom.adapters.files.formats import replacing, to_json
from charloom.core.common.errors import EnvironmentFault, StateError
from charloom.core.common.types import Array

Row = dict[str, Any]  # what is kept of a step, as JSON


class Saved(NamedTuple):
    """The arrays and JSON values of a checkpoint."""

    arrays: dict[str, Array]
    values: dict[str, Any]


class WorkFolder:
    """A context in which no other process trains what has this fingerprint.

    `history` is the list of rows to date. Entering raises EnvironmentFault where another process holds the folder or
    it cannot be written to.
    """

    def __init__(self, root: Path, fingerprint: str) -> None:
        self.path = root / ".charloom" / fingerprint
        self.history: list[Row] = []
        self._journal = self.path / "history.jsonl"
        self._written = 0  # rows on disk
        # The lock stands beside the folder, so that `discard` can remove the folder while it is held.
        self._lock = FileLock(self.path.with_suffix(".lock"))

    def __enter__(self) -> "WorkFolder":
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
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
        with self._journal.open("a", encoding="utf-8") as file:
            file.writelines(to_json(row) + "\n" for row in self.history[self._written :])
            file.flush()
            os.fsync(file.fileno())
        self._written = len(self.history)
        path = self.path / f"checkpoint-{values['step']:012d}.npz"
        archive.save(path, "checkpoint", arrays, {**values, "rows": self._written})
        for old in self._checkpoints()[2:]:
            old.unlink()

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
                self._read_history(saved.values.pop("rows"))
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

    def _checkpoints(self) -> list[Path]:
        """Newest first."""
        return sorted(self.path.glob("checkpoint-*.npz"), reverse=True)

    def _read_history(self, rows: int) -> None:
        """Read the first rows of the history and remove those after them from the disk."""
        try:
            lines = self._journal.read_text(encoding="utf-8").splitlines()[:rows]
            history = [json.loads(line) for line in lines]
        except (OSError, ValueError) as error:
            raise StateError(f"{self._journal} cannot be read ({error})") from None
        if len(history) < rows:
            raise StateError(f"{self._journal} has {len(history)} rows where its checkpoint counts {rows}")
        with replacing(self._journal) as file:
            file.writelines(f"{line}\n".encode() for line in lines)
        self.history, self._written = history, rows
