"""Requests to MLflow that may be repeated: what they send is there once, however often they are sent."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from charloom.adapters.tracking.payload import Payload, as_text

if TYPE_CHECKING:
    from mlflow import MlflowClient

Point = tuple[str, float, int, float]  # a metric's name, its value, the training step, seconds

_TABLES_TAG = "mlflow.loggedArtifacts"


def send_batch(
    client: "MlflowClient", run_id: str, *, metrics: Iterable[Point] = (), tags: Mapping[str, str] | None = None
) -> None:
    """Send points and tags."""
    from mlflow.entities import Metric, RunTag

    client.log_batch(
        run_id,
        [Metric(name, value, int(seconds * 1000), step) for name, value, step, seconds in metrics],
        tags=[RunTag(key, value) for key, value in (tags or {}).items()],
        synchronous=True,
    )


def send_parameters(client: "MlflowClient", run_id: str, parameters: Mapping[str, str]) -> None:
    """Send the parameters that the run does not have yet: those that it has cannot change."""
    from mlflow.entities import Param

    has = client.get_run(run_id).data.params
    new = [Param(key, value) for key, value in parameters.items() if key not in has]
    client.log_batch(run_id, params=new, synchronous=True)


def send_table(client: "MlflowClient", run_id: str, rows: Sequence[Mapping[str, object]], name: str) -> None:
    """Send rows as the table `name`; where a row lacks a column, its cell is empty.

    As `log_table` does, which adds to a table that is there. Numbers are sent as text: of 1e-12, the page shows 0.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = {"columns": columns, "data": [[as_text(row.get(column, "")) for column in columns] for row in rows]}
    client.log_text(run_id, json.dumps(table), name)
    tables = json.loads(client.get_run(run_id).data.tags.get(_TABLES_TAG, "[]"))
    if (entry := {"path": name, "type": "table"}) not in tables:
        client.set_tag(run_id, _TABLES_TAG, json.dumps([*tables, entry]))


def send_payload(client: "MlflowClient", run_id: str, payload: Payload, seconds: float) -> None:
    """Send a whole result but the curves of its training; all points have the same time."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    points = [(name, value, step, seconds) for name, value, step in payload.metrics]
    send_parameters(client, run_id, payload.parameters)
    send_batch(client, run_id, metrics=points, tags=payload.tags)
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
