"""A real MLflow server, to be killed and stopped, and a gate before it that answers in its place when it is told to.

For tests and benchmarks of what becomes of a run meanwhile.
"""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from tests.project import clean_environment

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SECONDS_TO_START = 120
_OWN_HEADERS = ("host", "transfer-encoding", "content-length", "connection")  # of each connection


@dataclass
class MlflowServer:
    """MLflow's server on a database in a folder, at one address however often it is started."""

    folder: Path
    port: int = field(default_factory=lambda: free_port())
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        store = ["--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        files = ["--artifacts-destination", str(self.folder / "artifacts")]
        here = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *store, *files, *here],
                env=clean_environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait()

    def wait(self) -> None:
        """Wait until the server answers."""
        give_up = time.monotonic() + _SECONDS_TO_START
        while time.monotonic() < give_up:
            with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                return
            time.sleep(0.1)
        raise TimeoutError((self.folder / "server.log").read_text(encoding="utf-8"))

    def signal(self, signum: int) -> None:
        """Send a signal to the server and all its processes."""
        assert self.process is not None
        os.killpg(self.process.pid, signum)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    @property
    def client(self) -> "MlflowClient":
        from mlflow import MlflowClient

        return MlflowClient(self.uri)


class Gate:
    """An HTTP server that passes requests on to `port`, or answers each with `status` where that is set."""

    def __init__(self, port: int) -> None:
        self.status: int | None = None
        self.asked = 0  # requests that were answered with it
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with suppress(OSError, http.client.HTTPException):
                    super().handle_one_request()

            def do_GET(self) -> None:
                body = self._body()
                if gate.status is not None:
                    gate.asked += 1
                    return self._answer(gate.status, b"no", "text/plain")
                onward = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                headers = {key: value for key, value in self.headers.items() if key.lower() not in _OWN_HEADERS}
                onward.request(self.command, self.path, body, headers)
                answer = onward.getresponse()
                self._answer(answer.status, answer.read(), answer.headers.get("Content-Type", ""))
                onward.close()

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":  # as an empty file is sent
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size + 2)[:-2]
                self.rfile.readline()
                return body

            def _answer(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def open(self) -> Iterator["Gate"]:
        thread = Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


@contextmanager
def mlflow_server(folder: Path) -> Iterator[MlflowServer]:
    """A server that is up, killed at the block's end."""
    server = MlflowServer(folder)
    try:
        server.start()
        yield server
    finally:
        with suppress(ProcessLookupError):
            server.signal(signal.SIGCONT)
        server.kill()


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
