"""The threads of BLAS, and what a worker process does first."""

import multiprocessing
import os
import threading

import numpy as np
from threadpoolctl import threadpool_limits

blas_threads = threadpool_limits  # a context in which BLAS takes this number of threads
WORKER_MEMORY = 50 << 20  # bytes of a worker process before its work, for Python and NumPy

CORES = "CHARLOOM_CORES"  # in the environment of a sweep's job, how many of the machine's cores are for it


def allowed(workers: int) -> int:
    """Of this number of workers, how many there are cores for in a sweep; all of them elsewhere."""
    return min(workers, int(os.environ.get(CORES, workers)))


def start_worker(threads: int = 1) -> None:
    """Set up a worker process: BLAS takes `threads` threads, and the process ends when its parent has ended."""
    threadpool_limits(threads)
    np.seterr(all="ignore")  # the parent checks that the results are finite
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)  # whatever the main thread waits for

    threading.Thread(target=watch, daemon=True).start()
