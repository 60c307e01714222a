"""Demonstrates that training survives: killed at random moments and run again, it ends with the same bytes.

    python benchmarks/survival.py [--kills 20] [--corpus PATH] [--steps 20000] [--seed 1]

One training at the reference sizes (m = 100, T = 25) runs undisturbed. Then, once for each kill, the same training is
ended with SIGKILL at a random moment of the time that the undisturbed one took, and run again. Everything happens in a
temporary project. Prints a table, and ends with exit code 1 unless all trainings left the same files.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.project import Project, checkpoint_step  # noqa: E402  (after the path is set)

CHECKPOINT_EVERY = 500
OUT = "artifacts/train"


@dataclass(frozen=True)
class Kill:
    """One training that was killed and run again."""

    seconds: float  # from its start to the kill
    resumed_at: int  # step
    same: bool

    def row(self, number: int) -> str:
        return f"| {number} | {self.seconds:.2f} | {self.resumed_at:,} | {'yes' if self.same else 'NO'} |"


class Trainings:
    """The trainings in a temporary project with a prepared corpus, one at a time."""

    def __init__(self, root: Path, corpus: Path, steps: int) -> None:
        self._project = Project.create(root)
        shutil.copyfile(corpus, self._project.corpus)
        self._overrides = (
            f"out={OUT}",
            f"train.steps={steps}",
            f"train.checkpoint_every={CHECKPOINT_EVERY}",
            f"train.validate_every={steps // 4}",
            f"train.sample_every={steps // 10}",
        )
        self._run("prepare", "out=artifacts/prepare")

    def train(self) -> tuple[float, dict[str, str]]:
        """Train to the end; the seconds that it took, and the hashes of the files that it left."""
        started = time.perf_counter()
        self._run("train", *self._overrides)
        seconds = time.perf_counter() - started
        hashes = self._project.hashes(OUT)
        self.clear()
        return seconds, hashes

    def train_until(self, seconds: float) -> bool:
        """Start a training and kill it after `seconds`; whether it was still running."""
        process = self._start("train", *self._overrides)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        return process.returncode < 0

    def last_step(self) -> int:
        """The step of the newest checkpoint, 0 if there is none."""
        return max(map(checkpoint_step, self._project.checkpoints()), default=0)

    def clear(self) -> None:
        """Delete what a finished training left."""
        shutil.rmtree(self._project.root / OUT)

    def _run(self, stage: str, *overrides: str) -> None:
        process = self._start(stage, *overrides)
        _, errors = process.communicate()
        if process.returncode:
            raise SystemExit(f"{stage} ended with {process.returncode}: {errors.strip()}")

    def _start(self, stage: str, *overrides: str) -> "subprocess.Popen[str]":
        return self._project.start("-m", f"charloom.stages.{stage}", *overrides, stdout=subprocess.DEVNULL)


def kills(
    trainings: Trainings, number: int, seconds: float, expected: dict[str, str], rng: random.Random
) -> Iterator[Kill]:
    """Kill `number` trainings within `seconds` of their start; one that ended before its kill is repeated."""
    while number:
        moment = rng.uniform(0, seconds)
        if not trainings.train_until(moment):
            trainings.clear()
            continue
        step = trainings.last_step()
        yield Kill(moment, step, trainings.train()[1] == expected)
        number -= 1


def main() -> int:
    """Kill and resume, and print what came of it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="trainings that are killed (default: %(default)s)")
    parser.add_argument(
        "--corpus", type=Path, default=ROOT / "data" / "corpus.txt", help="a text in UTF-8 (default: the bundled one)"
    )
    parser.add_argument("--steps", type=int, default=20_000, help="of each training (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.kills < 1:
        parser.error(f"--kills must be 1 or more, got {arguments.kills}")
    if arguments.steps < 10:
        parser.error(f"--steps must be 10 or more, got {arguments.steps}")
    if not arguments.corpus.is_file():
        parser.error(f"--corpus must be a text file, got {arguments.corpus}")

    with tempfile.TemporaryDirectory(prefix="charloom-survival-") as folder:
        trainings = Trainings(Path(folder) / "project", arguments.corpus, arguments.steps)
        seconds, expected = trainings.train()
        print(f"Undisturbed: {arguments.steps:,} steps in {seconds:.1f} s, model.npz {expected['model.npz'][:16]}\n")
        print("| training | killed after, s | resumed at step | same files |\n|---|---|---|---|", flush=True)
        same = 0
        for n, kill in enumerate(
            kills(trainings, arguments.kills, seconds, expected, random.Random(arguments.seed)), start=1
        ):
            print(kill.row(n), flush=True)
            same += kill.same
    print(f"\n{same} of {arguments.kills} identical")
    return 0 if same == arguments.kills else 1


if __name__ == "__main__":
    sys.exit(main())
