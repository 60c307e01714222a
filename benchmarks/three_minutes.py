"""The validation loss that `preset=three-minutes` reaches on a text: mean and spread over several seeds.

    python benchmarks/three_minutes.py CORPUS [--seeds 1,2,3] [key=value …]

The network is trained on the first 90 % of the text and validated on the last 10 %. The trainings run one after the
other, each in a process of its own. They are limited by time, so let the machine do nothing else. Overrides key=value
go to the stages, after the preset. Prints a table in Markdown.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from charloom.adapters.configuration import Config, load  # noqa: E402  (after the path is set)
from charloom.core.common.errors import CharloomError  # noqa: E402

PRESET = "preset=three-minutes"


def run_stage(stage: str, overrides: list[str], **folders: Path) -> None:
    """Run a stage in a process of its own; if it fails, end with its exit code."""
    given = [f"{name}='{folder.as_posix()}'" for name, folder in folders.items()]
    command = [sys.executable, "-m", f"charloom.stages.{stage}", PRESET, *overrides, *given]
    ended = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": "src"}, check=False)
    if ended.returncode:
        sys.exit(ended.returncode)


def characters_read(config: Config, steps: int) -> int:
    """The characters that all streams together have read after `steps` updates."""
    return steps * config.train.seq_length * config.train.batch_size


def row(config: Config, metrics: dict[str, Any]) -> str:
    """A line of the table."""
    steps = metrics["steps"]
    nats = metrics["validation_nats_per_char"]
    return f"| {config.seed} | {steps:,} | {characters_read(config, steps):,} | {nats:.4f} | {metrics['stopped']} |"


def main() -> None:
    """Prepare, train once for each seed, and print the table."""
    parser = argparse.ArgumentParser(description="The validation loss that preset=three-minutes reaches.")
    parser.add_argument("corpus", type=Path, help="a text file")
    parser.add_argument("--seeds", default="1,2,3", help="seeds of the trainings (default: %(default)s)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides, such as train.max_seconds=5")
    given = parser.parse_intermixed_args()
    seeds = given.seeds.split(",")
    if not all(seed.isdecimal() for seed in seeds):
        parser.error(f"--seeds must be whole numbers with commas between them, got {given.seeds!r}")

    shared = [f"data.path='{given.corpus.resolve().as_posix()}'", "data.validation_fraction=0.1", *given.overrides]
    os.chdir(ROOT)  # where the configuration is
    try:
        configs = [load([PRESET, *shared, f"seed={seed}"]) for seed in seeds]
    except CharloomError as error:
        sys.exit(f"three_minutes: {error}")
    (ROOT / "outputs").mkdir(exist_ok=True)
    with TemporaryDirectory(dir=ROOT / "outputs", prefix="three-minutes-") as name:
        folder = Path(name).relative_to(ROOT)
        run_stage("prepare", shared, out=folder / "prepare")
        lines, losses = [], []
        for config in configs:
            out = folder / f"train-{config.seed}"
            run_stage("train", [*shared, f"seed={config.seed}"], inp=folder, out=out)
            metrics = json.loads((out / "metrics.json").read_text(encoding="ascii"))
            if metrics["validation_nats_per_char"] is None:
                sys.exit(f"three_minutes: {given.corpus} is too short to leave validation text; give a longer one")
            losses.append(metrics["validation_nats_per_char"])
            lines.append(row(config, metrics))
    print("| seed | updates | characters read | validation, nats per character | ended by |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    print(*lines, sep="\n")
    spread = f"standard deviation {statistics.stdev(losses):.4f}, " if len(losses) > 1 else ""
    print(f"\nmean {statistics.mean(losses):.4f}, {spread}from {min(losses):.4f} to {max(losses):.4f}")


if __name__ == "__main__":
    main()
