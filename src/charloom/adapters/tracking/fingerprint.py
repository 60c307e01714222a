"""The fingerprint of a result: the hashes of its files and of its parameters. Knows nothing about MLflow."""

import hashlib
import json
from pathlib import Path

from charloom.adapters.configuration import Config
from charloom.adapters.files import artifacts
from charloom.core.common.errors import StateError
from charloom.core.common.records import Result

_REQUIRED = (
    artifacts.SUMMARY,
    artifacts.ERRORS,
    artifacts.ERROR_TABLE,
    artifacts.MODEL,
    artifacts.HISTORY,
    artifacts.SAMPLES,
    artifacts.WARNINGS,
    artifacts.METRICS,
    artifacts.TEXT,
    artifacts.QUALITY,
)
_STAGES = {artifact.stage for artifact in (*_REQUIRED, artifacts.REPORT)}


def hash_result(config: Config, inp: Path) -> Result:
    """The sha256 of each file in the stage folders of `inp`, and of these together with the parameters.

    The same on every machine. Raises StateError where a stage has not left its files.
    """
    for artifact in _REQUIRED:
        if not (inp / artifact.name).is_file():
            raise StateError(f"{inp / artifact.name} is missing; run the {artifact.stage} stage first")
    files = {}
    for path in sorted(path for stage in _STAGES for path in (inp / stage).rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            with path.open("rb") as file:
                files[path.relative_to(inp).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    whole = json.dumps({"files": files, "parameters": config.parameters()}, sort_keys=True)
    return Result(hashlib.sha256(whole.encode()).hexdigest(), files)
