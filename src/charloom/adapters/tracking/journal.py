"""The journal of a run: what happened to it, line by line, in a file beside its results.

It is the local truth that a follower sends to MLflow, while the run goes on or later: see `follower`. To write a line
takes microseconds, waits for nothing and never fails the run. Knows nothing about MLflow.

The lines of `journal.jsonl` are events, each with its `time` in seconds: `start` of a process that the run belongs to,
`row` of a training's history, `log` of whatever else is known, `result` once a whole result is there, and `end`. A run
that goes on where a killed one stopped goes on in its journal, after another `start`.
"""

import json
import os
import platform
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import filelock
import psutil

from charloom.adapters.configuration import project_root
from charloom.adapters.tracking.addresses import Target, without_secrets
from charloom.core.common.records import HistoryRow

FOLDER = "tracking"  # of the journal, in the folder of a run
LINES = "journal.jsonl"
_LOCK = "journal.lock"
_SECONDS_BETWEEN_WRITES = 0.5  # of rows

Event = dict[str, Any]


class Journal:
    """The journal in a folder, to be written by this process.

    Where it cannot be written, that is said once on stderr: the run goes on.
    """

    def __init__(self, folder: Path) -> None:
        """Go on with the journal in this folder, if there is one."""
        self.folder = folder
        self._waiting: list[Event] = []  # rows
        self._written = 0.0
        self._failed = False
        self.steps = {event["step"] for event, _ in read(folder) if event["event"] == "row"}

    def start(
        self,
        target: Target | None,
        name: str,
        *,
        parameters: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        parent: Path | None = None,
    ) -> None:
        """Begin the run, or go on with it, in this process; `parent` is the folder of the journal of the run above.

        Without a `target`, the journal is for this machine alone.
        """
        with locked(self.folder):
            if is_left_open(self.folder):
                self._append(closing(self.folder))
            self._append(
                _event(
                    "start",
                    id=uuid.uuid4().hex,
                    process=identify(os.getpid()),
                    target=vars(target) if target else None,
                    name=name,
                    parameters=dict(parameters or {}),
                    tags=dict(tags or {}),
                    parent=os.path.relpath(parent, self.folder) if parent else None,
                )
            )

    def row(self, row: HistoryRow) -> None:
        """A row of the training's history; one that the journal has already is left out.

        Losses are written from time to time, that of a validation at once: a search may be waiting for it.
        """
        if row.step in self.steps:
            return
        self.steps.add(row.step)
        self._waiting.append(_event("row", **vars(row)))
        is_due = time.monotonic() - self._written > _SECONDS_BETWEEN_WRITES
        if is_due or row.validation_nats_per_char is not None:
            self._append()

    def log(
        self,
        *,
        name: str | None = None,
        metrics: Mapping[str, float] | None = None,
        parameters: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        files: Iterable[tuple[Path, str]] = (),
        tables: Mapping[str, list[dict[str, Any]]] | None = None,
    ) -> None:
        """Whatever is known of the run by now; what was known before is replaced.

        `files` are sent to folders among the run's artifacts, and `tables` of rows by their names there. The journal
        has a file's place alone: what is sent is what is there by then.
        """
        known = {
            "name": name,
            "metrics": metrics and dict(metrics),
            "parameters": parameters and dict(parameters),
            "tags": tags and dict(tags),
            "files": [(os.path.relpath(path, self.folder), place) for path, place in files],
            "tables": tables and dict(tables),
        }
        self._append(_event("log", **{key: value for key, value in known.items() if value}))

    def trained(self, checksums: str) -> None:
        """The training has ended, and left files whose list of checksums has this sha256, for `track` to find it by."""
        self._append(_event("trained", checksums=checksums, project=str(project_root())))

    def result(self, inp: Path, result: str, history: Iterable[HistoryRow], *, register: str | None = None) -> None:
        """The whole result in the folder `inp` with the fingerprint `result`, and all rows of its history.

        `register` is the name in MLflow's registry under which its model is to be registered.
        """
        for row in history:
            self.row(row)
        self._append(_event("result", folder=os.path.relpath(inp, self.folder), result=result, register=register))

    def end(self, status: str, message: str = "") -> None:
        """The end of the run with MLflow's `status`: FINISHED, FAILED or KILLED, and why."""
        self._append(_event("end", status=status, message=without_secrets(message)))

    def _append(self, *events: Event) -> None:
        """Write the rows that wait and these events, in one piece."""
        lines = "".join(f"{json.dumps(event)}\n" for event in [*self._waiting, *events]).encode()
        self._waiting, self._written = [], time.monotonic()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / LINES).open("ab", buffering=0) as file:
                file.write(lines)
        except OSError as error:
            if not self._failed:
                reason = f"cannot be written ({error.strerror})"
                print(f"charloom: warning: {self.folder / LINES} {reason}: MLflow will lack parts", file=sys.stderr)
            self._failed = True


def read(folder: Path, offset: int = 0) -> Iterator[tuple[Event, int]]:
    """The events in the journal of a folder from a byte on, each with the byte after it; none without a journal."""
    try:
        with (folder / LINES).open("rb") as file:
            file.seek(offset)
            lines = file.read()
    except OSError:
        return
    for line in lines.splitlines(keepends=True):
        offset += len(line)
        if line.endswith(b"\n"):  # the last one may still be under way
            with suppress(ValueError):  # a kill or a full disk left half a line
                yield json.loads(line), offset


def header(folder: Path) -> Event:
    """The first start of a run."""
    return next(event for event, _ in read(folder) if event["event"] == "start")


def target_in(folder: Path) -> Target | None:
    """Where the run is to be sent; None where nothing has begun, or where it is for this machine alone."""
    start = last(folder, "start")
    return Target(**start["target"]) if start and start["target"] else None


def last(folder: Path, kind: str) -> Event | None:
    """The last event of a kind, if there is one."""
    found = None
    for event, _ in read(folder):
        found = event if event["event"] == kind else found
    return found


def is_finished(folder: Path) -> bool:
    """Whether the run has ended well."""
    end = last(folder, "end")
    return end is not None and end["status"] == "FINISHED"


def is_open(folder: Path) -> bool:
    """Whether the journal has a start without an end."""
    return _opened_by(folder) is not None


def is_left_open(folder: Path) -> bool:
    """Whether the journal has a start without an end, of a process of this machine that is gone."""
    process = _opened_by(folder)
    return process is not None and is_gone(process)


def _opened_by(folder: Path) -> str | None:
    """The process of a start without an end."""
    opened = None
    for event, _ in read(folder):
        if event["event"] in ("start", "end"):
            opened = event.get("process")
    return opened


def close_if_left_open(folder: Path) -> None:
    """End the run of a journal whose process was killed."""
    with locked(folder):
        if is_left_open(folder):
            Journal(folder)._append(closing(folder))


def closing(folder: Path) -> Event:
    """The end of a run whose process was killed, at the time at which the journal was last written."""
    written = (folder / LINES).stat().st_mtime
    return _event("end", status="KILLED", message="its process was killed") | {"time": written}


def locked(folder: Path) -> filelock.BaseFileLock:
    """A context in which this process alone starts or closes the run of the journal in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(folder / _LOCK, timeout=30)


def identify(pid: int) -> str:
    """The machine's name, the id of a process and its start, while it runs: no other process has the same."""
    start = "none"
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:  # it has ended, and its parent did not look yet
            start = f"{process.create_time():.2f}"
    return f"{platform.node()} {pid} {start}"


def is_gone(process: str) -> bool:
    """Whether a process of this machine has ended; one of another machine is taken to be there."""
    host, pid, _ = process.rsplit(" ", 2)
    return host == platform.node() and identify(int(pid)) != process


def _event(kind: str, **values: Any) -> Event:
    return {"event": kind, "time": time.time(), **values}
