"""Runs contenders: each in a process of its own, with its own number of threads, one at a time.

JAX reads its way of dispatching and its number of threads once, when it starts, so two variants of it cannot run in one
process, and no contender may inherit another's settings. A contender is a function of a `Task` that yields without end:
a loss after each update, or anything after each portion of work. While one runs, the others wait for a message.
"""

import importlib.util
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.tasks import Task

Contender = Callable[[Task], Iterator[float]]

COMPARED = 2  # losses of the first updates; the second one depends on the first update
PATIENCE = 120.0  # seconds until the first two updates, compilation included
# Seconds before a turn. The second thread of a BLAS busy-waits for a while after the last product (OpenBLAS: measured
# at up to 102 ms), which would slow the next contender down.
PAUSE = 0.15
# Seconds of updates before those that are timed: a process that has waited finds its core's clock slow and its cache
# full of another's data. Measured for sampling: 230,000 characters/s, and 140,000 to 230,000 after a pause of 0.25 s.
# The same time for all, however long their updates take.
WARM_UP = 0.2


class Unable(Exception):
    """The contender does not run here; the message says why."""


class Worker(AbstractContextManager["Worker"]):
    """A process that runs one contender, on one task after the other."""

    def __init__(self, contender: Contender, *, needs: str, threads: int) -> None:
        self._contender, self._needs, self.threads = contender, needs, threads
        self._process: Any = None
        self._impatient = False
        self._connection: Any = None

    def __exit__(self, *error: object) -> None:
        self.end()

    def end(self) -> None:
        """End the process, by force if need be."""
        if self._process is not None:
            with suppress(OSError):
                self._connection.send(None)
            self._process.join(0 if self._impatient else 5)
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None

    def begin(self, task: Task) -> list[float]:
        """Start a task; returns what the first two updates yielded. Raises Unable."""
        if importlib.util.find_spec(self._needs) is None:
            raise Unable(f"{self._needs} is not installed")
        if self._process is None:
            self._start()
        losses: list[float] = self._ask(task, PATIENCE)
        return losses

    def seconds(self, count: int) -> float:
        """How long the next `count` updates take."""
        took: float = self._ask(count, None)
        return took

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        # Not a daemon: a contender may start processes of its own.
        self._process = context.Process(target=_serve, args=(self._contender, self.threads, other))
        before = dict(os.environ)
        os.environ.update(_environment(self.threads))
        try:
            self._process.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        other.close()

    def _ask(self, message: Task | int, patience: float | None) -> Any:
        try:
            self._connection.send(message)
            if not self._connection.poll(patience):
                self._impatient = True
                self.end()
                raise Unable(f"no first update within {patience:.0f} s")
            answer = self._connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self.end()
            raise Unable("its process ended") from None
        if isinstance(answer, str):
            raise Unable(answer)
        return answer


def _environment(threads: int) -> dict[str, str]:
    """The variables that BLAS libraries and JAX read when they start."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen={str(threads > 1).lower()}"
    blas = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    # NPROC is the size of XLA's thread pool; the flag says whether matrix products may use it.
    jax = {"NPROC": str(threads), "XLA_FLAGS": flags.strip(), "JAX_PLATFORMS": "cpu"}
    # With one thread, PyTorch's compiler starts no processes, which would outlive a contender that is killed.
    return {**blas, **jax, "TORCHINDUCTOR_COMPILE_THREADS": "1"}


def _serve(contender: Contender, threads: int, connection: Connection) -> None:
    updates: Iterator[float] = iter(())
    with threadpool_limits(limits=threads), np.errstate(all="ignore"):
        while True:
            try:
                message = connection.recv()
            except EOFError:
                return
            if message is None:
                return
            try:
                if isinstance(message, Task):
                    updates = contender(message)
                    connection.send([float(loss) for loss in islice(updates, COMPARED)])
                    continue
                start = time.perf_counter()
                while time.perf_counter() < start + WARM_UP:
                    next(updates)
                start = time.perf_counter()
                for _ in islice(updates, message):
                    pass
                connection.send(time.perf_counter() - start)
            except Exception as error:  # whatever a contender's compiler raises is reported, and the others go on
                lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                connection.send(f"{type(error).__name__}: {lines[0][:100] if lines else 'no message'}")


def take_turns(workers: Mapping[str, Worker], updates: Mapping[str, int], rounds: int) -> dict[str, list[float]]:
    """The seconds per update of each worker in each round; an extra first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for count in range(rounds + 1):
        for name, worker in workers.items():
            if worker.threads > 1:
                time.sleep(PAUSE)
            took = worker.seconds(updates[name])
            if count:
                seconds[name].append(took / updates[name])
    return seconds


def updates_within(worker: Worker, seconds: float) -> int:
    """How many updates the worker does within `seconds`, at least one."""
    return max(1, round(seconds / statistics.median(worker.seconds(1) for _ in range(3))))
