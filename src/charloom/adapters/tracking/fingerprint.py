"""The fingerprint of a result: the hashes of its files, its parameters among them. Knows nothing about MLflow."""

import hashlib
import json
from pathlib import Path

from charloom.adapters.configuration import project_root
from charloom.adapters.files import artifacts
from charloom.adapters.files.formats import Artifact
from charloom.core.common.errors import StateError
from charloom.core.common.records import Result

_REQUIRED: tuple[Artifact, ...] = (
    artifacts.SUMMARY,
    artifacts.ERRORS,
    artifacts.ERROR_TABLE,
    artifacts.MODEL,
    artifacts.HISTORY,
    artifacts.SAMPLES,
    artifacts.METRICS,
    artifacts.TEXT,
    artifacts.QUALITY,
    *artifacts.PARAMETERS.values(),
)
_STAGES = {artifact.stage for artifact in (*_REQUIRED, artifacts.REPORT)}


def hash_result(inp: Path) -> Result:
    """The sha256 of each file in the stage folders of `inp`, and of these together.

    The same on every machine. Raises StateError where a stage has not left its files, or where one is a link to a file
    outside of the folder that is not in DVC's cache: whatever is hashed here is also sent to MLflow.
    """
    for artifact in _REQUIRED:
        if not (inp / artifact.name).is_file():
            raise StateError(f"{inp / artifact.name} is missing; run the {artifact.stage} stage first")
    inside = [inp.resolve(), project_root() / ".dvc"]
    files = {}
    for path in sorted(path for stage in _STAGES for path in (inp / stage).rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            if not any(path.resolve().is_relative_to(folder) for folder in inside):
                raise StateError(f"{path} must be a file in {inp}, got a link to {path.resolve()}; remove the link")
            with path.open("rb") as file:
                files[path.relative_to(inp).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return Result(hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest(), files)
