"""The run of a result in MLflow: found, or made and filled."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from charloom.adapters.configuration import Config, project_root
from charloom.adapters.tracking.payload import RESULT_TAG, Payload, as_text, read_payload
from charloom.adapters.tracking.store import Store, opened
from charloom.core.common.records import Result

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_PARENT_TAG = "mlflow.parentRunId"  # MLflow's own tags have no public constants
_MAX_METRICS = 1000  # that MLflow takes at once
_MAX_PARAMETERS = 100


@dataclass(frozen=True)
class Recorded:
    """The MLflow run that holds a result; `new` is false where it was there already."""

    run_id: str
    name: str
    uri: str
    new: bool


def record(config: Config, inp: Path, result: Result, *, parent: str | None = None) -> Recorded | None:
    """Make the one MLflow run of the result in `inp`, or find it.

    A finished run with the tag `charloom.result` under the same `parent` is that run, and nothing is written.
    One that was left unfinished, by a kill half-way, is deleted and made anew. None where tracking is off.

    Raises EnvironmentFault where MLflow cannot be written to; the result itself is whole, and recording can
    be repeated. Raises StateError where a file of the result is missing or damaged.
    """
    if config.tracking.mode == "off":
        return None
    payload = read_payload(config, inp, result)
    again = "dvc repro track" if "DVC_STAGE" in os.environ else f"python -m charloom.stages.track inp={inp}"
    with opened(config.tracking, f"the result is whole in {inp}; record it later with `{again}`") as store:
        for run in _find_runs(store, result, parent):
            if run.info.status == "FINISHED":
                return Recorded(run.info.run_id, run.info.run_name or "", str(store.address), new=False)
            store.client.delete_run(run.info.run_id)
        run = create_run(store, payload.name, payload.tags, parent)
        with ended_run(store, run.info.run_id, "FINISHED"):
            _send(store.client, run, payload)
        return Recorded(run.info.run_id, payload.name, str(store.address), new=True)


def create_run(store: Store, name: str, tags: dict[str, str], parent: str | None = None) -> "Run":
    """A run under `parent`, to be ended by `ended_run`; it is tagged with where it comes from."""
    return store.client.create_run(store.experiment_id, tags=tags | _origin_tags(parent), run_name=name)


@contextmanager
def ended_run(store: Store, run_id: str, status: str) -> Iterator[None]:
    """End a run with `status` after the block, or as failed or killed where the block does not end well."""
    try:
        yield
        store.client.set_terminated(run_id, status)
    except BaseException as error:
        before = os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"  # once: the server may be what failed
        with suppress(Exception):
            store.client.set_terminated(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = before
        raise


def send_parameters(client: "MlflowClient", run_id: str, parameters: dict[str, str]) -> None:
    """Send parameters in batches that MLflow takes."""
    from mlflow.entities import Param

    params = (Param(key, value) for key, value in parameters.items())
    while batch := list(islice(params, _MAX_PARAMETERS)):
        client.log_batch(run_id, params=batch, synchronous=True)


def send_table(client: "MlflowClient", run_id: str, rows: Sequence[Mapping[str, object]], name: str) -> None:
    """Send rows as the table `name`; where a row lacks a column, its cell is empty."""
    columns = dict.fromkeys(column for row in rows for column in row)
    if columns:
        # As text: of numbers, log_table keeps ten decimals, and 1e-12 becomes 0.
        client.log_table(run_id, {key: [as_text(row.get(key, "")) for row in rows] for key in columns}, name)


def _origin_tags(parent: str | None) -> dict[str, str]:
    """Where a run comes from: its parent; the commit and whether the tree differs, where git is there."""
    tags = {"mlflow.source.name": "charloom", "mlflow.source.type": "LOCAL"}
    if parent is not None:
        tags[_PARENT_TAG] = parent
    try:
        commit = _git("rev-parse", "--verify", "HEAD").strip()
        # dvc.lock is DVC's own record of the run that is under way.
        changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock").strip()
    except (OSError, subprocess.SubprocessError):
        return tags
    return tags | {"mlflow.source.git.commit": commit, "charloom.git_dirty": "true" if changes else "false"}


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(project_root()), *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=10).stdout


def _find_runs(store: Store, result: Result, parent: str | None) -> list["Run"]:
    """The runs of a result under the same parent; finished ones first."""
    runs = store.client.search_runs([store.experiment_id], f"tags.`{RESULT_TAG}` = '{result.result}'")
    same = [run for run in runs if run.data.tags.get(_PARENT_TAG) == parent]
    return sorted(same, key=lambda run: run.info.status != "FINISHED")


def _send(client: "MlflowClient", run: "Run", payload: Payload) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric

    run_id = run.info.run_id
    send_parameters(client, run_id, payload.parameters)
    # One time for all points: they carry their steps, and a batch that is sent twice then changes nothing.
    points = (Metric(name, value, run.info.start_time, step) for name, value, step in payload.metrics)
    while batch := list(islice(points, _MAX_METRICS)):
        client.log_batch(run_id, metrics=batch, synchronous=True)
    send_table(client, run_id, payload.error_rows, "gradcheck/relative_errors.json")
    for path, folder in payload.artifacts:
        client.log_artifact(run_id, str(path), folder)
    for name, text in payload.samples.items():
        client.log_text(run_id, text, name)
    profile = asdict(payload.corpus)
    path, sha256 = profile.pop("path"), profile.pop("sha256")
    dataset = Dataset(
        name=Path(path).name,
        digest=sha256[:16],
        source_type="local",
        source=json.dumps({"uri": path}),
        profile=json.dumps(profile),
    )
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
