"""What networks and n-grams reach on one text, in one table: mean ± standard deviation over seeds, by both protocols.

    python benchmarks/evidence.py CORPUS [--seeds 4,5,6] [--only reference,gru] [key=value …]

Each model learns the first 90 % of the text and predicts the last 10 %: with the state carried through it, and in
windows of 256 characters that each start from a zero state, as nanoGPT does. The trainings run one after the other,
each in a process of its own; those of one seed follow each other, so that a change of the machine's speed meets all
models alike. Most are limited by time: let the machine do nothing else. Overrides key=value go to every training, after
its own. Prints a table in Markdown.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]

MINUTE = ["preset=three-minutes", "train.max_seconds=60"]
MODELS = {
    "reference": [],
    "rnn": [*MINUTE, "model.cell=rnn", "model.init_scale=0.05", "optimizer.learning_rate=0.005"],
    "gru": MINUTE,
    "lstm": [*MINUTE, "model.cell=lstm", "model.init_scale=0.1"],
    "three-minutes": ["preset=three-minutes"],
    "ten-minutes": ["preset=ten-minutes"],
}
"""The models by name, each with its overrides."""


class Scores(NamedTuple):
    """Nats per character on the validation text, by both protocols; a baseline has no windows."""

    carried: float
    windows: float | None
    updates: int | None


def run_stage(stage: str, overrides: Sequence[str], **folders: Path) -> None:
    """Run a stage in a process of its own; if it fails, end with its exit code."""
    given = [f"{name}='{folder.as_posix()}'" for name, folder in folders.items()]
    command = [sys.executable, "-m", f"charloom.stages.{stage}", *overrides, *given]
    environment = {**os.environ, "PYTHONPATH": "src"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=False)
    if ended.returncode:
        sys.exit(ended.returncode)


def read(path: Path) -> Any:
    """The JSON in a file."""
    return json.loads(path.read_text(encoding="utf-8"))


def train(overrides: Sequence[str], prepared: Path, name: str) -> Scores:
    """Train once, and evaluate the best model on the validation text."""
    with TemporaryDirectory(dir=prepared, prefix="of-") as temporary:
        folder = Path(temporary)
        (folder / "prepare").symlink_to(prepared / "prepare")
        run_stage("train", overrides, inp=folder, out=folder / "train")
        run_stage("evaluate", overrides, inp=folder, out=folder / "evaluate")
        scores, updates = read(folder / "evaluate/metrics.json"), read(folder / "train/metrics.json")["steps"]
    found = Scores(*(scores[protocol]["nats_per_char"] for protocol in ("carried", "windows")), updates)
    print(f"{name}, {updates:,} updates: {found.carried:.4f}, in windows {found.windows:.4f}", file=sys.stderr)
    return found


def row(name: str, scores: Sequence[Scores]) -> str:
    """A line of the table: the mean and the standard deviation over the seeds."""
    carried = [found.carried for found in scores]
    windows = [found.windows for found in scores if found.windows is not None]
    updates = [found.updates for found in scores if found.updates is not None]
    mean = statistics.mean(updates) if updates else None
    return f"| {name} | {spread(carried)} | {spread(windows)} | {'–' if mean is None else f'{mean:,.0f}'} |"


def spread(values: Sequence[float]) -> str:
    """The mean of the values, with their standard deviation where there are several."""
    if not values:
        return "–"
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{deviation}"


def main() -> None:
    """Prepare the text, train every model with every seed, and print the table."""
    parser = argparse.ArgumentParser(description="What networks and n-grams reach on one text.")
    parser.add_argument("corpus", type=Path, help="a text file")
    parser.add_argument("--seeds", default="4,5,6", help="seeds of the trainings (default: %(default)s)")
    parser.add_argument("--only", default=",".join(MODELS), help="models, with commas (default: %(default)s)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides, such as train.max_seconds=5")
    given = parser.parse_intermixed_args()
    seeds, chosen = given.seeds.split(","), given.only.split(",")
    if unknown := set(chosen) - MODELS.keys():
        parser.error(f"--only must name models among {', '.join(MODELS)}, got {min(unknown)!r}")

    data = [f"data.path='{given.corpus.resolve().as_posix()}'", "data.validation_fraction=0.1"]
    (ROOT / "outputs").mkdir(exist_ok=True)
    with TemporaryDirectory(dir=ROOT / "outputs", prefix="evidence-") as temporary:
        folder = Path(temporary)
        run_stage("prepare", data, out=folder / "prepare")
        run_stage("baseline", data, inp=folder, out=folder / "baseline")
        baselines = read(folder / "baseline/metrics.json")["models"]
        found: dict[str, list[Scores]] = {name: [] for name in chosen}
        for seed in seeds:
            for name in chosen:
                overrides = [*MODELS[name], *data, f"seed={seed}", *given.overrides]
                found[name].append(train(overrides, folder, f"{name}, seed {seed}"))
    print("| model | nats per character, state carried | in windows of 256 | updates |")
    print("| :--- | ---: | ---: | ---: |")
    for model in baselines:
        print(row(model["name"], [Scores(model["nats_per_char"], None, None)]))
    for name, scores in found.items():
        print(row(name, scores))


if __name__ == "__main__":
    main()
