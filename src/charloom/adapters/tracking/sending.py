"""A journal's run in MLflow: made, filled and ended as the journal says.

Beside the journal stands how much of it was sent. What is sent twice, after a kill or an answer that never came, counts
once: a point has the time that it has in the journal, a file its name. What a server did late, after it had been given
up, is found and set right. Knows nothing about when something is sent.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from charloom.adapters.files.formats import replacing
from charloom.adapters.tracking import requests
from charloom.adapters.tracking.fingerprint import hash_result
from charloom.adapters.tracking.journal import Event, header, is_gone, last, read
from charloom.adapters.tracking.payload import NOTE_TAG, RESULT_TAG, curves, read_payload
from charloom.adapters.tracking.registry import register_in
from charloom.adapters.tracking.store import Store
from charloom.core.common.errors import CharloomError, EnvironmentFault, StateError
from charloom.core.common.formatting import in_one_line
from charloom.core.common.records import Result

if TYPE_CHECKING:
    from mlflow.entities import Run

ERROR_TAG = "charloom.error"
_SENT, _LOCK = "sent.json", "sent.lock"
_JOURNAL_TAG, _PROCESS_TAG = "charloom.journal", "charloom.process"
_PARENT_TAG = "mlflow.parentRunId"  # MLflow's own tags have no public constants
_ROWS_AT_ONCE = 190  # five points each, and MLflow takes a thousand at once
_MAX_TAG = 5000  # characters that MLflow takes in a tag's value
_END_OF_LOG = 2000  # bytes of a failed job's log that its description shows
_LOST = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the codes of errors about runs that are gone
_JOB_LOG = "job.log"  # beside the folder of a job's journal
SECONDS_FOR_ANOTHER = 120.0
"""How long a command waits for another process that is sending the same journal: one that follows a run, at its end."""


@dataclass(frozen=True)
class Sent:
    """What was sent of a journal, and to where: `offset` bytes of it, to the run with this id.

    `doubtful` where MLflow may have done something without an answer, `gone` where a person has deleted the run, and
    `found` where another run holds the result, whose id this is then. `registered` says which version of a model it is,
    and `problem` why MLflow lacks the files of the result.
    """

    uri: str
    experiment: str
    run_id: str | None = None
    offset: int = 0
    name: str = ""
    doubtful: bool = False
    gone: bool = False
    found: bool = False
    registered: str = ""
    problem: str = ""

    @classmethod
    def read(cls, folder: Path) -> "Sent | None":
        """What was sent of the journal in a folder; None where nothing was."""
        try:
            return cls(**json.loads((folder / _SENT).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


class Busy(EnvironmentFault):
    """Another process is sending the journal."""


def is_sent(folder: Path, uri: str) -> bool:
    """Whether all that the journal has by now was sent to this address."""
    sent = Sent.read(folder)
    return sent is not None and sent.uri == uri and (sent.gone or next(read(folder, sent.offset), None) is None)


class Sender:
    """Sends a journal to an experiment; only one process at a time does so."""

    def __init__(self, store: Store, experiment: str, folder: Path) -> None:
        """Go on where another sender of this journal stopped, if it sent to the same place."""
        self.store, self.client, self.folder = store, store.client, folder
        self._sent = Sent(str(store.address), experiment)

    def send(self, *, wait: float = 0.0) -> Sent:
        """Send all that the journal has by now, once no other process does; Busy is raised after `wait` seconds.

        Raises what MLflow raises, and StateError where a file of the result is missing or damaged.
        """
        try:
            with filelock.FileLock(self.folder / _LOCK, timeout=wait):
                return self._send()
        except filelock.Timeout:
            raise Busy(f"another process is sending {self.folder}; try again when it has ended") from None

    @contextmanager
    def closing_on_error(self) -> Iterator[None]:
        """Leave no run open where the block ends by an exception: nobody may come to complete it."""
        try:
            yield
        except BaseException as error:
            with suppress(Exception):  # the server may be what failed
                self.client.set_terminated(self._run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
            raise

    def _send(self) -> Sent:
        known = Sent.read(self.folder)
        if known and (known.uri, known.experiment) == (self._sent.uri, self._sent.experiment):
            self._sent = known
        new = False
        try:
            for events, offset in _pieces(self.folder, self._sent.offset):
                if self._sent.gone:
                    break
                self._send_piece(events)
                self._note(offset=offset)
                new = True
            if self._sent.doubtful and new:
                self._settle()
        except Exception as error:
            if self._is_lost(error):
                return self._sent if self._sent.gone else self._send()
            self._note(doubtful=True)
            raise
        return self._sent

    def _send_piece(self, events: list[Event]) -> None:
        kind = events[0]["event"]
        if kind == "start":
            self._start(events[0])
        elif self._sent.found or self._sent.run_id is None:
            return  # the run is another one's
        elif kind == "row":
            points = (point for row in events for point in curves(row, self._seq_length()))
            requests.send_batch(self.client, self._run_id, metrics=points)
        elif kind == "log":
            self._log(events[0])
        elif kind == "result":
            self._complete(events[0])
        elif kind == "end":
            self._end(events[0])

    @property
    def _run_id(self) -> str:
        assert self._sent.run_id is not None
        return self._sent.run_id

    def _seq_length(self) -> int:
        """Of a run whose training has begun; a start that was noted for a job that never began has no parameters."""
        starts = (event["parameters"] for event, _ in read(self.folder) if event["event"] == "start")
        return next(int(found["train.seq_length"]) for found in starts if "train.seq_length" in found)

    def _start(self, event: Event) -> None:
        """Make the run, or let it go on."""
        process = {_PROCESS_TAG: event["process"]}
        if self._sent.run_id is None:
            self._create(event)
        else:
            self.client.update_run(self._run_id, status="RUNNING")
            for tag in {ERROR_TAG, NOTE_TAG} & self.client.get_run(self._run_id).data.tags.keys():
                self.client.delete_tag(self._run_id, tag)
        requests.send_parameters(self.client, self._run_id, event["parameters"])
        requests.send_batch(self.client, self._run_id, tags=process)

    def _create(self, event: Event) -> None:
        run_id = next((run.info.run_id for run in self._own_runs()), None) if self._sent.doubtful else None
        if run_id is None:
            doubtful = self._sent.doubtful
            self._note(doubtful=True)  # until the answer is here
            first = header(self.folder)
            tags = {_JOURNAL_TAG: first["id"], **first["tags"]}
            if first["parent"]:
                tags[_PARENT_TAG] = self._parent(self.folder / first["parent"])
            start = int(event["time"] * 1000)
            run = self.client.create_run(self.store.experiment_id, start, tags=tags, run_name=event["name"])
            run_id = run.info.run_id
            self._note(doubtful=doubtful)
        self._note(run_id=run_id, name=event["name"])

    def _parent(self, folder: Path) -> str:
        """The id of the run above, which is sent first if need be."""
        sent = Sent.read(folder)
        if sent is None or sent.uri != self._sent.uri or sent.run_id is None:
            sent = Sender(self.store, self._sent.experiment, folder).send()
        assert sent.run_id is not None
        return sent.run_id

    def _own_runs(self) -> "list[Run]":
        """The runs of this journal; more than one where a server made one after it had been given up."""
        own = f"tags.`{_JOURNAL_TAG}` = '{header(self.folder)['id']}'"
        return list(self.client.search_runs([self.store.experiment_id], own))

    def _log(self, event: Event) -> None:
        requests.send_batch(
            self.client,
            self._run_id,
            metrics=[(name, value, 0, event["time"]) for name, value in event.get("metrics", {}).items()],
            tags={name: value[:_MAX_TAG] for name, value in event.get("tags", {}).items()},
        )
        requests.send_parameters(self.client, self._run_id, event.get("parameters", {}))
        for path, place in event.get("files", []):
            if (self.folder / path).is_file():
                self.client.log_artifact(self._run_id, str(self.folder / path), place or None)
        for name, rows in event.get("tables", {}).items():
            requests.send_table(self.client, self._run_id, rows, name)
        if name := event.get("name"):
            self._rename(name)

    def _complete(self, event: Event) -> None:
        """Let the run hold the result; if another one does already, that is the run of this journal from now on."""
        if event != last(self.folder, "result"):  # a sweep's best job has pages at the sweep's end
            return
        inp = (self.folder / event["folder"]).resolve()
        try:
            result = hash_result(inp)
            payload = read_payload(inp, result)
            if result.result != event["result"]:
                raise StateError(f"{inp} must hold the result that was to be recorded, got another one")
        except CharloomError as error:
            self._note(problem=str(error))
            return
        self._note(problem="")
        with self.store.locked():
            other = self._holder(result.result)
            if other is None:
                self.client.set_tag(self._run_id, RESULT_TAG, result.result)
        if other is not None:
            self.client.delete_run(self._run_id)
            self._note(run_id=other.info.run_id, name=other.info.run_name or "", found=True)
            self._register(event["register"], inp, result)
            return
        # Figures, too, are to be there once where the result grows, or is sent by another process.
        first = next(event for event in _events(self.folder) if event["event"] == "result")
        requests.send_payload(self.client, self._run_id, payload, first["time"])
        self._rename(payload.name)
        self._register(event["register"], inp, result)

    def _register(self, name: str | None, inp: Path, result: Result) -> None:
        if name:
            with self.store.locked():
                self._note(registered=register_in(self.store, self._run_id, inp, result, name))

    def _holder(self, result: str) -> "Run | None":
        """Another run that holds the result, under the same parent; one that a kill left half-way is deleted."""
        found = self.client.search_runs([self.store.experiment_id], f"tags.`{RESULT_TAG}` = '{result}'")
        parent = self.client.get_run(self._run_id).data.tags.get(_PARENT_TAG)
        others = [run for run in found if run.info.run_id != self._run_id and run.data.tags.get(_PARENT_TAG) == parent]
        for run in sorted(others, key=lambda run: run.info.status != "FINISHED"):  # finished ones first
            process = run.data.tags.get(_PROCESS_TAG)
            if run.info.status == "FINISHED" or (run.info.status == "RUNNING" and process and not is_gone(process)):
                return run
            self.client.delete_run(run.info.run_id)
        return None

    def _end(self, event: Event) -> None:
        log = self.folder.parent / _JOB_LOG
        if log.is_file():
            self.client.log_artifact(self._run_id, str(log))
        if event["status"] != "FINISHED" and event["message"]:
            lines = [in_one_line(event["message"]), *_last_lines(log)]
            note = "\n".join(f"    {line}" for line in lines)  # indented: of code, Markdown shows every character
            tags = {ERROR_TAG: event["message"][:_MAX_TAG], NOTE_TAG: note[:_MAX_TAG]}
            requests.send_batch(self.client, self._run_id, tags=tags)
        self.client.set_terminated(self._run_id, event["status"], int(event["time"] * 1000))

    def _rename(self, name: str) -> None:
        self.client.update_run(self._run_id, name=name)
        self._note(name=name)

    def _settle(self) -> None:
        """Delete what a server made late, and give the run its end again."""
        for run in self._own_runs():
            if run.info.run_id != self._run_id:
                self.client.delete_run(run.info.run_id)
        last = next((event for event in reversed([*_events(self.folder)]) if event["event"] in ("start", "end")), None)
        if last and not self._sent.found:
            if last["event"] == "end":
                self.client.set_terminated(self._run_id, last["status"], int(last["time"] * 1000))
            else:
                self.client.update_run(self._run_id, status="RUNNING")

    def _is_lost(self, error: Exception) -> bool:
        """Whether an error is that of a run which MLflow no longer has.

        A run that a person has deleted is `gone`. One that the server does not know, because its database was lost, is
        forgotten, and can be made anew.
        """
        from mlflow.exceptions import MlflowException

        if self._sent.run_id is None or getattr(error, "error_code", None) not in _LOST:
            return False
        try:
            gone = self.client.get_run(self._run_id).info.lifecycle_stage != "active"
        except MlflowException as reason:
            if reason.error_code == "RESOURCE_DOES_NOT_EXIST":
                self._note(run_id=None, offset=0)
                return True
            return False
        if gone:
            self._note(gone=True)
        return gone

    def _note(self, **changes: Any) -> None:
        self._sent = replace(self._sent, **changes)
        with replacing(self.folder / _SENT) as file:
            file.write(json.dumps(asdict(self._sent), indent=2).encode())


def _pieces(folder: Path, offset: int) -> Iterator[tuple[list[Event], int]]:
    """The events from a byte on as they are sent, rows together, each with the byte after them."""
    for kind, group in groupby(read(folder, offset), key=lambda found: found[0]["event"]):
        while piece := list(islice(group, _ROWS_AT_ONCE if kind == "row" else 1)):
            yield [event for event, _ in piece], piece[-1][1]


def _events(folder: Path) -> Iterable[Event]:
    return (event for event, _ in read(folder))


def _last_lines(log: Path) -> list[str]:
    """The last lines of a job's log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _END_OF_LOG))
            return ["", *(in_one_line(line) for line in file.read().decode(errors="replace").splitlines())]
    except OSError:
        return []
