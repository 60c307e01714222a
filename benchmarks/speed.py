"""Speed in rounds: updates at the reference settings, updates of larger networks, sampling, and the cost of growth."""

import statistics
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks import contenders
from benchmarks.tasks import Arguments, Table, Task, Text
from benchmarks.workers import Contender, Unable, Worker, take_turns, updates_within

OWN = "charloom"
# Relative tolerance for the losses of the first two windows. Where a gradient is nearly zero, it matters to AdaGrad
# whether ε is inside the root, as in charloom, or outside, as in PyTorch: 2e-6 in the second loss.
SAME_LOSS = {"float64": 1e-4, "float32": 1e-3}
LARGE_THREADS = 2
SHORT_ROUNDS = 2  # for each round at the reference settings: the load of the machine changes within seconds

# Name, the distribution that it needs, and the function that runs it.
AT_REFERENCE: list[tuple[str, str, Contender]] = [
    ("textbook loops", "numpy", contenders.textbook_updates),
    (OWN, "numpy", contenders.charloom_updates),
    ("PyTorch eager", "torch", contenders.torch_default_updates),
    ("PyTorch eager, fused optimizer", "torch", contenders.torch_updates),
    ("PyTorch compiled", "torch", contenders.torch_compiled_updates),
    ("JAX, default dispatch", "jax", contenders.jax_updates),
    ("JAX, asynchronous dispatch off", "jax", contenders.jax_waiting_updates),
]
LARGE: list[tuple[str, str, Contender]] = [
    (OWN, "numpy", contenders.charloom_updates),
    ("PyTorch", "torch", contenders.torch_updates),
    ("JAX", "jax", contenders.jax_waiting_updates),
]
PRODUCT = "matrix product"
TEXTBOOK = "textbook loops, 1 stream"


class WrongLoss(Exception):
    """The contenders do not compute the same thing."""


def begin(workers: dict[str, Worker], task: Task) -> tuple[dict[str, Worker], dict[str, str]]:
    """Give each worker the task; returns those that can do it, and why the others cannot. Raises WrongLoss."""
    losses, unable = {}, {}
    for name, worker in workers.items():
        try:
            losses[name] = worker.begin(task)
        except Unable as reason:
            unable[name] = str(reason)
    if OWN in unable:
        raise Unable(f"charloom: {unable[OWN]}")
    dtype, expected = task.dtype, losses[OWN]
    for name, found in losses.items():
        if not np.allclose(found, expected, rtol=SAME_LOSS[dtype], atol=0):
            raise WrongLoss(f"the first losses of {name} ({dtype}) must be charloom's, {expected}, got {found}")
    return {name: worker for name, worker in workers.items() if name in losses}, unable


def reference_updates(arguments: Arguments, text: Text) -> Table:
    """(a) One update with m = 100, T = 25, B = 1."""
    count = SHORT_ROUNDS * arguments.rounds
    table = Table(
        f"(a) One update at the reference settings: m = 100, T = 25, B = 1, K = {text.K}, AdaGrad, 1 thread",
        ["", "type", "µs, median", "µs, fastest and slowest round", "charloom is faster by"],
        unit="microseconds per update",
        note=f"{count} rounds of {arguments.updates} updates.",
    )
    for dtype in ("float64", "float32"):
        task = Task(text.ids, text.K, dtype)
        with ExitStack() as stack:
            workers = {
                name: stack.enter_context(Worker(run, needs=needs, threads=1)) for name, needs, run in AT_REFERENCE
            }
            able, unable = begin(workers, task)
            rounds = take_turns(able, dict.fromkeys(able, arguments.updates), count)
        for name in workers:
            if name in unable:
                table.rows.append([name, dtype, f"unavailable: {unable[name]}", "", ""])
                continue
            microseconds = [1e6 * seconds for seconds in rounds[name]]
            median, ratio = statistics.median(microseconds), _ratio(rounds, name)
            table.rows.append([name, dtype, f"{median:.0f}", _spread(microseconds), _times(name, ratio)])
            table.rounds[f"{name}, {dtype}"] = microseconds
            if name != OWN:
                table.ratios[f"{name}, {dtype}"] = ratio
    return table


def large_updates(arguments: Arguments, text: Text) -> Table:
    """(b) One update with m from 128 to 512 and many streams, for every cell."""
    names = [name for name, _, _ in LARGE]
    table = Table(
        f"(b) One update with many units and streams: T = 64, K = {text.K}, float32, Adam, {LARGE_THREADS} cores",
        [
            "",
            *(f"{name}, ms" for name in names),
            *(f"charloom is faster than {name} by" for name in names if name != OWN),
            "charloom, GFLOP/s",
            f"product of {contenders.PRODUCT_SIZE}×{contenders.PRODUCT_SIZE}, GFLOP/s",
            "charloom, % of the product's speed",
        ],
        unit="milliseconds per update; of the matrix product, per product",
        note="Medians. GFLOP/s: two operations for each multiply-add of charloom's matrix products, divided by the "
        "time of the whole update. charloom: two processes with half of the streams each; the others: two threads. "
        "JAX: a jitted scan, asynchronous dispatch off. An LSTM has the most work besides its products: PyTorch does "
        "it in one kernel per time step, while charloom's gates go through memory between NumPy's operations.",
    )
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(run, needs=needs, threads=LARGE_THREADS))
            for name, needs, run in [*LARGE, (PRODUCT, "numpy", contenders.matrix_products)]
        }
        sizes = [(128, 32), (256, 64), (512, 64)]
        for cell, (m, B) in product(("rnn", "gru", "lstm"), sizes[:1] if arguments.quick else sizes):
            task = Task(
                text.ids,
                text.K,
                "float32",
                cell=cell,
                m=m,
                T=64,
                B=B,
                threads=LARGE_THREADS,
                optimizer="adam",
                learning_rate=1e-3,
                epsilon=1e-8,
                clip_value=None,
                init_scale=0.05,
            )
            _add_large(table, arguments, task, workers)
    return table


def _add_large(table: Table, arguments: Arguments, task: Task, workers: dict[str, Worker]) -> None:
    """One row: a cell of one size."""
    compared = {name: worker for name, worker in workers.items() if name != PRODUCT}
    able, unable = begin(compared, task)
    workers[PRODUCT].begin(task)
    updates = dict.fromkeys(able, updates_within(workers[OWN], arguments.seconds))
    able[PRODUCT] = workers[PRODUCT]
    updates[PRODUCT] = updates_within(workers[PRODUCT], arguments.seconds / 2)
    rounds = take_turns(able, updates, arguments.rounds)
    took = {name: statistics.median(seconds) for name, seconds in rounds.items()}
    label = f"{task.cell}, m = {task.m}, B = {task.B}"
    ratios = {name: _ratio(rounds, name) for name in compared if name != OWN and name in took}
    reached, limit = task.operations / took[OWN] / 1e9, 2 * contenders.PRODUCT_SIZE**3 / took[PRODUCT] / 1e9
    table.rows.append(
        [
            label,
            *(f"{1e3 * took[name]:.2f}" if name in took else f"unavailable: {unable[name]}" for name in compared),
            *(_times(name, ratios[name]) if name in ratios else "" for name in compared if name != OWN),
            f"{reached:.0f}",
            f"{limit:.0f}",
            f"{100 * reached / limit:.0f} %",
        ]
    )
    table.rounds |= {f"{name}, {label}": [1e3 * s for s in seconds] for name, seconds in rounds.items()}
    table.ratios |= {f"{name}, {label}": ratio for name, ratio in ratios.items()}


def sampling(arguments: Arguments, text: Text) -> Table:
    """(c) Characters sampled per second, in one stream and in many, m = 100."""
    table = Table(
        f"(c) Sampling: m = 100, K = {text.K}, 1 thread",
        ["", "type", "characters/s, median", "slowest and fastest round", "compared with the textbook"],
        unit="characters per second, of all streams together",
    )
    for dtype in ("float64", "float32"):
        task = Task(text.ids, text.K, dtype)
        samplers: dict[str, tuple[Contender, int]] = {
            TEXTBOOK: (contenders.textbook_sampling, 1),
            "charloom, 1 stream": (contenders.charloom_sampling, 1),
            "charloom, 64 streams": (contenders.charloom_sampling, 64),
        }
        with ExitStack() as stack:
            workers = {}
            for name, (run, B) in samplers.items():
                workers[name] = stack.enter_context(Worker(run, needs="numpy", threads=1))
                workers[name].begin(replace(task, B=B))
            portions = dict.fromkeys(workers, max(1, arguments.characters // contenders.PORTION))
            rounds = take_turns(workers, portions, arguments.rounds)
        rates = {name: [contenders.PORTION * samplers[name][1] / took for took in rounds[name]] for name in samplers}
        for name, own_rates in rates.items():
            ratio = statistics.median(own / other for own, other in zip(own_rates, rates[TEXTBOOK], strict=True))
            times = "" if name == TEXTBOOK else f"{ratio:.2f}×"
            table.rows.append([name, dtype, f"{statistics.median(own_rates):,.0f}", _spread(own_rates), times])
            table.rounds[f"{name}, {dtype}"] = own_rates
    return table


def growth(arguments: Arguments, text: Text) -> Table:
    """(e) The cost of a character as one size grows and the others keep their reference values."""
    table = Table(
        "(e) Cost of a character while training, as one size grows and the others stay "
        "m = 100, T = 25, B = 1, float64, 1 thread",
        ["", "value", "µs per character, median", "fastest and slowest round", "relative to the first"],
        unit="microseconds per character",
        note="The corpus is the bundled text, repeated, and read as a memory map, as in training.",
    )
    task = Task(text.ids, text.K, "float64")
    sizes = [100_000, 1_000_000] if arguments.quick else [100_000, 1_000_000, 10_000_000, 100_000_000]
    series: dict[str, dict[str, Task]] = {
        "m": {str(m): replace(task, m=m) for m in (50, 100, 200, 400)},
        "T": {str(T): replace(task, T=T) for T in (10, 25, 50, 100)},
        "B": {str(B): replace(task, B=B) for B in (1, 4, 16, 64)},
        "corpus, characters": {f"{size:,}": replace(task, text=_repeated(text, size)) for size in sizes},
    }
    for axis, tasks in series.items():
        with ExitStack() as stack:
            workers = {
                value: stack.enter_context(Worker(contenders.charloom_updates, needs="numpy", threads=1))
                for value in tasks
            }
            for value, worker in workers.items():
                worker.begin(tasks[value])
            updates = {value: updates_within(worker, arguments.seconds / 2) for value, worker in workers.items()}
            rounds = take_turns(workers, updates, arguments.rounds)
        costs = {value: [1e6 * t / (tasks[value].T * tasks[value].B) for t in rounds[value]] for value in tasks}
        first = statistics.median(next(iter(costs.values())))
        for value, cost in costs.items():
            median = statistics.median(cost)
            table.rows.append([axis, value, f"{median:.2f}", _spread(cost, ".2f"), f"{median / first:.2f}×"])
            table.rounds[f"{axis} = {value}"] = cost
    return table


def _repeated(text: Text, size: int) -> Path:
    """A file of `size` ids: the text's own, repeated."""
    ids, path = np.load(text.ids), text.folder / f"{size}.npy"
    repeated = np.lib.format.open_memmap(path, mode="w+", dtype=ids.dtype, shape=(size,))
    for start in range(0, size, len(ids)):
        repeated[start : start + len(ids)] = ids[: size - start]
    repeated.flush()
    return path


def _ratio(rounds: dict[str, list[float]], name: str) -> float:
    """How many times as fast charloom is: the median of the rounds' ratios, each of two turns close in time."""
    return statistics.median(other / own for other, own in zip(rounds[name], rounds[OWN], strict=True))


def _spread(figures: list[float], form: str = ",.0f") -> str:
    return f"{min(figures):{form}} – {max(figures):{form}}"


def _times(name: str, ratio: float) -> str:
    """How many times as fast charloom is; a ratio below 1 is explained in words."""
    if name == OWN:
        return ""
    return f"{ratio:.2f}×" if ratio >= 1 else f"{ratio:.2f}× (charloom is slower)"
