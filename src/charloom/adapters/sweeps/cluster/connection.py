"""The connection to a Ray cluster, one that runs or one of this machine's for the time of a sweep, and its errors.

Knows nothing about jobs.
"""

import logging
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from charloom.adapters.process import signals
from charloom.core.common.errors import ConfigError, EnvironmentFault
from charloom.core.common.formatting import in_one_line

_SECONDS_TO_ANSWER = 17.0
_OBJECT_STORE = 128 << 20  # bytes of a local cluster's; what does not fit goes to its folder
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # of what Ray has to say on the sweep's terminal: all
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a worker without GPUs keeps the node's variables for them
}
_WRONG_TOKEN = "InvalidAuthToken"
_ADVICE = "see `ray status` there, or set hydra.launcher.address=null for a local one"
# Connects as the sweep is going to, in a process of its own: Ray waits longer than a person does.
_TRIAL = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False)"


@contextmanager
def connected(address: str | None, code: Path, requirements: str | None) -> Iterator[None]:
    """A connection to the cluster at `address`, whose nodes get the folder `code` and install `requirements`.

    None stands for a cluster of this machine's cores, which ends with the block. Raises EnvironmentFault where the
    cluster does not answer, or does not take this process.
    """
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    runtime: dict[str, Any] = {"working_dir": str(code)}
    if requirements:
        runtime["pip"] = requirements
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "logging_level": logging.ERROR}
    if address is None:
        # Whoever can reach a cluster can run code on it: this one takes who has the token, and this machine alone.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        if os.environ["RAY_AUTH_MODE"] == "token":
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        own = {"num_cpus": len(os.sched_getaffinity(0)), "object_store_memory": _OBJECT_STORE}
        options |= own | {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    else:
        _require_answer(address)
        options["address"] = address
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        with _own_handlers(), signals.held_back():
            ray.init(runtime_env=runtime, **options)
        yield
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise EnvironmentFault(f"{_place(address)} got {in_one_line(str(error))[:300]}") from None
    finally:
        with signals.held_back():
            ray.shutdown()


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Keep this process's handlers of signals in the block, in which Ray sets one of its own."""
    handlers, terminated = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}, False
    try:
        yield
    except SystemExit:  # which Ray makes of a SIGTERM
        terminated = True
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)
    if terminated:
        signal.raise_signal(signal.SIGTERM)


def require_address(address: str | None) -> None:
    """Raise ConfigError for what can be no address of a cluster."""
    if address is not None and not re.fullmatch(r"auto|[^\s/@?:]+:\d{1,5}|\[[\da-fA-F:]+\]:\d{1,5}", address):
        must = "hydra.launcher.address must be host:port, auto or null"
        raise ConfigError(f"{must}, got {address!r}; try auto on a node of the cluster")


def _require_answer(address: str) -> None:
    """Raise EnvironmentFault where no cluster answers at the address, or not to this process."""
    if address != "auto":
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_ANSWER / 2).close()
        except OSError as error:
            raise EnvironmentFault(f"{_place(address)} got {error.strerror or error}; {_ADVICE}") from None
    trial = [sys.executable, "-c", _TRIAL, address]
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "start_new_session": True}
    lines = list[str]()
    with subprocess.Popen(trial, stderr=subprocess.PIPE, text=True, **quiet) as process:
        give_up = threading.Timer(_SECONDS_TO_ANSWER, process.kill)
        give_up.start()
        try:
            assert process.stderr is not None
            for line in process.stderr:
                lines.append(line)
                if _WRONG_TOKEN in line:  # Ray goes on trying
                    break
            else:
                process.wait()
        finally:
            give_up.cancel()
            process.kill()
    if process.returncode:
        raise EnvironmentFault(f"{_place(address)} {_reason(lines)}")


def _place(address: str | None) -> str:
    return f"the Ray cluster at {address} must take this sweep:" if address else "a local Ray cluster must start:"


def _reason(lines: Sequence[str]) -> str:
    if any(_WRONG_TOKEN in line for line in lines):
        return "it wants its token, got another or none; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on its nodes"
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    if raised and "Failed to connect" not in raised[-1]:
        return f"got {in_one_line(raised[-1])[:300]}"
    return f"got no answer; {_ADVICE}"
