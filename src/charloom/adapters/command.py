"""What a command does around its work: exit codes, one-line errors, signals.

0 done · 2 configuration · 3 data · 4 state · 5 environment · 6 gradient check failed · 128+n ended by signal n.
Knows nothing about what the work is.
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

from charloom.adapters.configuration.config import Config, load
from charloom.core.common.errors import CharloomError, EnvironmentFault

_PR_SET_PDEATHSIG = 1
_HELP = """Arguments are keys of params.yaml with their values, such as model.hidden_size=200, and preset=smoke,
inp=<folder whose stage folders are read; default artifacts>, out=<folder that is written>."""


class Interrupted(BaseException):
    """The end by a signal, once the work has been brought to a place where it may stop."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"ended by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum


def stage_main(run: Callable[[Config, Path, Path], None]) -> NoReturn:
    """Run a stage with the overrides of the command line, and exit."""

    def work() -> None:
        if {"-h", "--help"} & set(sys.argv[1:]):
            print(sys.modules[run.__module__].__doc__, _HELP, sep="\n")
            return
        config = load(sys.argv[1:])
        assert config.out is not None
        run(config, Path(config.inp), Path(config.out))

    sys.exit(exit_code(work))


def exit_code(work: Callable[[], None]) -> int:
    """Do the work; say in one line what went wrong, if anything; the exit code.

    A mistake in the program still ends in a traceback: that is a bug to report.
    """
    _end_with_dvc()
    _on_terminate_raise()
    _prepare_stdout()
    try:
        work()
        sys.stdout.flush()  # while an error can still be told; at the interpreter's end it would be a traceback
    except CharloomError as error:
        return _say(error, error.exit_code)
    except Interrupted as error:
        return _say(error, error.exit_code)
    except KeyboardInterrupt:
        return _say("ended by SIGINT", 128 + signal.SIGINT)
    except BrokenPipeError:  # whoever read our output has gone, as `| head` does
        _drop_stdout()
        return 128 + signal.SIGPIPE
    except (OSError, MemoryError) as error:
        try:
            sys.stdout.flush()
        except OSError:
            _drop_stdout()
        fault = environment_fault(error)
        return _say(fault, fault.exit_code)
    return 0


def environment_fault(error: OSError | MemoryError) -> EnvironmentFault:
    """What the system refused, in one line."""
    if isinstance(error, MemoryError):
        return EnvironmentFault(f"out of memory: {error}")
    where = f"{error.filename}: " if error.filename else ""
    return EnvironmentFault(f"{where}{error.strerror or error}")


@contextmanager
def held_back_signals() -> Iterator[Callable[[], None]]:
    """Hold SIGINT and SIGTERM back, until the work asks: the value is a function that raises Interrupted if one came.

    A second signal is not held back.
    """
    received: list[int] = []

    def receive(signum: int, frame: FrameType | None) -> None:
        if received:
            raise Interrupted(signum)
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


def _on_terminate_raise() -> None:
    def terminate(signum: int, frame: FrameType | None) -> None:
        raise Interrupted(signum)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)


def end_with_parent() -> None:
    """Have this process end by SIGTERM when its parent ends (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def require_memory(needed: int, purpose: str, advice: str) -> None:
    """Raise EnvironmentFault where fewer than `needed` bytes are free, before they are taken."""
    available = psutil.virtual_memory().available
    if needed > available:
        needed_GiB, available_GiB = needed / 2**30, available / 2**30
        raise EnvironmentFault(
            f"{purpose} needs about {needed_GiB:.1f} GiB of memory and {available_GiB:.1f} GiB are free; {advice}"
        )


@contextmanager
def blas_threads(number: int) -> Iterator[None]:
    """A context in which BLAS takes this number of threads."""
    with threadpool_limits(number):
        yield


def start_worker(threads: int = 1) -> None:
    """What a process of a pool or a crew does first: it takes its number of threads for the matrix library, and ends
    when the process that started it has ended, whatever it waits for.
    """
    threadpool_limits(threads)
    np.seterr(all="ignore")  # what is not finite is found by who reads the results
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _end_with_dvc() -> None:
    """A DVC that is ended by a signal would leave its stage running."""
    if "DVC_STAGE" in os.environ:
        end_with_parent()


def _prepare_stdout() -> None:
    """Let no terminal's encoding and no closed output end the work."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as the process
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _drop_stdout() -> None:
    """Send what is still to be written nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(message: object, code: int) -> int:
    print(f"charloom: error: {message}", file=sys.stderr)
    return code
