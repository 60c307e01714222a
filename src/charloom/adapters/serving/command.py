"""The command that serves a model: MLflow's server of it, behind the address of a page, until a signal ends both."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, NoReturn

import requests
import uvicorn
from starlette.applications import Starlette

from charloom.adapters.arguments import Parser
from charloom.adapters.command import exit_code
from charloom.adapters.configuration import load
from charloom.adapters.process import kernels, servers
from charloom.adapters.process.signals import Interrupted
from charloom.adapters.process.workers import blas_threads
from charloom.adapters.serving.app import Served, make_app
from charloom.adapters.serving.sources import find
from charloom.core.common.errors import EnvironmentFault

_FIRST_PORT = 5100  # above those of MLflow's pages
_SECONDS_TO_END = 1  # for the streams that are being sent
_LOCAL_NAMES = [servers.LOOPBACK, "localhost"]


def main() -> NoReturn:
    """Run what the command line says, and exit."""
    parser = Parser("python -m charloom.serve", "Let a model answer prompts: a page to try it on, and MLflow's API.")
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="a folder of results, a model file, or an MLflow model such as models:/story@champion; default: the "
        "champion of model.register where that is given, else the results in artifacts/",
    )
    parser.add_argument("--host", default=servers.LOOPBACK, help="default: this machine alone; 0.0.0.0: every address")
    parser.add_argument("--port", type=int, help=f"default: the first free one from {_FIRST_PORT}")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("overrides", nargs="*", help="such as model.register=story tracking=server")

    def work() -> None:
        given = parser.parse_intermixed_args()
        config = load(given.overrides)
        kernels.require(config.kernels)
        with tempfile.TemporaryDirectory() as folder:
            served, mlflow_model = find(given.model, config, Path(folder))
            serve(served, mlflow_model, Path(folder), host=given.host, port=given.port, browser=not given.no_browser)

    sys.exit(exit_code(work))


def serve(served: Served, mlflow_model: Path, folder: Path, *, host: str, port: int | None, browser: bool) -> None:
    """Serve a model, which is an MLflow model in a folder too, until a signal ends it; `folder` is for what that needs.

    Ends by SystemExit, 130 for Ctrl-C. Raises EnvironmentFault where the port is taken or MLflow's server ends.
    """
    blas_threads(1)  # for good: threads that write at once would each restore what another has set
    try:
        socket.create_server((host, 0)).close()
    except OSError:
        raise EnvironmentFault(f"--host must be an address of this machine, got {host}; 0.0.0.0 is every one") from None
    port = servers.free_port(port, _FIRST_PORT, host)
    api_port = servers.free_port(None, port + 1)
    api = f"http://{servers.LOOPBACK}:{api_port}"
    arguments = ["-m", "mlflow", "models", "serve", "--model-uri", str(mlflow_model), "--env-manager", "local"]
    with (
        tempfile.TemporaryFile() as log,
        servers.started([*arguments, "-h", servers.LOOPBACK, "-p", str(api_port)], _variables(folder), log) as child,
    ):
        page = f"http://{servers.LOOPBACK if host == '0.0.0.0' else host}:{port}"

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            print(f"{served.name}, {served.description}: {page}", flush=True)
            watching = asyncio.create_task(_watch(child, api, page, server))
            if browser:
                servers.show(page)
            yield
            watching.cancel()

        hosts = [*_LOCAL_NAMES, host] if host in _LOCAL_NAMES else ["*"]
        app = make_app(served, api, hosts, lifespan)
        options = uvicorn.Config(
            app, host, port, log_level="critical", server_header=False, timeout_graceful_shutdown=_SECONDS_TO_END
        )
        server = uvicorn.Server(options)
        try:
            server.run()
        except Interrupted as interrupted:  # the usual end, and no error
            raise SystemExit(interrupted.exit_code) from None
        raise EnvironmentFault(_why(child, log))


def _variables(folder: Path) -> dict[str, str]:
    """What MLflow's server needs in its environment.

    It starts `uvicorn` by name, which must be this Python's, wherever that was moved.
    """
    script = folder / "bin" / "uvicorn"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m uvicorn "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return {
        "PATH": f"{script.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "UVICORN_ACCESS_LOG": "false",
        "UVICORN_LOG_LEVEL": "warning",
    }


async def _watch(child: "subprocess.Popen[bytes]", api: str, page: str, server: uvicorn.Server) -> None:
    """Say when MLflow's server is up, and end this one when it ends."""
    up = False
    while child.poll() is None:
        if not up:
            with suppress(requests.RequestException):
                up = await asyncio.to_thread(_answers, api)
                if up:
                    print(f"MLflow's API is up: {page}/invocations", flush=True)
        await asyncio.sleep(0.1)
    server.should_exit = True


def _answers(api: str) -> bool:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"{api}/ping", timeout=5).ok


def _why(child: "subprocess.Popen[bytes]", log: IO[bytes]) -> str:
    """Why nothing is served any more."""
    if child.poll() is None:
        return "the server has ended; start it again"
    return f"MLflow's server has ended ({servers.last_line(log)}); start it again"
