"""A sweep's folder as its jobs leave one, made up, for tests of its summary and page."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from charloom.adapters.configuration import flatten, override
from charloom.adapters.files import artifacts
from charloom.adapters.sweeps.records import JobRecord, Status
from charloom.adapters.tracking.payload import as_text
from charloom.core.common.records import HistoryRow, Result, Sample, TrainingMetrics
from tests.results import EVALUATION, make_config, seal

SEQ_LENGTH = 25
ROWS = 200  # of each history


def parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of params.yaml with these instead of some."""
    return flatten(make_config().parameters()) | dict(values)


def add_job(
    sweep: Path,
    number: int,
    values: Mapping[str, Any],
    loss: float | None,
    *,
    status: Status = "finished",
    message: str = "",
    sample: str = "the fox",
    overrides: tuple[str, ...] | None = None,
) -> Path:
    """A job with these values that ended at a validation loss of so many nats per character, and its folder.

    Without a loss, nothing was validated. A job that has not finished has its parameters and its record alone.
    """
    folder = sweep / str(number)
    typed = tuple(map(_override, values, values.values())) if overrides is None else overrides
    artifacts.PARAMETERS["train"].write(folder / "train", parameters(values))
    if status == "finished":
        _train(folder / "train", loss, sample)
        artifacts.EVALUATION.write(folder / "evaluate", EVALUATION)
        artifacts.RESULT.write(folder / "track", Result("0" * 64, {}))
    seal(folder)
    code = 0 if status == "finished" else 1
    JobRecord(number, typed, status, 1000.0, 1012.5, code, message).write(folder)
    return folder


def _override(key: str, value: object) -> str:
    return override(key, value) if isinstance(value, str) else f"{key}={as_text(value)}"


def _train(out: Path, loss: float | None, sample: str) -> None:
    final = 2.0 if loss is None else loss
    history = []
    for row in range(1, ROWS + 1):
        smooth = SEQ_LENGTH * (final + 2.0 * math.exp(-row / 20))
        validated = loss is not None and row % 20 == 0
        validation = final + 1.5 * (math.exp(-row / 30) - math.exp(-ROWS / 30)) if validated else None
        history.append(HistoryRow(100 * row, 0, smooth, smooth, validation))
    artifacts.HISTORY.write(out, history)
    artifacts.SAMPLES.write(out, [Sample(1, 100.0, "zqx"), Sample(100 * ROWS, smooth, sample)])
    nats = smooth / SEQ_LENGTH
    metrics = TrainingMetrics(
        steps=100 * ROWS,
        epochs=1,
        loss=smooth,
        smooth_loss=smooth,
        nats_per_char=nats,
        bits_per_char=nats / math.log(2),
        validation_nats_per_char=loss,
        validation_bits_per_char=None if loss is None else loss / math.log(2),
        best_step=None if loss is None else 100 * ROWS,
        best_validation_nats_per_char=loss,
        stopped="steps",
    )
    artifacts.METRICS.write(out, metrics)
