"""Servers that a command starts, which end with it: their processes, ports and pages. Knows nothing about them."""

import os
import signal
import socket
import subprocess
import sys
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import IO

from charloom.adapters.process import signals
from charloom.core.common.errors import EnvironmentFault

LOOPBACK = "127.0.0.1"
_PORTS = 100  # that are tried
_SECONDS_TO_END = 1.0


@contextmanager
def started(
    arguments: Sequence[str], variables: Mapping[str, str], log: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Python with these arguments and environment variables, ended with the block, and whatever it has started.

    It is sent SIGTERM where this process is killed, too, on Linux.
    """
    server = subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, **variables},
        stdout=log,
        stderr=log,
        preexec_fn=partial(signals.end_with_parent, signal.SIGTERM),
        start_new_session=True,  # so that Ctrl-C reaches this process alone, which then ends the whole group
    )
    try:
        yield server
    finally:
        for signum in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(server.pid, signum)
                server.wait(_SECONDS_TO_END)


def last_line(log: IO[bytes]) -> str:
    """The last line of what a server has printed."""
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "no output"


def show(page: str) -> None:
    """Open a page in the browser where there is a display; elsewhere, it would be a text browser in this terminal."""
    if sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        with suppress(webbrowser.Error):
            webbrowser.open(page)


def free_port(wanted: int | None, first: int, host: str = LOOPBACK) -> int:
    """The port that is wanted, or the first free one from `first` where none is.

    Raises EnvironmentFault where it is taken, or all are.
    """
    for port in range(first, first + _PORTS) if wanted is None else [wanted]:
        with suppress(OSError, OverflowError), socket.create_server((host, port)) as probe:
            return int(probe.getsockname()[1])
    if wanted is None:
        last = first + _PORTS - 1
        raise EnvironmentFault(f"the ports from {first} to {last} are all taken; choose a free one with --port")
    raise EnvironmentFault(f"port {wanted} is unavailable; choose another with --port, or leave it out")
