"""One side of `compare_commits.py`: a process that measures the code of one tree, whenever it is its turn.

    python benchmarks/measured_commit.py TREE IDS K

TREE is a checkout of charloom, IDS a file of ids (.npy) of K different characters. Each line of the input is a case and
a number of updates, as JSON; each line of the output is the processor time of one of them in seconds. Ends with its
input. TREE may be of any age that has `benchmarks.tasks.Task` and the two contenders named in `CASES`.
"""

import importlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

# Seconds of updates before those that are timed: a process that has waited finds its core's clock slow and its cache
# full of another's data.
WARM_UP = 0.2


@dataclass(frozen=True)
class Case:
    """Something to measure: a contender of `benchmarks.contenders`, and its task."""

    label: str
    contender: str
    task: Mapping[str, Any] = field(default_factory=dict)


_ADAM = {"optimizer": "adam", "learning_rate": 1e-3, "epsilon": 1e-8, "clip_value": None, "init_scale": 0.05}
_WIDE = {"dtype": "float32", "T": 64, "B": 32, **_ADAM}

# By name; several cases may go by one name on the command line.
CASES = {
    "updates": Case("rnn, m = 100, T = 25, B = 1, float64, AdaGrad", "charloom_updates"),
    "gru": Case("gru, m = 384, T = 64, B = 32, float32, Adam", "charloom_updates", {"cell": "gru", "m": 384, **_WIDE}),
    "lstm": Case(
        "lstm, m = 256, T = 64, B = 32, float32, Adam", "charloom_updates", {"cell": "lstm", "m": 256, **_WIDE}
    ),
    "sampling": Case("sampling, 1 stream, m = 100, float64", "charloom_sampling"),
    "sampling64": Case("sampling, 64 streams, m = 100, float64", "charloom_sampling", {"B": 64}),
}


def main() -> None:
    """Answer the input line by line."""
    tree, ids, K = Path(sys.argv[1]).resolve(), sys.argv[2], int(sys.argv[3])
    sys.path[:0] = [str(tree), str(tree / "src")]
    tasks, contenders = (importlib.import_module(f"benchmarks.{name}") for name in ("tasks", "contenders"))
    for module in (tasks, contenders, sys.modules["charloom"]):
        if not Path(module.__file__).is_relative_to(tree):
            sys.exit(f"measured_commit: {module.__name__} must come from {tree}, got {module.__file__}")
    running: dict[str, Iterator[float]] = {}
    with threadpool_limits(1):
        for line in sys.stdin:
            name, count = json.loads(line)
            if name not in running:
                case = CASES[name]
                task = tasks.Task(ids, K, **{"dtype": "float64", **case.task})
                running[name] = getattr(contenders, case.contender)(task)
            print(seconds_per_update(running[name], count), flush=True)


def seconds_per_update(updates: Iterator[float], count: int) -> float:
    """The mean processor time of `count` updates, after a warm-up: waiting for a busy core does not count."""
    start = time.perf_counter()
    while time.perf_counter() < start + WARM_UP:
        next(updates)
    start = time.process_time()
    for _ in islice(updates, count):
        pass
    return (time.process_time() - start) / count


if __name__ == "__main__":
    main()
