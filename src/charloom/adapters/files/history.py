"""What is kept of a training's course: rows of figures and samples, and the files that are made of them."""

import math
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from charloom.adapters.files import artifacts
from charloom.core.common.records import HistoryRow, Sample, TrainingMetrics
from charloom.core.network.sampling import sample
from charloom.core.text.vocabulary import Vocabulary
from charloom.core.training.training import Training

Row = dict[str, Any]


def row(training: Training, validation: float | None = None, text: str | None = None) -> Row:
    """What is said of the step that was just done; the validation loss and the sample where there are any."""
    found: Row = {"step": training.step, "epoch": training.epoch}
    found |= {"loss": training.loss, "smooth_loss": training.smooth_loss}
    if validation is not None:
        found["validation_nats_per_char"] = validation
    if text is not None:
        found["sample"] = text
    return found


def sample_text(training: Training, vocabulary: Vocabulary, length: int, *, rng: np.random.Generator) -> str:
    """What the network writes from where the first stream is now."""
    drawn = sample(training.network, [training.next_id], training.state[:, :, :1], rng=rng)
    return vocabulary.decode(int(ids[0]) for ids in islice(drawn, length))


def write(out: Path, rows: list[Row], training: Training, stopped: str | None) -> None:
    """Write history.csv, samples.jsonl and metrics.json, which says what the end was and why it `stopped`."""
    names = [field.name for field in fields(HistoryRow)]
    artifacts.HISTORY.write(out, [HistoryRow(**{name: row.get(name) for name in names}) for row in rows])  # type: ignore[arg-type]
    written = [Sample(row["step"], row["smooth_loss"], row["sample"]) for row in rows if "sample" in row]
    artifacts.SAMPLES.write(out, written)
    nats_per_char = training.smooth_loss / training.seq_length
    validations = [r["validation_nats_per_char"] for r in rows if "validation_nats_per_char" in r]
    validation = validations[-1] if validations else None
    metrics = TrainingMetrics(
        steps=training.step,
        epochs=training.epoch,
        loss=training.loss,
        smooth_loss=training.smooth_loss,
        nats_per_char=nats_per_char,
        bits_per_char=nats_per_char / math.log(2),
        validation_nats_per_char=validation,
        validation_bits_per_char=None if validation is None else validation / math.log(2),
        best_step=training.best_step or None,
        best_validation_nats_per_char=training.best_validation if training.best_step else None,
        stopped=stopped,
    )
    artifacts.METRICS.write(out, metrics)
