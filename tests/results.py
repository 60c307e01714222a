"""A small project with a result folder as the stages leave one, for tests of what reads it."""

import csv
import hashlib
import json
import math
import shutil
from pathlib import Path

import numpy as np
import yaml

from charloom.adapters.configuration import Config, TrackingConfig

_ROOT = Path(__file__).parents[1]
TENSORS = ("U", "W", "V", "b", "c")
ROWS = 300  # of the history; with their bits, more points than MLflow takes at once
SEQ_LENGTH = 25
# A picture of one pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc00000030101"
    "00c9fe92ef0000000049454e44ae426082"
)


def make_project(folder: Path) -> Path:
    """Give `folder` this project's configuration, and return it."""
    shutil.copytree(_ROOT / "conf", folder / "conf")
    shutil.copy(_ROOT / "params.yaml", folder)
    return folder


def make_config(tracking: TrackingConfig | None = None, *, learning_rate: float = 0.1) -> Config:
    """The values of params.yaml, and the rate."""
    values = yaml.safe_load((_ROOT / "params.yaml").read_text(encoding="utf-8"))
    values["optimizer"]["learning_rate"] = learning_rate
    values["tracking"] = tracking or {"mode": "sqlite", "uri": None, "experiment": "charloom"}
    return Config.model_validate(values | {"inp": "artifacts", "out": "outputs"})


def make_result(folder: Path) -> Path:
    """Fill `folder` with the files of every stage, and return it."""
    for stage in ("prepare", "gradcheck", "train", "synthesize", "plot"):
        (folder / stage).mkdir(parents=True)
    text = "the quick brown fox\n" * 50
    _json(folder / "prepare/vocabulary.json", sorted(set(text)))
    np.save(folder / "prepare/ids.npy", np.zeros(len(text), np.uint8))
    summary = {"path": "data/corpus.txt", "encoding": "utf-8", "newline": "universal"}
    summary["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    counts = {"characters": 1000, "vocabulary_size": 18, "train_characters": 900, "validation_characters": 100}
    _json(folder / "prepare/summary.json", summary | counts)
    _gradcheck(folder / "gradcheck")
    _train(folder / "train")
    (folder / "synthesize/sample.txt").write_text("the brown\nfôx quick " * 20, encoding="utf-8")
    _json(folder / "synthesize/metrics.json", {"known_words": 0.875, "distinct_characters": 18})
    for name in ("loss", "gradcheck", "step_sweep", "samples"):
        (folder / f"plot/{name}.png").write_bytes(PNG)
    (folder / "plot/report.html").write_text("<!doctype html><title>report</title><p>All of it.</p>", encoding="utf-8")
    return folder


def _gradcheck(folder: Path) -> None:
    def errors(scale: float) -> dict[str, dict[str, object]]:
        return {
            tensor: {
                "max_absolute_error": scale * 1e-3 * (1 + place / 7),
                "max_relative_error": scale * (1 + place / 3),
                "max_scaled_error": scale * 1e-2,
                "entries": 100 * (1 + place),
                "exact_zeros": place,
                "worst": {"index": [place, 0]},
            }
            for place, tensor in enumerate(TENSORS)
        }

    checks = {
        weights: {"central": errors(2.71e-7 * factor), "complex_step": errors(4.4e-14 * factor)}
        for weights, factor in (("initial", 1), ("large", 3))
    }
    whole = {"passed": True, "step": 1e-5, "threshold": 1e-9, **checks["initial"], "large_weights": checks["large"]}
    _json(folder / "errors.json", whole)
    figures = ("max_absolute_error", "max_relative_error", "max_scaled_error", "entries", "exact_zeros")
    with (folder / "errors.csv").open("w", newline="", encoding="ascii") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("weights", "method", "tensor", *figures))
        for weights, methods in checks.items():
            for method, tensors in methods.items():
                for tensor, found in tensors.items():
                    rows.writerow((weights, method, tensor, *(found[figure] for figure in figures)))
    (folder / "step_sweep.csv").write_text("method,step,tensor,max_relative_error\ncentral,1e-05,W,2.7e-07\n")


def _train(folder: Path) -> None:
    np.savez(folder / "model.npz", W=np.eye(3))
    smooth_loss = 0.0
    with (folder / "history.csv").open("w", newline="", encoding="ascii") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("step", "epoch", "loss", "smooth_loss", "validation_nats_per_char"))
        for row in range(1, ROWS + 1):
            smooth_loss = 38.2 + 34 * math.exp(-row / 60)
            validation = smooth_loss / SEQ_LENGTH + 0.1 if row % 100 == 0 else ""
            rows.writerow((100 * row, row // 90, smooth_loss + math.sin(row), smooth_loss, validation))
    with (folder / "samples.jsonl").open("w", encoding="utf-8") as file:
        for step in (1, 10_000, 20_000, 30_000):
            sample = {"step": step, "smooth_loss": 40.0, "text": f"at {step}\nthe fôx\u2028quick"}
            file.write(json.dumps(sample, ensure_ascii=False) + "\n")
    metrics = {
        "steps": 30_000,
        "epochs": 3,
        "smooth_loss": smooth_loss,
        "validation_nats_per_char": None,
        "stopped": "steps",
    }
    _json(folder / "metrics.json", metrics)


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
