"""What a sweep costs beside its trainings, and what a second worker saves.

    python benchmarks/sweeps.py overhead [--jobs 20]
    python benchmarks/sweeps.py hundred [--jobs 100] [--workers 2]
    python benchmarks/sweeps.py workers [--jobs 8] [--repetitions 3] [--steps 60000]

`overhead` runs jobs that train for one update, one after the other: what each takes is what a job costs beside its
training. `hundred` runs a sweep with preset=smoke from the first line on the terminal to the last. `workers` runs equal
jobs, which differ in their seed, with one worker of joblib's and with two in turn; each job's BLAS takes one thread.
All are for an idle machine. Prints lines of Markdown.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]


def run(*overrides: str) -> tuple[float, list[float]]:
    """The seconds that a sweep takes in a project of its own, and those of each of its jobs. Ends where it fails."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        shutil.copytree(ROOT / "conf", folder / "conf")
        shutil.copy(ROOT / "params.yaml", folder)
        shutil.copy(ROOT / "data/corpus.txt", folder / "data")
        command = [sys.executable, "-m", "charloom.experiment", "-m", "preset=smoke", "tracking=off", *overrides]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        began = time.monotonic()
        ended = subprocess.run(
            [*command, "out=sweep"], cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
        )
        seconds = time.monotonic() - began
        if ended.returncode:
            print(ended.stderr, file=sys.stderr)
            sys.exit(ended.returncode)
        records = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("sweep/*/job.json")]
        return seconds, [record["ended"] - record["started"] for record in records]


def joblib(workers: int) -> tuple[str, str]:
    """The overrides for so many workers."""
    return "hydra/launcher=joblib", f"hydra.launcher.n_jobs={workers}"


def overhead(jobs: int) -> None:
    """Print what a job costs beside its training."""
    _, seconds = run(f"seed=range({jobs})", "train.steps=1", "sweep.plot=none")
    print(f"a job with one update, {jobs} one after the other: {spread(seconds)}")


def hundred(jobs: int, workers: int) -> None:
    """Print how long a sweep of smoke jobs takes."""
    seconds, _ = run(f"seed=range({jobs})", *joblib(workers))
    print(f"{jobs} jobs with preset=smoke, {workers} at a time: {seconds:.0f} s, the figures of the best included")


def workers(jobs: int, repetitions: int, steps: int) -> None:
    """Print how long equal jobs take with one worker and with two, in turn."""
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(repetitions):
        for number, times in found.items():
            seconds, _ = run(f"seed=range({jobs})", f"train.steps={steps}", "sweep.plot=none", *joblib(number))
            times.append(seconds)
            print(f"{number} at a time: {seconds:.1f} s", file=sys.stderr)
    ratios = [one / two for one, two in zip(found[1], found[2], strict=True)]
    print(f"{jobs} equal jobs of {steps:,} updates on {os.cpu_count()} cores, one BLAS thread each, in turn:")
    print(f"one at a time {spread(found[1])}, two {spread(found[2])}: {spread(ratios, '×')} as fast")


def spread(values: list[float], unit: str = " s") -> str:
    """The median of values with the lowest and the highest."""
    return f"{statistics.median(values):.2f}{unit} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for function, options in (
        (overhead, {"jobs": 20}),
        (hundred, {"jobs": 100, "workers": 2}),
        (workers, {"jobs": 8, "repetitions": 3, "steps": 60_000}),
    ):
        command = commands.add_parser(function.__name__, help=function.__doc__)
        command.set_defaults(function=function)
        for option, default in options.items():
            command.add_argument(f"--{option}", type=int, default=default)
    given = vars(parser.parse_args())
    given.pop("function")(**given)


if __name__ == "__main__":
    main()
