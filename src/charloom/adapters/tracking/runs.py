"""A whole result as one run in MLflow: found, or made, or the run of its training completed."""

import hashlib
import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from charloom.adapters.configuration import TrackingConfig, override
from charloom.adapters.files import artifacts
from charloom.adapters.tracking import known
from charloom.adapters.tracking.addresses import Target, without_secrets
from charloom.adapters.tracking.journal import Journal, is_finished, last
from charloom.adapters.tracking.live import origin
from charloom.adapters.tracking.payload import read_payload
from charloom.adapters.tracking.sending import SECONDS_FOR_ANOTHER, Sender, Sent, is_sent
from charloom.adapters.tracking.store import opened
from charloom.core.common.records import Result


@dataclass(frozen=True)
class Recorded:
    """The MLflow run that holds a result; `new` is false where it was there already."""

    run_id: str
    name: str
    uri: str
    new: bool

    def __str__(self) -> str:
        verb = "recorded" if self.new else "already recorded"
        return f"{verb} as {self.name!r}, run {self.run_id} at {self.uri}"


def record(tracking: TrackingConfig, inp: Path, result: Result, *, parent: Path | None = None) -> Recorded:
    """Complete or make the one MLflow run of the result in `inp`, or find it.

    What is recorded is what the stage folders hold, their parameters included; `tracking` says where to, and `parent`
    is the folder of the journal of the run above. Where the training has a journal, its run is the result's. A finished
    run with the tag `charloom.result` under the same parent is that run, and another one is deleted.

    Raises EnvironmentFault where MLflow cannot be written to; the result itself is whole, and recording can
    be repeated. Raises StateError where a file of the result is missing or damaged, or its stages disagree.
    """
    payload, target = read_payload(inp, result), Target.of(tracking)
    folder = known.trained(inp, result.result, payload.parameters)
    if folder is None:
        key = hashlib.sha256(f"{result.result} {parent} {vars(target)}".encode()).hexdigest()[:16]
        folder = known.result_journal(key)
    held, finished = last(folder, "result"), is_finished(folder)
    is_there = held is not None and held["result"] == result.result and finished
    known_already = is_there and is_sent(folder, str(target.address))
    if not is_there:
        journal = Journal(folder)
        if not finished:
            journal.start(target, payload.name, parameters=payload.parameters, tags=origin(), parent=parent)
        journal.result(inp, result.result, artifacts.HISTORY.read(inp))
        if not finished or held is None:
            journal.end("FINISHED")
    hint = f"the result is whole in {inp}; record it later with `{_command(tracking, inp)}`"
    try:
        with opened(tracking, hint) as store:
            sender = Sender(store, target.experiment, folder)
            with sender.closing_on_error():
                sent = sender.send(wait=SECONDS_FOR_ANOTHER)
    except BaseException:
        if Sent.read(folder) is None and folder.parent == known.runs():  # nothing that could be completed has begun
            shutil.rmtree(folder, ignore_errors=True)
        raise
    known.forget(folder)
    return Recorded(str(sent.run_id), sent.name, sent.uri, new=not (sent.found or known_already))


def _command(tracking: TrackingConfig, inp: Path) -> str:
    """What to type to record the result in `inp` to the same place."""
    if "DVC_STAGE" in os.environ:
        return "dvc repro track"
    uri = os.environ.get("MLFLOW_TRACKING_URI") or tracking.uri
    values = {"inp": str(inp), "tracking.uri": uri, "tracking.experiment": tracking.experiment}
    # An address with a password can only come from the environment, and must come from there again.
    given = [override(key, value) for key, value in values.items() if value and without_secrets(value) == value]
    return shlex.join(["python", "-m", "charloom.stages.track", f"tracking={tracking.mode}", *given])
