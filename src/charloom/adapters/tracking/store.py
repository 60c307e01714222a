"""An experiment in MLflow that can be written to: the address, how long to wait for it, and what its errors mean.

Knows nothing about what a run holds.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from charloom.adapters.configuration import TrackingConfig
from charloom.adapters.tracking import moved
from charloom.adapters.tracking.addresses import Address, Target, home, without_secrets
from charloom.adapters.tracking.payload import CURVES
from charloom.core.common.errors import EnvironmentFault

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

# MLflow's own defaults wait four minutes for a server that is down and twenty for one that hangs, and repeat even what
# the server may have done already. What the user has set stays.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # opens on runs, not on traces
    "mlflow.experiment.primaryMetric.name": f"{CURVES}/validation_nats_per_char",
    "mlflow.experiment.primaryMetric.greaterIsBetter": "false",
}


class Refused(EnvironmentFault):
    """The server knows neither user nor password; to ask again would not help."""


@dataclass(frozen=True)
class Store:
    """An experiment that can be written to."""

    client: "MlflowClient"
    experiment_id: str
    address: Address

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A context for one process of this project at a time, to look for something and make it where it is not."""
        with _lock(self.address):
            yield


@contextmanager
def opened(tracking: TrackingConfig, hint: str) -> Iterator[Store]:
    """Open the experiment, made where there is none yet, with the errors of `faults` in the block too."""
    target = Target.of(tracking)
    with faults(target, hint):
        yield connect(target)


@contextmanager
def faults(target: Target, hint: str) -> Iterator[None]:
    """In the block, MLflow's errors become EnvironmentFault, one line that ends in `hint`; Refused for a user's."""
    prepare()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    address = target.address
    try:
        yield
    except filelock.Timeout as error:
        raise EnvironmentFault(f"another process has held {error.lock_file} for two minutes; {hint}") from None
    except (MlflowException, SQLAlchemyError, OSError) as error:
        if isinstance(error, MlflowException) and _status(error) == 401:
            variables = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            raise Refused(f"MLflow at {address} refuses this user; {variables}; {hint}") from None
        cause = without_secrets(_root_cause(error).replace(address.uri, str(address)))
        raise EnvironmentFault(f"MLflow at {address} cannot be written to ({cause}); {hint}") from None


def prepare() -> None:
    """Set what MLflow reads when it is imported, and import it, which takes a second and a half."""
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    import mlflow  # noqa: F401 - sets its loggers' levels, so ours come after it

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


@contextmanager
def _lock(address: Address) -> Iterator[None]:
    """A context for one process of this project at a time.

    The lock is for what MLflow cannot do: processes that create a database together all fail, and two that
    look for a result together both record it.
    """
    database = address.database
    lock = database.with_name(f"{database.name}.lock") if database else home() / ".charloom/tracking.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(lock, timeout=120):
        yield


def connect(target: Target) -> Store:
    """The experiment, made where there is none yet. Raises what MLflow raises, and EnvironmentFault."""
    address, name = target.address, target.experiment
    from mlflow import MlflowClient

    if address.database and not address.database.exists():
        with _lock(address):
            if not address.database.exists():
                create(address.database)
    client = MlflowClient(address.uri)
    location = address.artifacts.as_uri() if address.artifacts else None
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        with _lock(address):
            experiment_id = _create_experiment(client, name, location)
        return Store(client, experiment_id, address)
    if experiment.lifecycle_stage != "active":
        raise EnvironmentFault(
            f"the experiment {name!r} at {address} was deleted; restore it or set tracking.experiment"
        )
    found = experiment.artifact_location
    # Another folder by another name is a user's choice.
    if address.database and address.artifacts and found != location and found.endswith(f"/{address.artifacts.name}"):
        with _lock(address):
            moved.follow(address.database, found, address.artifacts)
    return Store(client, experiment.experiment_id, address)


def _create_experiment(client: "MlflowClient", name: str, location: str | None) -> str:
    """The id of the experiment, new or made by another process in the meantime."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.create_experiment(name, location, EXPERIMENT_TAGS))
    except MlflowException:
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        return str(experiment.experiment_id)


def create(database: Path) -> None:
    """Let MLflow create a database beside its place, and move it there whole: MLflow cannot complete half a one."""
    from mlflow import MlflowClient

    new = database.with_name(f"{database.name}.new")
    for leftover in database.parent.glob(f"{new.name}*"):  # SQLite's journal of it, too
        leftover.unlink()
    MlflowClient(f"sqlite:///{new}").search_experiments(max_results=1)
    os.replace(new, database)


def _status(error: "MlflowException") -> int:
    return int(error.get_http_status_code())  # type: ignore[no-untyped-call]


def _root_cause(error: BaseException) -> str:
    """The first line of the first error in the chain."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    first, *_ = str(error).strip().splitlines() or [type(error).__name__]
    return first[:200].rstrip(".")
