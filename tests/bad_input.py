"""What charloom says to every wrong value of every option, and to every kind of thing that is not the file it needs.

    python -m tests.bad_input   # writes docs/bad_input.md; a test says when that is due

Knows nothing about pytest.
"""

import copy
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import yaml
from omegaconf import DictConfig

from charloom.adapters.configuration import Config, load
from charloom.adapters.configuration.composition import from_composed
from charloom.adapters.configuration.schema import OPTIONS
from charloom.core.common.errors import ConfigError
from charloom.stages import evaluate, prepare, synthesize, train
from tests.project import ROOT, Project, command_here

PAGE = ROOT / "docs" / "bad_input.md"
MISSING = object()  # in the place of a value: the key is left out
LIMIT = 5  # seconds until a command counts as one that hangs
_STAGES = {"prepare": prepare.run, "train": train.run, "synthesize": synthesize.run, "evaluate": evaluate.run}


def config_with(key: str, value: Any) -> Config:
    """The values of params.yaml with one of them changed or left out, checked."""
    plain = copy.deepcopy(_defaults())
    plain["model"]["register"] = None
    plain |= {"tracking": {"mode": "off", "uri": None, "experiment": "charloom"}, "inp": "artifacts", "out": "outputs"}
    plain["sweep"] = {"resume": None, "extend": False, "objective": "validation_nats_per_char", "plot": "best"}
    section, _, name = key.rpartition(".")
    values = plain[section] if section else plain
    values[name] = value
    if value is MISSING:
        del values[name]
    return from_composed(DictConfig(plain), default_out="outputs")


@cache
def _defaults() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return values


def wrong_values(described: dict[str, Any]) -> dict[str, Any]:
    """A value below what an option takes, one above and one of a wrong type, for a type as a JSON schema."""
    if "enum" in described:
        return {"wrong type": True, "above": "another"}
    if described["type"] == "string":
        empty = {"below": ""} if "minLength" in described else {}
        return {**empty, "above": "a" * (described["maxLength"] + 1), "wrong type": 1.5}
    if described["type"] == "integer":
        return {"below": described["minimum"] - 1, "above": described["maximum"] + 1, "wrong type": "many"}
    below = 0.0 if described.get("minimum", 0) or "exclusiveMinimum" in described else -0.1
    return {"below": below, "above": described.get("maximum", 0.1) * 10.0, "wrong type": "many"}


def refusals(key: str) -> dict[str, str]:
    """What is said to each wrong value of an option, and to none at all; "taken" where it is not refused."""
    found = {}
    for kind, value in {**wrong_values(OPTIONS[key][0]), "missing": MISSING}.items():
        try:
            config_with(key, value)
            found[kind] = "taken"
        except ConfigError as error:
            found[kind] = str(error)
    return found


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code and the last line on stderr; None where it did not end."""

    code: int | None
    line: str


class _Hangs(BaseException):
    pass


def _alarm(signum: int, frame: FrameType | None) -> NoReturn:
    raise _Hangs


def run_stage(stage: str, *overrides: str) -> Outcome:
    """What becomes of a stage, run in this process in the working directory."""

    def work() -> None:
        signal.signal(signal.SIGALRM, _alarm)  # here, since a command handles SIGALRM itself around its work
        signal.alarm(LIMIT)
        config = load(overrides)
        _STAGES[stage](config, Path(config.inp), Path(config.out))

    try:
        ended = command_here(work)
    except _Hangs:
        return Outcome(None, "hangs")
    finally:
        signal.alarm(0)
    return Outcome(ended.code, (ended.errors.splitlines() or [""])[-1])


KINDS: dict[str, Callable[[Path], None]] = {
    "nothing": lambda path: None,
    "a directory": Path.mkdir,
    "a FIFO": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a symlink to itself": lambda path: path.symlink_to(path.name),
    "a file that cannot be read": lambda path: path.symlink_to("/proc/self/mem"),  # nobody, not even root, at offset 0
    "an empty file": Path.touch,
}
PLACES = {
    "`params.yaml`": ("params.yaml", ("prepare",)),
    "`data.path`": ("text.txt", ("prepare", "data.path=text.txt", "out=prepared")),
    "`synthesize.prime_file`": ("prompt.txt", ("synthesize", "synthesize.prime_file=prompt.txt", "out=written")),
    "`evaluate.path`": ("other.txt", ("evaluate", "evaluate.path=other.txt", "out=evaluated")),
    "`evaluate.model`": ("other.npz", ("evaluate", "evaluate.model=other.npz", "out=evaluated")),
    "`inp`": ("results", ("train", "inp=results", "out=trained")),
    "`out`": ("results", ("prepare", "out=results")),
}


def files(project: Project) -> Iterator[tuple[str, str, Outcome]]:
    """Every place for a file or folder with every kind of thing in it, and how the command ends that needs the file.

    The project, in which the train stage has run, is the working directory.
    """
    kept = (project.root / "params.yaml").read_bytes()
    for place, (name, command) in PLACES.items():
        path = project.root / name
        for kind in KINDS:
            path.unlink(missing_ok=True)
            KINDS[kind](path)
            outcome = run_stage(*command)
            yield place, kind, Outcome(outcome.code, outcome.line.replace(str(project.root), "/home/me/project"))
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        (project.root / "params.yaml").write_bytes(kept)


def page(project: Project) -> Iterator[str]:
    """The lines of docs/bad_input.md; the project is as for `files`."""
    yield from _INTRODUCTION.splitlines()
    yield "| option | below | above, or another name | wrong type | missing |"
    yield "|---|---|---|---|---|"
    for key in OPTIONS:
        said = {kind: _cell(message.removeprefix(f"{key} ")) for kind, message in refusals(key).items()}
        yield (
            f"| `{key}` | "
            + " | ".join(said.get(kind, "") for kind in ("below", "above", "wrong type", "missing"))
            + " |"
        )
    yield from _FILES.splitlines()
    yield "| where | what is there | exit code | message |"
    yield "|---|---|---|---|"
    for place, kind, outcome in files(project):
        message = _cell(outcome.line.removeprefix("charloom: error: ")) if outcome.code != 0 else "taken"
        yield f"| {place} | {kind} | {outcome.code} | {message} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


_INTRODUCTION = """# What charloom says to wrong input

Written by `python -m tests.bad_input`; a test says when it is due again.

## Values

Values are checked before anything else is done, and all that is wrong is said in one line. The exit code is 2. An
optional value may also be `null`. In front of each message stands the key, which is left out here:

"""
_FILES = """
## Files

What a command says where another kind of thing stands in the place of the file or folder that it needs. `inp` is what
the train stage reads, `out` what the prepare stage writes:

"""


def main() -> None:
    """Write the page."""
    with tempfile.TemporaryDirectory() as folder:
        project = Project.create(Path(folder) / "project")
        project.stage("prepare")
        project.stage("train", "preset=smoke")
        os.chdir(project.root)
        lines = list(page(project))
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
