"""Where runs go: MLflow's address, and the project that the runs of a copy belong to. Knows nothing about MLflow."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from charloom.adapters.configuration import TrackingConfig, project_root


@dataclass(frozen=True)
class Address:
    """Where MLflow keeps the runs: a server's URI, or that of a database with its file."""

    uri: str
    database: Path | None

    @classmethod
    def at(cls, uri: str | None) -> "Address":
        """The address at a URI, by default mlflow.db; a relative path to a database is taken from `home`."""
        uri = uri or "sqlite:///mlflow.db"
        if not uri.startswith("sqlite:///"):
            return cls(uri, None)
        database = home() / uri.removeprefix("sqlite:///")
        return cls(f"sqlite:///{database}", database)

    @property
    def artifacts(self) -> Path | None:
        """The folder of the runs' files, beside the database; None where a server decides."""
        return self.database.parent / "mlartifacts" if self.database else None

    def __str__(self) -> str:
        """The URI without the secrets that may be in it."""
        return without_secrets(self.uri)


@dataclass(frozen=True)
class Target:
    """Where a run is to be recorded: an address without secrets, None for the project's own database, and a name."""

    uri: str | None
    experiment: str

    @classmethod
    def named(cls, tracking: TrackingConfig) -> "Target | None":
        """What the environment names, else the configuration; None where tracking is off."""
        return None if tracking.mode == "off" else cls.of(tracking)

    @classmethod
    def of(cls, tracking: TrackingConfig) -> "Target":
        """The same, were tracking on."""
        uri = os.environ.get("MLFLOW_TRACKING_URI") or tracking.uri
        return cls(without_secrets(uri) if uri else None, tracking.experiment)

    @property
    def address(self) -> Address:
        """The address of now: an address with a password can only come from the environment."""
        return Address.at(os.environ.get("MLFLOW_TRACKING_URI") or self.uri)


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
