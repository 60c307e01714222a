"""The fingerprint of a result: the hashes of its files, its parameters among them. Knows nothing about MLflow."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from charloom.adapters.configuration import project_root
from charloom.adapters.files import artifacts
from charloom.adapters.files.formats import CHECKSUMS, Artifact
from charloom.core.common.errors import StateError
from charloom.core.common.records import Result

_REQUIRED: tuple[Artifact, ...] = (
    artifacts.SUMMARY,
    artifacts.BASELINES,
    artifacts.ERRORS,
    artifacts.ERROR_TABLE,
    artifacts.MODEL,
    artifacts.HISTORY,
    artifacts.SAMPLES,
    artifacts.WARNINGS,
    artifacts.METRICS,
    artifacts.TEXT,
    artifacts.QUALITY,
    artifacts.EVALUATION,
    *artifacts.PARAMETERS.values(),
)
_STAGES = tuple(stage for stage in artifacts.STAGES if stage != artifacts.RESULT.stage)
_MOST_NAMED = 5  # differences in a line


def hash_result(inp: Path) -> Result:
    """The sha256 of each file in the stage folders of `inp`, and of these together.

    The same on every machine. Raises StateError where a stage has not left its files, where one is not as it was
    written, or where one is a link to a file outside of the folder that is not in DVC's cache: whatever is hashed here
    is also sent to MLflow.
    """
    for artifact in _REQUIRED:
        if not (inp / artifact.name).is_file():
            raise StateError(f"{inp / artifact.name} is missing; run the {artifact.stage} stage first")
    files, problems = _verified(inp, _STAGES)
    inside = [inp.resolve(), project_root() / ".dvc"]
    for path in (inp / name for name in files):
        if not any(path.resolve().is_relative_to(folder) for folder in inside):
            raise StateError(f"{path} must be a file in {inp}, got a link to {path.resolve()}; remove the link")
    if problems:
        raise StateError(f"{_listed(inp, problems)}; run that stage again")
    return Result(_fingerprint(files), files)


def verify(inp: Path) -> str:
    """Check every file in the stage folders of `inp` against their checksums, and these against the result's own.

    Returns what was checked, as a line. Raises StateError where something differs, with what it is.
    """
    stages = [stage for stage in artifacts.STAGES if (inp / stage).is_dir()]
    if not stages:
        raise StateError(
            f"{inp} has none of the folders {', '.join(artifacts.STAGES)}; name a result, such as artifacts"
        )
    files, problems = _verified(inp, stages)
    known = {*files, *(f"{stage}/{CHECKSUMS}" for stage in stages)}
    for stage in stages:
        names = (f"{stage}/{path.name}" for path in sorted((inp / stage).iterdir()) if path.name[0] != ".")
        problems += [f"{name} is not of the result" for name in names if name not in known]
    checked = f"{len(files)} files of {', '.join(stages)} are as they were written"
    if artifacts.RESULT.stage not in stages:
        whole = f"there is no {artifacts.RESULT.name}, so they may be of different results"
    elif not problems:
        result = artifacts.RESULT.read(inp)
        files.pop(artifacts.RESULT.name)
        problems += [
            f"{name} is {'missing' if name not in files else 'not that of the result'}"
            for name, sha256 in result.files.items()
            if files.get(name) != sha256
        ]
        problems += [f"{name} is not of the result" for name in files.keys() - result.files.keys()]
        if _fingerprint(result.files) != result.result:
            problems.append(f"{artifacts.RESULT.name} has a fingerprint of other files")
        whole = f"the result's fingerprint is {result.result}"
    if problems:
        raise StateError(_listed(inp, problems))
    return f"{inp}: {checked}; {whole}"


def _verified(inp: Path, stages: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The sha256 of the files of the stages that have a folder in `inp`, and what differs from their checksums."""
    files: dict[str, str] = {}
    problems: list[str] = []
    for stage in stages:
        if (inp / stage).is_dir():
            found, wrong = artifacts.verify(stage, inp)
            files |= found
            problems += wrong
    return dict(sorted(files.items())), problems


def _fingerprint(files: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _listed(inp: Path, problems: list[str]) -> str:
    more = f"; and {len(problems) - _MOST_NAMED} more" if len(problems) > _MOST_NAMED else ""
    return f"{inp}: {'; '.join(problems[:_MOST_NAMED])}{more}"
