"""What pruning saves: a full grid of settings against a search that ends trainings early, on the bundled story.

    python benchmarks/search.py [--repetitions 5] [--first-seed 1] [key=value …]

The same space for both: the learning rate and the size of a network of one layer. In each repetition, with a seed of
its own for trainings and search, every point of a grid is trained to its end, and then Optuna's TPE searches what lies
between the grid's limits, with trainings that the median pruner ends early. Updates are counted, not estimated: those
of finished trainings by their metrics, those of pruned ones by the checkpoint at which they ended. Prints a table in
Markdown; overrides key=value go to every training.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

TRAINING = (
    "train.steps=6000", "train.validate_every=500", "train.log_every=500", "train.checkpoint_every=10000",
    "train.sample_every=0", "train.inspect_every=0", "gradcheck.mode=fast", "gradcheck.hidden_size=4",
    "gradcheck.workers=1", "synthesize.length=0", "synthesize.quality_length=0", "tracking=off", "sweep.plot=none",
)  # fmt: skip
GRID = ("optimizer.learning_rate=0.01,0.02,0.05,0.1,0.2,0.5", "model.hidden_size=16,32,48,64")
SPACE = ("optimizer.learning_rate=tag(log, interval(0.01, 0.5))", "model.hidden_size=range(16, 65, 16)")
OPTUNA = ("hydra/sweeper=optuna", "hydra.sweeper.pruner=median")
SWEEPS = {"full grid": GRID, "pruned search": (*OPTUNA, "hydra.sweeper.n_trials=16", *SPACE)}
"""The sweeps by name, each with its overrides; the first is what the other is compared with."""


class Figures(NamedTuple):
    """What a sweep has cost and found: updates, lowest validation loss, finished and pruned trainings."""

    updates: int
    best: float
    finished: int
    pruned: int


def run(overrides: Sequence[str], seed: int, folder: Path) -> Figures:
    """Run a sweep in a project of its own. Ends with the sweep's exit code where it fails."""
    (folder / "data").mkdir(parents=True)
    shutil.copytree(ROOT / "conf", folder / "conf")
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copy(ROOT / "data/corpus.txt", folder / "data")
    command = [sys.executable, "-m", "charloom.experiment", "-m", *TRAINING, f"seed={seed}", *overrides, "out=sweep"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)
    if ended.returncode:
        print(ended.stderr, file=sys.stderr)
        sys.exit(ended.returncode)
    return read(folder)


def read(project: Path) -> Figures:
    """The figures of the one sweep in a project."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in project.glob("sweep/*/job.json")]
    metrics = [json.loads(path.read_text(encoding="utf-8")) for path in project.glob("sweep/*/train/metrics.json")]
    # A training that ended early keeps its work folder, with a checkpoint of its last update.
    checkpoints = [max(folder.glob("checkpoint-*.npz")) for folder in project.glob(".charloom/*/") if folder.is_dir()]
    stopped = [int(path.stem.removeprefix("checkpoint-")) for path in checkpoints]
    if len(metrics) + len(stopped) != len(records):
        sys.exit(
            f"{len(records)} jobs, but {len(metrics)} trainings that finished and {len(stopped)} that were stopped"
        )
    updates = sum(found["steps"] for found in metrics) + sum(stopped)
    best = min(found["validation_nats_per_char"] for found in metrics)
    return Figures(updates, best, len(metrics), len(stopped))


def mean(values: Sequence[float], form: str) -> str:
    """Mean ± standard deviation."""
    sd = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{sd}"


def main() -> None:
    """Run all sweeps in turn, and print their figures beside those of the full grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    found: dict[str, list[Figures]] = {name: [] for name in SWEEPS}
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.repetitions):
        for name, overrides in SWEEPS.items():
            drawn = (f"hydra.sweeper.seed={seed}",) if OPTUNA[0] in overrides else ()
            with TemporaryDirectory(prefix="search-") as temporary:
                figures = run([*overrides, *drawn, *arguments.overrides], seed, Path(temporary) / "project")
            found[name].append(figures)
            print(f"{seed} {name}: {figures}", file=sys.stderr)
    print("| sweep | finished | pruned | updates | of the grid's | lowest loss | above the grid's |")
    print("|---|---|---|---|---|---|---|")
    full = next(iter(found.values()))
    for name, sweeps in found.items():
        updates = [100 * sweep.updates / grid.updates for sweep, grid in zip(sweeps, full, strict=True)]
        above = [100 * (sweep.best / grid.best - 1) for sweep, grid in zip(sweeps, full, strict=True)]
        columns = [mean([getattr(sweep, column) for sweep in sweeps], ".1f") for column in ("finished", "pruned")]
        columns += [mean([sweep.updates for sweep in sweeps], ",.0f"), f"{mean(updates, '.1f')} %"]
        columns += [mean([sweep.best for sweep in sweeps], ".4f"), f"{mean(above, '.2f')} %"]
        print(f"| {name} | {' | '.join(columns)} |")


if __name__ == "__main__":
    main()
