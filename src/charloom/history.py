"""What is kept of a training's course: rows of figures and samples, and the files that are made of them."""

import csv
import json
import math
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from charloom.synthesis import sample
from charloom.training import Training
from charloom.vocabulary import Vocabulary

Row = dict[str, Any]
COLUMNS = ("step", "epoch", "loss", "smooth_loss", "validation_nats_per_char")


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
    with (out / "history.csv").open("w", newline="", encoding="ascii") as file:
        table = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    with (out / "samples.jsonl").open("w", encoding="utf-8") as file:
        for of_step in rows:
            if "sample" in of_step:
                noted = {"step": of_step["step"], "smooth_loss": of_step["smooth_loss"], "text": of_step["sample"]}
                file.write(json.dumps(noted, ensure_ascii=False) + "\n")
    nats_per_char = training.smooth_loss / training.seq_length
    validations = [r["validation_nats_per_char"] for r in rows if "validation_nats_per_char" in r]
    validation = validations[-1] if validations else None
    metrics = {
        "steps": training.step,
        "epochs": training.epoch,
        "loss": training.loss,
        "smooth_loss": training.smooth_loss,
        "nats_per_char": nats_per_char,
        "bits_per_char": nats_per_char / math.log(2),
        "validation_nats_per_char": validation,
        "validation_bits_per_char": None if validation is None else validation / math.log(2),
        "best_step": training.best_step or None,
        "best_validation_nats_per_char": training.best_validation if training.best_step else None,
        "stopped": stopped,
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="ascii")
