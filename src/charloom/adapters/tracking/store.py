"""Where the runs are kept: MLflow's address, the lock on it, how long to wait for it, and the experiment.

Knows nothing about what a run holds.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from charloom.adapters.configuration import TrackingConfig, project_root
from charloom.adapters.tracking import moved
from charloom.core.common.errors import EnvironmentFault

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's own defaults wait four minutes for a server that is down and twenty for one that hangs. What the user has
# set stays.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # opens on runs, not on traces
    "mlflow.experiment.primaryMetric.name": "smooth_loss",
    "mlflow.experiment.primaryMetric.greaterIsBetter": "false",
}


@dataclass(frozen=True)
class Address:
    """Where MLflow keeps the runs: a server's URI, or that of a database with its file."""

    uri: str
    database: Path | None

    @property
    def artifacts(self) -> Path | None:
        """The folder of the runs' files, beside the database; None where a server decides."""
        return self.database.parent / "mlartifacts" if self.database else None

    def __str__(self) -> str:
        """The URI without the secrets that may be in it."""
        return without_secrets(self.uri)


@dataclass(frozen=True)
class Store:
    """An experiment that can be written to."""

    client: "MlflowClient"
    experiment_id: str
    address: Address


def without_secrets(text: str) -> str:
    """A text without the user names, passwords and queries of its addresses.

    >>> without_secrets("no answer from http://me:pass@host/api?key=1 today")
    'no answer from http://host/api today'
    """
    return re.sub(r"(://[^\s?]*)\?\S*", r"\1", re.sub(r"://[^/\s]\S*@", "://", text))


def home() -> Path:
    """The folder of the database: the project's root.

    A queued or temporary DVC experiment runs in a copy of the project that is thrown away; there, it is the
    root of the project that was copied.
    """
    root = project_root()
    copy = next((folder for folder in (root, *root.parents) if (folder / ".dvc").is_dir()), root)
    origin, is_copy, _ = copy.as_posix().partition("/.dvc/tmp/exps/")
    if not is_copy:  # or .dvc/tmp is a link to elsewhere; in an experiment, DVC_ROOT is the project copied
        origin = os.environ.get("DVC_ROOT", "") if "DVC_EXP_NAME" in os.environ else ""
    original = Path(origin) / root.relative_to(copy)
    return original if origin and (original / "params.yaml").is_file() else root


@contextmanager
def opened(tracking: TrackingConfig, hint: str) -> Iterator[Store]:
    """Open the experiment, made where there is none yet, for one process of this project at a time.

    It is at `MLFLOW_TRACKING_URI` where that is set, else at `tracking.uri`, else in mlflow.db; a relative path to a
    database is taken from `home`.

    The lock is for what MLflow cannot do: processes that create a database together all fail, and two that
    look for a result together both record it. Raises EnvironmentFault, one line that ends in `hint`, where MLflow
    fails.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or tracking.uri or "sqlite:///mlflow.db"
    address, lock = Address(uri, None), home() / ".charloom/tracking.lock"
    if uri.startswith("sqlite:///"):
        database = home() / uri.removeprefix("sqlite:///")
        address, lock = Address(f"sqlite:///{database}", database), database.with_name(f"{database.name}.lock")
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    from mlflow.exceptions import MlflowException  # sets its loggers' levels, so ours come after it
    from sqlalchemy.exc import SQLAlchemyError

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(lock, timeout=120):
            yield _open(address, tracking.experiment)
    except filelock.Timeout:
        raise EnvironmentFault(f"another process has held {lock} for two minutes; {hint}") from None
    except (MlflowException, SQLAlchemyError, OSError) as error:
        cause = without_secrets(_root_cause(error).replace(address.uri, str(address)))
        raise EnvironmentFault(f"MLflow at {address} cannot be written to ({cause}); {hint}") from None


def _open(address: Address, name: str) -> Store:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    if address.database and not address.database.exists():
        _create(address.database)
    client = MlflowClient(address.uri)
    location = address.artifacts.as_uri() if address.artifacts else None
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return Store(client, client.create_experiment(name, location, _EXPERIMENT_TAGS), address)
        except MlflowException:  # on a server, another machine may have been first
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage != "active":
        raise EnvironmentFault(
            f"the experiment {name!r} at {address} was deleted; restore it or set tracking.experiment"
        )
    found = experiment.artifact_location
    # Another folder by another name is a user's choice.
    if address.database and address.artifacts and found != location and found.endswith(f"/{address.artifacts.name}"):
        moved.follow(address.database, found, address.artifacts)
    return Store(client, experiment.experiment_id, address)


def _create(database: Path) -> None:
    """Let MLflow create a database beside its place, and move it there whole: MLflow cannot complete half a one."""
    from mlflow import MlflowClient

    new = database.with_name(f"{database.name}.new")
    for leftover in database.parent.glob(f"{new.name}*"):  # SQLite's journal of it, too
        leftover.unlink()
    MlflowClient(f"sqlite:///{new}").search_experiments(max_results=1)
    os.replace(new, database)


def _root_cause(error: BaseException) -> str:
    """The first line of the first error in the chain."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    first, *_ = str(error).strip().splitlines() or [type(error).__name__]
    return first[:200].rstrip(".")
