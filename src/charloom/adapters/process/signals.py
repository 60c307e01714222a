"""SIGINT and SIGTERM: the first one ends the command, whenever it comes, and none is lost.

While a command is imported, and once its work is done, there is nothing to tidy up: the process ends at once. In the
block `raising`, a signal becomes the exception Interrupted; within it, `held_back` keeps that from moments at which the
work may not stop. Python only prints an exception that is raised in a callback of C code, and libraries discard some:
Interrupted is raised again until the block ends, and the block never ends as if there had been no signal.
"""

import atexit
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any, NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PARENT = "CHARLOOM_PARENT"  # in the environment, the id of a process that this one must not outlive
_PR_SET_PDEATHSIG = 1
_SECONDS_UNTIL_RAISED_AGAIN = 0.5
_SECONDS_UNTIL_IMPATIENT = 2.0  # a second signal after these ends the process wherever it is


class Interrupted(BaseException):
    """The end by a signal, raised where the work may stop; the message has what else went wrong, if anything did."""

    def __init__(self, signum: int, besides: Exception | None = None) -> None:
        super().__init__(f"ended by {signal.Signals(signum).name}" + (f": {besides}" if besides else ""))
        self.exit_code = 128 + signum


class _State:
    """Of this process."""

    raises = False  # else a signal ends the process at once
    held_back = False
    received = 0  # the first signal's number
    received_at = 0.0


def install() -> None:
    """Let a signal end this process with one line on stderr and the exit code 128+n.

    Where the environment names a parent, its end is a SIGTERM to this process, on Linux.
    """
    for signum in _SIGNALS:
        signal.signal(signum, _receive)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # see `execute`
    atexit.register(_ignore)
    if parent := os.environ.pop(_PARENT, ""):
        end_with_parent(signal.SIGTERM)
        if os.getppid() != int(parent):  # it had ended before
            signal.raise_signal(signal.SIGTERM)


@contextmanager
def raising() -> Iterator[None]:
    """In the block, a signal is raised as Interrupted, at its end at the latest.

    In a thread other than the main one, to which signals go, nothing is raised.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hook, sys.unraisablehook = sys.unraisablehook, _without_interrupted(sys.unraisablehook)
    _State.raises, _State.received = True, 0
    before = {signum: signal.signal(signum, _receive) for signum in (*_SIGNALS, signal.SIGALRM)}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        yield
        check()
    finally:
        _State.raises = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        for signum, handler in before.items():
            signal.signal(signum, handler)
        sys.unraisablehook = hook


def received() -> int:
    """The number of the signal that ended, or is to end, the block `raising`; 0 if there was none."""
    return _State.received


def check() -> None:
    """Raise Interrupted if a signal has come in the block `raising`."""
    if _State.raises and _State.received:
        raise Interrupted(_State.received)


@contextmanager
def held_back() -> Iterator[None]:
    """In the block, signals wait for a `check`, for a block `let_through` within it, or for the end."""
    before = _State.held_back
    with _holding(True):
        yield
    if not before:
        check()


@contextmanager
def let_through() -> Iterator[None]:
    """In the block, which is within one of `held_back`, signals are raised."""
    with _holding(False):
        check()
        yield


@contextmanager
def starting_processes() -> Iterator[None]:
    """In the block, signals are held back, and the processes that are started in it never receive any.

    A signal to the whole group is for this process to handle. A blocked signal is inherited as such; blocking alone
    would not hold it back, because another thread, such as one of BLAS's, may receive it.
    """
    resource_tracker.ensure_running()  # starting a process starts this first, and that unblocks the signals
    with held_back():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def execute(arguments: Sequence[str]) -> NoReturn:
    """Start Python with these arguments in the place of this process; a signal in between waits for `install`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    check()
    os.execv(sys.executable, [sys.executable, *arguments])


def leave_to_parent() -> None:
    """Ignore signals in this process, whose parent handles them, and end it when the parent ends, on Linux."""
    _ignore()
    end_with_parent(signal.SIGKILL)


def end_with_parent(signum: int) -> None:
    """Have this process sent the signal when its parent ends; on Linux only, elsewhere it does nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signum)


def _ignore() -> None:
    """Ignore signals from now on; when Python ends it drops handlers, and a signal would end a finished process."""
    for signum in _SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


@contextmanager
def _holding(held_back: bool) -> Iterator[None]:
    before, _State.held_back = _State.held_back, held_back
    try:
        yield
    finally:
        _State.held_back = before


def _receive(signum: int, frame: FrameType | None) -> None:
    """Handle a signal; SIGALRM stands for one that was received before."""
    if signum != signal.SIGALRM:
        first = not _State.received
        if first:
            _State.received, _State.received_at = signum, time.monotonic()
        late = time.monotonic() - _State.received_at > _SECONDS_UNTIL_IMPATIENT
        if late or (first and not _State.raises):
            with suppress(OSError):
                os.write(2, f"charloom: error: {Interrupted(_State.received)}\n".encode())
            os._exit(128 + _State.received)
        if first:
            signal.setitimer(signal.ITIMER_REAL, *[_SECONDS_UNTIL_RAISED_AGAIN] * 2)
    if not _State.held_back and not _is_being_handled():
        check()


def _is_being_handled() -> bool:
    """Whether the code that a signal fell into is tidying up after Interrupted."""
    error = sys.exception()
    while error is not None and not isinstance(error, Interrupted):
        error = error.__context__
    return error is not None


def _without_interrupted(hook: Callable[[Any], object]) -> Callable[[Any], object]:
    """A `sys.unraisablehook` that leaves out Interrupted: it is raised again."""
    return lambda unraisable: None if isinstance(unraisable.exc_value, Interrupted) else hook(unraisable)
