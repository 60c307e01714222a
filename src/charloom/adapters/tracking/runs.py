"""The run of a result in MLflow: found, or made and filled."""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charloom.adapters.configuration import TrackingConfig, override, project_root
from charloom.adapters.tracking.payload import RESULT_TAG, Payload, as_text, read_payload
from charloom.adapters.tracking.store import Store, opened, without_secrets
from charloom.core.common.records import Result

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PARENT_TAG = "mlflow.parentRunId"  # MLflow's own tags have no public constants


@dataclass(frozen=True)
class Recorded:
    """The MLflow run that holds a result; `new` is false where it was there already."""

    run_id: str
    name: str
    uri: str
    new: bool


def record(tracking: TrackingConfig, inp: Path, result: Result, *, parent: str | None = None) -> Recorded | None:
    """Make the one MLflow run of the result in `inp`, or find it.

    What is recorded is what the stage folders hold, their parameters included; `tracking` says where to. A finished run
    with the tag `charloom.result` under the same `parent` is that run, and nothing is written. One that was left
    unfinished, by a kill half-way, is deleted and made anew. None where tracking is off.

    Raises EnvironmentFault where MLflow cannot be written to; the result itself is whole, and recording can
    be repeated. Raises StateError where a file of the result is missing or damaged, or its stages disagree.
    """
    if tracking.mode == "off":
        return None
    payload = read_payload(inp, result)
    with opened(tracking, f"the result is whole in {inp}; record it later with `{_command(tracking, inp)}`") as store:
        found = store.client.search_runs([store.experiment_id], f"tags.`{RESULT_TAG}` = '{result.result}'")
        same = [run for run in found if run.data.tags.get(_PARENT_TAG) == parent]
        for run in sorted(same, key=lambda run: run.info.status != "FINISHED"):  # finished ones first
            if run.info.status == "FINISHED":
                return Recorded(run.info.run_id, run.info.run_name or "", str(store.address), new=False)
            store.client.delete_run(run.info.run_id)
        run_id = create_run(store, payload.name, payload.tags, parent)
        with ended_run(store, run_id, "FINISHED"):
            _send(store.client, run_id, payload)
        return Recorded(run_id, payload.name, str(store.address), new=True)


def _command(tracking: TrackingConfig, inp: Path) -> str:
    """What to type to record the result in `inp` to the same place."""
    if "DVC_STAGE" in os.environ:
        return "dvc repro track"
    uri = os.environ.get("MLFLOW_TRACKING_URI") or tracking.uri
    values = {"inp": str(inp), "tracking.uri": uri, "tracking.experiment": tracking.experiment}
    # An address with a password can only come from the environment, and must come from there again.
    given = [override(key, value) for key, value in values.items() if value and without_secrets(value) == value]
    return shlex.join(["python", "-m", "charloom.stages.track", f"tracking={tracking.mode}", *given])


def create_run(store: Store, name: str, tags: dict[str, str], parent: str | None = None) -> str:
    """The id of a new run under `parent`, to be ended by `ended_run`; it is tagged with where it comes from."""
    origin = {"mlflow.source.name": "charloom", "mlflow.source.type": "LOCAL"} | _git_tags()
    if parent is not None:
        origin[_PARENT_TAG] = parent
    return str(store.client.create_run(store.experiment_id, tags=tags | origin, run_name=name).info.run_id)


@contextmanager
def ended_run(store: Store, run_id: str, status: str) -> Iterator[None]:
    """End a run with `status` after the block, or as failed or killed where the block does not end well."""
    try:
        yield
        store.client.set_terminated(run_id, status)
    except BaseException as error:
        with suppress(Exception):  # the server may be what failed
            store.client.set_terminated(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise


def send_parameters(client: "MlflowClient", run_id: str, parameters: dict[str, str]) -> None:
    """Send parameters, all at once."""
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(key, value) for key, value in parameters.items()], synchronous=True)


def send_table(client: "MlflowClient", run_id: str, rows: Sequence[Mapping[str, object]], name: str) -> None:
    """Send rows as the table `name`; where a row lacks a column, its cell is empty."""
    columns = dict.fromkeys(column for row in rows for column in row)
    if columns:
        # As text: of numbers, log_table keeps ten decimals, and 1e-12 becomes 0.
        client.log_table(run_id, {key: [as_text(row.get(key, "")) for row in rows] for key in columns}, name)


def _git_tags() -> dict[str, str]:
    """The commit and whether the tree differs from it, where git is there."""
    git = ["git", "-C", str(project_root()), "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    files = ["--", ".", ":!dvc.lock"]  # dvc.lock is DVC's own record of the run that is under way
    try:
        ended = subprocess.run([*git, *files], capture_output=True, check=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return {}
    # "# branch.oid <commit>", more headers, and a line for each changed file.
    commit, *lines = ended.stdout.splitlines()
    if commit.endswith("(initial)"):  # nothing is committed yet
        return {}
    dirty = any(not line.startswith("#") for line in lines)
    return {"mlflow.source.git.commit": commit.split()[-1], "charloom.git_dirty": "true" if dirty else "false"}


def _send(client: "MlflowClient", run_id: str, payload: Payload) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric

    send_parameters(client, run_id, payload.parameters)
    # One time for all points: they carry their steps, and a batch that is sent twice then changes nothing.
    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, step) for name, value, step in payload.metrics]
    client.log_batch(run_id, metrics, synchronous=True)
    send_table(client, run_id, payload.error_rows, "gradcheck/relative_errors.json")
    for path, folder in payload.artifacts:
        client.log_artifact(run_id, str(path), folder)
    for name, text in payload.samples.items():
        client.log_text(run_id, text, name)
    profile = asdict(payload.corpus)
    path, sha256 = profile.pop("path"), profile.pop("sha256")
    source = json.dumps({"uri": path})
    dataset = Dataset(Path(path).name, sha256[:16], "local", source, profile=json.dumps(profile))
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
