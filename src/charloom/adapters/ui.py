"""MLflow's pages on the loopback address, opened on the runs: its server, and the command that starts it."""

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import AbstractContextManager, suppress
from typing import IO, NoReturn

from charloom.adapters.arguments import Parser
from charloom.adapters.command import exit_code
from charloom.adapters.configuration import TrackingConfig, load
from charloom.adapters.process import servers
from charloom.adapters.process.signals import Interrupted
from charloom.adapters.tracking.addresses import Address
from charloom.adapters.tracking.payload import CURVES
from charloom.adapters.tracking.store import EXPERIMENT_TAGS, opened
from charloom.core.common.errors import ConfigError, EnvironmentFault

# What the list of runs shows, under the name by which the page finds it among the experiment's tags.
_VIEW_NAME = "charloom"
_METRICS = ("smooth_loss", "validation_nats_per_char")
_PARAMETERS = ("model.cell", "model.hidden_size", "optimizer.name", "optimizer.learning_rate", "train.steps")
_VIEW = {
    "searchFilter": "",
    "orderByKey": "attributes.start_time",
    "orderByAsc": False,
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
    "selectedColumns": [f"metrics.`{CURVES}/{name}`" for name in _METRICS]
    + [f"params.`{name}`" for name in _PARAMETERS],
}


def main() -> NoReturn:
    """Run what the command line says, and exit."""
    parser = Parser("python -m charloom.tracking", "Show the runs in MLflow.")
    parser.add_argument("--port", type=int, help="default: the first free one from 5000")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("overrides", nargs="*", help="such as tracking=server tracking.uri=http://host:5000")

    def work() -> None:
        given = parser.parse_intermixed_args()
        serve(load(given.overrides).tracking, port=given.port, browser=not given.no_browser)

    sys.exit(exit_code(work))


def serve(tracking: TrackingConfig, *, port: int | None = None, browser: bool = True) -> None:
    """Show MLflow's pages, on the experiment's runs, until a signal ends it.

    `port` is the first free one from 5000 where it is None. Where the runs are on a server, its page is opened and
    nothing is served. Ends by SystemExit, 130 for Ctrl-C. Raises ConfigError where tracking is off, EnvironmentFault
    where the port is taken or the server does not start.
    """
    if tracking.mode == "off":
        raise ConfigError("tracking.mode must be sqlite or server to have runs to show, got off; try tracking=sqlite")
    with opened(tracking, "its pages cannot be shown") as store:
        empty = not store.client.search_runs([store.experiment_id], max_results=1)
        for tag, value in EXPERIMENT_TAGS.items():  # an older version may have set others
            store.client.set_experiment_tag(store.experiment_id, tag, value)
        store.client.set_experiment_tag(store.experiment_id, f"mlflow.sharedViewState.{_VIEW_NAME}", json.dumps(_VIEW))
    if empty:
        print("There are no runs yet; `make repro` or `python -m charloom.experiment` makes the first.", flush=True)
    view = f"#/experiments/{store.experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={_VIEW_NAME}"
    if store.address.uri.startswith(("http://", "https://")):
        return _show(f"{str(store.address).rstrip('/')}/{view}", browser)
    port = servers.free_port(port, 5000)
    address = f"http://{servers.LOOPBACK}:{port}"
    with tempfile.TemporaryFile() as log, _server(store.address, port, log) as server:
        try:
            _wait_until_up(server, address, log)
            _show(f"{address}/{view}", browser)
            server.wait()
        except Interrupted as interrupted:  # the usual end, and no error
            raise SystemExit(interrupted.exit_code) from None
        raise EnvironmentFault(f"MLflow's server has ended ({servers.last_line(log)}); start it again")


def _server(address: Address, port: int, log: IO[bytes]) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """MLflow's server and its workers, which all end with the block."""
    files = ["--artifacts-destination", str(address.artifacts)] if address.artifacts else []
    here = ["--host", servers.LOOPBACK, "--port", str(port), "--workers", "1"]
    # In the environment, unlike among the arguments, other users of the machine cannot read a password.
    variables = {"MLFLOW_BACKEND_STORE_URI": address.uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return servers.started(["-m", "mlflow", "server", *files, *here], variables, log)


def _wait_until_up(server: subprocess.Popen[bytes], address: str, log: IO[bytes]) -> None:
    for _ in range(600):
        with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=2):
            return
        if server.poll() is not None:
            raise EnvironmentFault(f"MLflow's server did not start ({servers.last_line(log)})")
        time.sleep(0.1)
    raise EnvironmentFault(f"MLflow's server at {address} does not answer ({servers.last_line(log)}); try again")


def _show(page: str, browser: bool) -> None:
    print(f"MLflow: {page}", flush=True)
    if browser:
        servers.show(page)
