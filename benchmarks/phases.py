"""(f) Where the time of an update goes at the reference settings: charloom itself, with a clock between its parts."""

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks.contenders import charloom_training
from benchmarks.tasks import Arguments, Table, Task, Text

# The phase that ends at each reading of the clock, in the order of an update.
PHASES = (
    "reading the window",
    "input projection",
    "recurrence, forward",
    "output and loss",
    "checks",
    "output, backward",
    "recurrence, backward",
    "products for the weights",
    "before the optimizer",
    "optimizer",
    "recording the update",
)
OWN_TIME = ("reading the window", "checks", "before the optimizer", "recording the update")
REST = "the loop around them"


def phases(arguments: Arguments, text: Text) -> Table:
    """How long each phase of an update takes, with m = 100, T = 25, B = 1."""
    table = Table(
        f"(f) Where the time goes: m = 100, T = 25, B = 1, K = {text.K}, AdaGrad, 1 thread",
        ["phase", "float64, µs", "percent", "float32, µs", "percent"],
        unit="microseconds per update",
        note="Medians of the rounds. Reading the clock is included: some two microseconds of an update.",
    )
    columns = []
    for dtype in ("float64", "float32"):
        rounds = _rounds(Task(text.ids, text.K, dtype), arguments)
        medians = {phase: statistics.median(times) for phase, times in rounds.items()}
        total = sum(medians.values())
        columns.append({phase: [f"{us:.1f}", f"{100 * us / total:.0f} %"] for phase, us in medians.items()})
        columns[-1]["the whole update"] = [f"{total:.1f}", ""]
        table.rounds |= {f"{phase}, {dtype}": times for phase, times in rounds.items()}
    table.rows = [[phase, *columns[0][phase], *columns[1][phase]] for phase in columns[0]]
    return table


def _rounds(task: Task, arguments: Arguments) -> dict[str, list[float]]:
    """Microseconds per update of each phase in each round."""
    training, clock = charloom_training(task), time.perf_counter
    network, readings = training.network, list[float]()
    cell = network._window((task.T, task.B)).cells[0]
    timed = [(network, "forward"), (cell, "forward"), (network, "backward"), (cell, "backward")]
    for owner, name in [*timed, (training.optimizer, "update")]:
        setattr(owner, name, _between_readings(getattr(owner, name), readings))
    names = [REST if phase in OWN_TIME else phase for phase in PHASES]
    rounds: dict[str, list[float]] = {name: [] for name in (*(n for n in names if n != REST), REST)}
    updates = training.updates()
    with threadpool_limits(limits=task.threads):
        for count in range(arguments.rounds + 1):
            sums = dict.fromkeys(rounds, 0.0)
            for _ in range(arguments.updates):
                readings.clear()
                readings.append(clock())
                next(updates)
                readings.append(clock())
                for name, (start, end) in zip(names, pairwise(readings), strict=True):
                    sums[name] += end - start
            if count:  # the first round warms up
                for name, took in sums.items():
                    rounds[name].append(1e6 * took / arguments.updates)
    return rounds


def _between_readings(work: Callable[..., Any], readings: list[float]) -> Callable[..., Any]:
    """The same work, with the clock read before and after."""
    clock = time.perf_counter

    def timed(*args: Any) -> Any:
        readings.append(clock())
        result = work(*args)
        readings.append(clock())
        return result

    return timed
