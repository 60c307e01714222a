"""A sweep's folder: made for a new sweep, or found again to take up one that has not come to its end.

`sweep.json` in it says what the sweep is: its overrides as they were typed, the objective, the number of jobs known so
far, and checksums of the files that its jobs are configured by.
"""

import fcntl
import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from charloom.adapters.configuration import Config, override, project_root
from charloom.adapters.configuration.sources import checksums
from charloom.adapters.files import artifacts
from charloom.adapters.files.formats import hash_file, replacing, to_json
from charloom.adapters.sweeps.records import Task, is_finished, read_record, records, shaping
from charloom.core.common.errors import CharloomError, ConfigError, DataError, EnvironmentFault

_NAME = "sweep.json"
LOCK = "sweep.lock"
_SWEEPS = Path("multirun")  # as hydra.sweep.dir has it
_LATEST = "latest"


def find(config: Config, overrides: Sequence[str]) -> Path:
    """The folder of the sweep that the command line, `overrides`, describes: the one to resume, or a new one.

    A folder that is named for a new sweep and holds one is taken up, too. Raises ConfigError for a folder that is no
    sweep, and where the sweep in it is another one, with what differs.
    """
    resume = config.sweep.resume
    folder = Path(config.out) if resume is None else _latest() if resume == _LATEST else Path(resume)
    if (folder / _NAME).exists():
        _require_same(read(folder), folder, overrides, config)
    elif resume is not None:
        raise ConfigError(f"sweep.resume must be latest or the folder of a sweep, got {resume!r}, which has no {_NAME}")
    return folder


@contextmanager
def held(folder: Path, config: Config, overrides: Sequence[str]) -> Iterator[None]:
    """In the block, this process alone runs the sweep in the folder. Raises EnvironmentFault where another one does."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EnvironmentFault(f"another process runs the sweep in {folder}; wait for it or stop it") from None
        before = read(folder) if (folder / _NAME).exists() else {"started": time.time(), "jobs": 0}
        known = {
            "overrides": own(overrides),
            "objective": config.sweep.objective,
            "configuration": checksums(project_root()),
        }
        _write(folder, before | known)
        yield


def read(folder: Path) -> dict[str, Any]:
    """What `sweep.json` says. Raises ConfigError where that cannot be read."""
    try:
        values: dict[str, Any] = json.loads((folder / _NAME).read_text(encoding="utf-8"))
        if not {"overrides", "objective", "configuration", "started", "jobs"} <= values.keys():
            raise ValueError("keys are missing")
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{folder / _NAME} must be that of a sweep, got one that cannot be read ({error})") from None
    return values


def expect(folder: Path, jobs: int) -> None:
    """Note that the sweep has so many jobs or more."""
    if (values := read(folder))["jobs"] < jobs:
        _write(folder, values | {"jobs": jobs})


def command(folder: Path, overrides: Sequence[str]) -> str:
    """The command that takes the sweep up again."""
    arguments = [*own(overrides), override("sweep.resume", str(folder))]
    return shlex.join(["python", "-m", "charloom.experiment", "-m", *arguments])


def own(overrides: Sequence[str]) -> list[str]:
    """The overrides without those that choose the folder."""
    folder = ("sweep.resume", "sweep.extend", "hydra.sweep.dir", "out")
    return [text for text in overrides if text.partition("=")[0] not in folder]


def tasks(folder: Path, jobs: Sequence[Sequence[str]], first: int) -> list[Task]:
    """The jobs with these overrides, numbered from `first` on; one that the sweep has had keeps its number there."""
    numbers: dict[tuple[str, ...], list[int]] = {}
    for _, record in records(folder):
        numbers.setdefault(shaping(record.overrides), []).append(record.number)
    taken = {number for found in numbers.values() for number in found}
    after = max([*taken, first + len(jobs) - 1]) + 1
    given = []
    for number, overrides in enumerate(jobs, first):
        if known := numbers.get(shaping(overrides)):
            chosen = known.pop(0)
        elif number not in taken:
            chosen = number
        else:
            chosen, after = after, after + 1
        given.append(Task(chosen, tuple(overrides), folder))
    return given


def is_done(task: Task) -> bool:
    """Whether the job has its result already."""
    try:
        return is_finished(task.folder, read_record(task.folder))
    except (OSError, ValueError):
        return False


def _write(folder: Path, values: Mapping[str, Any]) -> None:
    with replacing(folder / _NAME) as file:
        file.write((to_json(values, indent=2) + "\n").encode())


def _latest() -> Path:
    found = [path.parent for path in _SWEEPS.glob(f"*/*/{_NAME}")]
    if not found:
        raise ConfigError(f"sweep.resume=latest takes up the newest sweep in {_SWEEPS}, got none; name its folder")
    return max(found, key=lambda folder: float(read(folder)["started"]))


def _require_same(before: Mapping[str, Any], folder: Path, overrides: Sequence[str], config: Config) -> None:
    """Raise ConfigError where the jobs of the sweep in the folder are not what this command would run."""
    then, now = (
        {text.partition("=")[0]: text for text in shaping(values)} for values in (before["overrides"], own(overrides))
    )
    differences = [
        f"{then.get(key, f'no {key}')} before, {now.get(key, f'no {key}')} now"
        for key in dict.fromkeys([*then, *now])
        if then.get(key) != now.get(key)
    ]
    if differences and not config.sweep.extend:
        raise ConfigError(
            f"{folder} has a sweep of other values: {'; '.join(differences)}; give the same values, add "
            "sweep.extend=true to run these jobs there, too, or start a sweep in another folder"
        )
    changed = [
        path
        for path, sha256 in checksums(project_root()).items()
        if before["configuration"].get(path, sha256) != sha256
    ]
    if changed:
        raise ConfigError(
            f"{' and '.join(changed)} {'have' if changed[1:] else 'has'} other values than when the sweep in {folder} "
            "began; restore them, or start a new sweep"
        )
    _require_same_texts(folder)


def _require_same_texts(folder: Path) -> None:
    """Raise DataError where a finished job was trained on a text that is another one by now."""
    texts = set()
    for job, record in records(folder):
        if is_finished(job, record):
            try:
                summary = artifacts.SUMMARY.read(job)
            except CharloomError:
                continue
            texts.add((summary.path, summary.sha256))
    for path, sha256 in sorted(texts):
        if Path(path).is_file() and hash_file(Path(path)) != sha256:
            raise DataError(f"{path} is not the text that jobs in {folder} were trained on; start a new sweep")
