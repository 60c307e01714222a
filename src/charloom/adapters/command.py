"""What a command does around its work: exit codes, one-line errors, signals, and the limits of the machine.

0 done · 2 configuration · 3 data · 4 state · 5 environment · 6 gradient check failed · 128+n ended by signal n.
Knows nothing about the work itself.
"""

import ctypes
import io
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import numpy as np
import psutil
from threadpoolctl import threadpool_limits

from charloom.adapters import kernels
from charloom.adapters.configuration import Config, load
from charloom.core.common.errors import CharloomError, EnvironmentFault

WORKER_MEMORY = 50 << 20  # bytes of a worker process before its work, for Python and NumPy
_PR_SET_PDEATHSIG = 1
_HELP = """Arguments are keys of params.yaml with their values, such as model.hidden_size=200, and preset=smoke,
inp=<folder whose stage folders are read; default artifacts>, out=<folder that is written; default a new one>."""


class Interrupted(BaseException):
    """The end by a signal, raised where the work may stop."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"ended by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted(signum)


def stage_main(run: Callable[[Config, Path, Path], None]) -> NoReturn:
    """Run a stage with the overrides of the command line, and exit.

    `run` takes the configuration, the folder whose stage folders it reads and the folder that it writes.
    """

    def work() -> None:
        if {"-h", "--help"} & set(sys.argv[1:]):
            print(sys.modules[run.__module__].__doc__, _HELP, sep="\n")
            return
        config = load(sys.argv[1:])
        kernels.require(config.kernels)
        run(config, Path(config.inp), Path(config.out))

    sys.exit(exit_code(work))


def exit_code(work: Callable[[], None]) -> int:
    """Do the work, print an error as one line on stderr, and return the exit code.

    Any other exception passes, and ends in a traceback: that is a bug to report.
    """
    if "DVC_STAGE" in os.environ:
        end_with_parent()  # a DVC that is ended by a signal would leave this stage running
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)
    _prepare_stdout()
    try:
        work()
        sys.stdout.flush()  # while an error can still be caught; at the interpreter's end it would be a traceback
        return 0
    except (CharloomError, Interrupted) as error:
        failure = error
    except KeyboardInterrupt:
        failure = Interrupted(signal.SIGINT)
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        _finish_stdout()
        return 128 + signal.SIGPIPE
    except (OSError, MemoryError) as error:
        _finish_stdout()
        failure = environment_fault(error)
    print(f"charloom: error: {failure}", file=sys.stderr)
    return failure.exit_code


def environment_fault(error: OSError | MemoryError) -> EnvironmentFault:
    """The error of the operating system as a line: the file, where one is named, and the reason."""
    if isinstance(error, MemoryError):
        return EnvironmentFault(f"out of memory: {error}")
    where = f"{error.filename}: " if error.filename else ""
    return EnvironmentFault(f"{where}{error.strerror or error}")


@contextmanager
def held_back_signals() -> Iterator[Callable[[], None]]:
    """Hold back SIGINT and SIGTERM in the block; yield a function that raises Interrupted if one has come.

    The work calls that function where it may stop. A second signal is not held back.
    """
    received: list[int] = []

    def receive(signum: int, frame: FrameType | None) -> None:
        if received:
            _interrupt(signum, frame)
        received.append(signum)

    def check() -> None:
        if received:
            raise Interrupted(received[0])

    if threading.current_thread() is not threading.main_thread():
        yield check  # signals go to the main thread
        return
    before = {signum: signal.signal(signum, receive) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield check
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def end_with_parent() -> None:
    """Have this process ended by SIGTERM when its parent ends; on Linux only, elsewhere it does nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def require_memory(needed: int, purpose: str, advice: str) -> None:
    """Raise EnvironmentFault where fewer than `needed` bytes of memory are free, before any is allocated.

    The message names the `purpose`, and ends with the `advice` on what to try.
    """
    available = psutil.virtual_memory().available
    if needed > available:
        sizes = f"{needed / 2**30:.1f} GiB of memory and {available / 2**30:.1f} GiB are free"
        raise EnvironmentFault(f"{purpose} needs about {sizes}; {advice}")


blas_threads = threadpool_limits  # a context in which BLAS takes this number of threads


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


def _prepare_stdout() -> None:
    """Let neither the terminal's encoding nor a closed output end the work."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as the process
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _finish_stdout() -> None:
    """Write what is still to be written, or discard it."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
