"""What a command does around its work: exit codes, one-line errors, signals, and the limits of the machine.

0 done · 2 configuration · 3 data · 4 state · 5 environment · 6 gradient check failed · 128+n ended by signal n.
Knows nothing about the work itself.
"""

import errno
import io
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

import psutil

from charloom.adapters.configuration import Config, load, usage
from charloom.adapters.process import kernels, signals
from charloom.adapters.process.signals import Interrupted
from charloom.adapters.process.workers import allowed, start_worker
from charloom.core.common.errors import CharloomError, EnvironmentFault
from charloom.core.common.formatting import in_one_line, visible

_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)


def stage_main(run: Callable[[Config, Path, Path], None]) -> NoReturn:
    """Run a stage with the overrides of the command line, and exit.

    `run` takes the configuration, the folder whose stage folders it reads and the folder that it writes.
    """

    def work() -> None:
        if {"-h", "--help"} & set(sys.argv[1:]):
            print(usage.stage(sys.modules[run.__module__].__doc__ or ""))
            return
        config = load(sys.argv[1:])
        kernels.require(config.kernels)
        run(config, Path(config.inp), Path(config.out))

    sys.exit(exit_code(work))


def exit_code(work: Callable[[], None]) -> int:
    """Do the work, print an error as one line on stderr, and return the exit code.

    A signal decides the exit code, whatever the work made of it. Any other exception passes, and ends in a traceback:
    that is a bug to report.
    """
    prepare_streams()
    failure: CharloomError | Interrupted | None
    try:
        with signals.raising():
            work()
            sys.stdout.flush()  # while an error can still be caught; at the interpreter's end it would be a traceback
        return 0
    except (CharloomError, Interrupted) as error:
        failure = error
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        failure = None
    except (OSError, MemoryError) as error:
        failure = environment_fault(error)
        if signals.received() and not str(error):  # what a library made of Interrupted: a system's error has a reason
            failure = None
    except Exception:
        if not signals.received():
            raise
        failure = None  # as above
    _finish_stdout()
    if signals.received() and not isinstance(failure, Interrupted):
        failure = Interrupted(signals.received(), besides=failure)
    if failure is None:
        return 128 + signal.SIGPIPE
    print(f"charloom: error: {in_one_line(str(failure))}", file=sys.stderr)
    return failure.exit_code


def environment_fault(error: OSError | MemoryError) -> EnvironmentFault:
    """The error of the operating system as a line: the file, where one is named, and the reason."""
    if isinstance(error, MemoryError):
        return EnvironmentFault(f"out of memory: {error}")
    where = f"{error.filename}: " if error.filename else ""
    advice = "; free space there, then run the same command again" if error.errno in _DISK_IS_FULL else ""
    return EnvironmentFault(f"{where}{error.strerror or str(error) or type(error).__name__}{advice}")


def require_memory(needed: int, purpose: str, advice: str) -> None:
    """Raise EnvironmentFault where fewer than `needed` bytes of memory are free, before any is allocated.

    The message names the `purpose`, and ends with the `advice` on what to try.
    """
    available = psutil.virtual_memory().available
    if needed > available:
        sizes = f"{needed / 2**30:.1f} GiB of memory and {available / 2**30:.1f} GiB are free"
        raise EnvironmentFault(f"{purpose} needs about {sizes}; {advice}")


class _Visible:
    """A stream to a terminal: control characters in what is written are shown as escapes.

    `returns` lets a carriage return at the start of what is written through: a progress bar rewrites its line.
    """

    def __init__(self, stream: TextIO, *, returns: bool = False) -> None:
        self._stream, self._returns = stream, returns

    def write(self, text: str) -> int:
        start = "\r" if self._returns and text.startswith("\r") else ""
        return self._stream.write(start + visible(text[len(start) :]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def process_pool(workers: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """The `map` of a pool of processes, or the plain one for a single worker; in a sweep, as many as a job may have.

    Where the block ends by an exception, the processes are ended at once. Raises EnvironmentFault where one has ended
    by itself.
    """
    if (workers := allowed(workers)) == 1:
        yield map
        return
    with signals.held_back():  # a semaphore that is made, but not yet registered as its owner's, would be left behind
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=start_worker)

    def pool_map(function: Callable[..., Any], *iterables: Iterable[Any]) -> Iterator[Any]:
        with signals.starting_processes():  # as many as there are tasks for
            futures = [pool.submit(function, *arguments) for arguments in zip(*iterables, strict=True)]
        # The pool's own `map` cancels what an exception leaves, and a broken pool with cancelled tasks fails.
        return (future.result() for future in futures)

    try:
        yield pool_map
        pool.shutdown()  # waits for a process that is still starting
    except BaseException as error:
        for process in multiprocessing.active_children():
            process.kill()
        pool.shutdown()
        if isinstance(error, BrokenProcessPool):
            raise EnvironmentFault(
                "a worker process has ended; try again, with fewer workers if memory is short"
            ) from None
        raise


@contextmanager
def started(pool: AbstractContextManager[object]) -> Iterator[None]:
    """Enter a context that starts processes, which receive no signals: they end with the context."""
    with ExitStack() as stack:
        with signals.starting_processes():
            stack.enter_context(pool)
        yield


def prepare_streams() -> None:
    """Let neither a closed stream nor the terminal's encoding end the work, nor a text give the terminal orders.

    Standard output that is a file or a pipe gets every text as it is.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # the file descriptor is free, and this takes it
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
        if sys.stdout.isatty():
            sys.stdout = cast(TextIO, _Visible(sys.stdout))
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = cast(TextIO, _Visible(sys.stderr, returns=True))


def _finish_stdout() -> None:
    """Write what is still to be written, or discard it where nobody reads it: the process ends in any case."""
    with suppress(OSError):
        descriptor, lost = sys.stdout.fileno(), False
        os.set_blocking(descriptor, False)
        try:
            sys.stdout.flush()
        except OSError:
            lost = True
        os.set_blocking(descriptor, True)
        if lost:
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
