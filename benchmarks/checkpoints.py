"""(g) What it costs to survive a kill: the time for checkpoints, compared with that for the updates between them."""

import statistics
import time
from itertools import islice

import yaml
from threadpoolctl import threadpool_limits

from benchmarks.contenders import charloom_training
from benchmarks.tasks import ROOT, Arguments, Table, Task, Text
from charloom.adapters.files.work_folder import WorkFolder

ROW = {"step": 100_000, "epoch": 12, "loss": 51.123456789012345, "smooth_loss": 50.123456789012345}


def checkpoints(arguments: Arguments, text: Text) -> Table:
    """The percentage of a training's time that its checkpoints take, with m = 100, T = 25, B = 1."""
    options = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["train"]
    every, rows = options["checkpoint_every"], options["checkpoint_every"] // options["log_every"]
    table = Table(
        f"(g) What checkpoints cost: m = 100, T = 25, B = 1, K = {text.K}, AdaGrad, 1 thread",
        ["", "update, µs", "checkpoint, ms", "slowest, ms", f"percent of the time, one every {every:,} updates"],
        unit="seconds",
        note=f"Medians of the rounds; a checkpoint includes {rows} rows of the history, and waits for the disk.",
    )
    for dtype in ("float64", "float32"):
        training = charloom_training(Task(text.ids, text.K, dtype))
        updates, update, save = training.updates(), list[float](), list[float]()
        with threadpool_limits(1), WorkFolder(text.folder, f"checkpoints-{dtype}") as work:
            for _ in range(arguments.rounds + 1):
                start = time.perf_counter()
                list(islice(updates, arguments.updates))
                middle = time.perf_counter()
                for _ in range(rows):
                    work.append(ROW)
                work.save(training.arrays(), training.values())
                update.append((middle - start) / arguments.updates)
                save.append(time.perf_counter() - middle)
        del update[0], save[0]  # the first round warms up
        cost = [100 * s / (s + every * u) for u, s in zip(update, save, strict=True)]
        figures = (1e6 * statistics.median(update), 1e3 * statistics.median(save), 1e3 * max(save))
        table.rows.append([dtype, *(f"{figure:.1f}" for figure in figures), f"{statistics.median(cost):.2f} %"])
        table.rounds |= {f"update, {dtype}": update, f"checkpoint, {dtype}": save}
    return table
