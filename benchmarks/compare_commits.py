"""Whether a change made charloom slower: this tree and another commit, in turns, in one run.

    python benchmarks/compare_commits.py BASE [--only updates,gru,lstm,sampling] [--rounds 15]

BASE is a commit, a tag or a branch; the other side is this working tree, with what is not committed yet. BASE is
checked out into a temporary git worktree, which is removed at the end. Each side is one process with one BLAS thread
that runs its own tree's code (`measured_commit.py`). In every round both sides do the same updates, one right after the
other, and take turns at being first, so that whatever else the machine does meets both. Prints a table in Markdown: the
medians of the rounds, and the ratio of this tree's time to BASE's: the median of the rounds' ratios with its quartiles.
Times are processor time, which a busy machine disturbs less than the clock. A ratio of 1.05 is 5 % slower.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.measured_commit import CASES  # noqa: E402  (after the path is set)

GROUPS = {"updates": ["updates"], "gru": ["gru"], "lstm": ["lstm"], "sampling": ["sampling", "sampling64"]}
SECONDS = 0.3  # of a turn, after its warm-up
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Side(AbstractContextManager["Side"]):
    """A tree and the process that measures its code."""

    def __init__(self, tree: Path, ids: Path, K: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "benchmarks" / "measured_commit.py"), str(tree), str(ids), str(K)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ONE_THREAD,
            start_new_session=True,  # so that Ctrl-C reaches this process alone, which then ends the other
        )

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def seconds(self, name: str, count: int) -> float:
        """How long an update of the case takes, measured over `count` of them."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # of a process that has ended, which shows below
            print(json.dumps([name, count]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"compare_commits: the process that measures {name} has ended; its error stands above")
        return float(answer)


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A temporary git worktree of the commit."""
    with TemporaryDirectory(prefix="charloom-compare-") as folder:
        tree = Path(folder) / "base"
        try:
            git("worktree", "add", "--quiet", "--detach", str(tree), commit, failure=f"{commit} cannot be checked out")
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, capture_output=True)


def git(*arguments: str, failure: str) -> str:
    """The output of a git command in this project; ends the program with the message `failure` where git fails."""
    ended = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"compare_commits: {failure} (git: {ended.stderr.strip()})")
    return ended.stdout.strip()


def write_ids(path: Path) -> int:
    """Write the bundled corpus as ids, the same for both sides; the number of different characters."""
    characters = np.frombuffer((ROOT / "data" / "corpus.txt").read_bytes(), np.uint8)  # ASCII
    vocabulary, ids = np.unique(characters, return_inverse=True)
    np.save(path, ids.astype(np.uint8))
    return len(vocabulary)


def measure(name: str, base: Side, this: Side, rounds: int) -> tuple[list[float], list[float]]:
    """The seconds per update of both sides in each round."""
    count = max(1, round(SECONDS / this.seconds(name, 1)))
    base.seconds(name, 1)
    sides = {"base": base, "this": this}
    times: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(rounds):
        for side in sorted(sides, reverse=number % 2 == 1):
            times[side].append(sides[side].seconds(name, count))
    return times["base"], times["this"]


def row(name: str, base: list[float], this: list[float]) -> str:
    """A line of the table."""
    low, ratio, high = np.quantile(np.divide(this, base), [0.25, 0.5, 0.75])
    milliseconds = " | ".join(f"{1e3 * np.median(times):.3f}" for times in (base, this))
    return f"| {CASES[name].label} | {milliseconds} | {ratio:.3f} | {low:.3f} to {high:.3f} |"


def main() -> None:
    """Measure the cases on both sides, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", metavar="BASE", help="the commit to compare this tree with")
    parser.add_argument("--only", default=",".join(GROUPS), help="cases to measure (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each side (default: %(default)s)")
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error(f"--rounds must be 1 or more, got {given.rounds}")
    if unknown := [group for group in given.only.split(",") if group not in GROUPS]:
        parser.error(f"--only must be names out of {', '.join(GROUPS)}, got {unknown[0]!r}")
    names = [name for group in given.only.split(",") for name in GROUPS[group]]
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))  # so that the worktree is removed
    commit = git(
        "rev-parse",
        "--short",
        "--verify",
        f"{given.base}^{{commit}}",
        failure=f"BASE must be a commit of this repository, got {given.base!r}",
    )
    with TemporaryDirectory(prefix="charloom-ids-") as folder, checked_out(commit) as tree:
        ids = Path(folder) / "ids.npy"
        K = write_ids(ids)
        with Side(tree, ids, K) as base, Side(ROOT, ids, K) as this:
            print(f"| | {commit}, ms | this tree, ms | ratio | its quartiles |\n| --- | ---: | ---: | ---: | ---: |")
            for name in names:
                print(row(name, *measure(name, base, this, given.rounds)), flush=True)
    unit = "for sampling, one portion of 50 characters of every stream"
    print(f"\nProcessor time of one update ({unit}); medians of {given.rounds} rounds. Ratio: this tree / {commit}.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
