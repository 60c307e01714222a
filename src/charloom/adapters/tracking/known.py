"""Which journals there are: those in a folder of runs, and those of this project that MLflow may lack parts of.

The latter are in `.charloom/runs/`: links to the journals of runs, and the journals of DVC's own, whose results are in
a folder that the next run replaces.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from charloom.adapters.configuration import project_root
from charloom.adapters.files.formats import CHECKSUMS, hash_file
from charloom.adapters.tracking.addresses import Target, home
from charloom.adapters.tracking.journal import FOLDER, LINES, identify, is_finished, is_gone, last, read


def runs() -> Path:
    """The folder of the journals that may not be sent yet."""
    return home() / ".charloom" / "runs"


def pending() -> list[Path]:
    """The folders of the journals that may not be sent yet, those of sweeps before those of their jobs."""
    found: dict[Path, None] = {}
    for entry in sorted(runs().glob("*")):
        if entry.is_symlink() and not entry.exists():  # its run was removed
            entry.unlink(missing_ok=True)
        elif (entry / LINES).is_file():
            folder = entry.resolve()
            found |= dict.fromkeys(within(folder.parent) if entry.is_symlink() else [folder])
    return list(found)


def within(folder: Path) -> list[Path]:
    """The folders of the journals in a journal's, a run's or a sweep's folder, a sweep's own first."""
    places = [folder, folder / FOLDER, *(path / FOLDER for path in sorted(folder.glob("*"), key=_by_number))]
    return [place for place in places if (place / LINES).is_file()]


def run_of(journal: Path) -> Path:
    """The folder of the run or the sweep that a journal's folder is in; that folder itself where DVC trains."""
    return journal.parent if journal.name == FOLDER else journal


def _by_number(path: Path) -> tuple[int, str]:
    return (int(path.name) if path.name.isdecimal() else -1, path.name)


def place(folder: Path, parameters: Mapping[str, str], target: Target) -> None:
    """Make `folder` the place for the journal of a run, and note that it may not be sent yet.

    There stands the journal with which the run goes on: the one that is there already, or that of a run with the same
    parameters that stopped in the middle of its training, wherever that was.
    """
    clear(folder, parameters)
    key = hashlib.sha256(json.dumps([sorted(parameters.items()), vars(target)]).encode()).hexdigest()[:16]
    link = runs() / key
    if link.exists():
        earlier = link.resolve()
        if _is_running(earlier):
            link = link.with_name(f"{key}-{os.getpid()}")
        elif earlier != folder.resolve() and not folder.exists() and _can_go_on(earlier):
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(earlier, folder)
    note(folder, link)


def note(folder: Path, link: Path) -> None:
    """Let a link in `runs` point to a journal's folder; both may move with the project."""
    folder.mkdir(parents=True, exist_ok=True)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(folder.resolve(), link.parent.resolve()))


def clear(folder: Path, parameters: Mapping[str, str], *, repeats: bool = False) -> None:
    """Remove a journal with which a run with these parameters cannot go on.

    A run that `repeats` what it did before, row by row, goes on with a finished one of which no result came.
    """
    start = last(folder, "start")
    is_over = is_finished(folder) and not (repeats and last(folder, "result") is None)
    if start and (start["parameters"] != dict(parameters) or is_over):
        shutil.rmtree(folder)


def forget(folder: Path) -> None:
    """Note that all of a journal was sent: nothing can go on with it, and nobody needs a copy of it."""
    if _can_go_on(folder):
        return
    if folder.parent == runs().resolve():
        if last(folder, "result"):
            shutil.rmtree(folder, ignore_errors=True)
        return
    for link in runs().glob("*"):
        if link.is_symlink() and link.resolve() == folder.resolve():
            link.unlink(missing_ok=True)


def training_journal(fingerprint: str, parameters: Mapping[str, str], *, repeats: bool) -> Path:
    """The folder for the journal of a training that DVC runs, in which the same training goes on after a kill.

    One that comes to the same result each time, as `repeats` says, also goes on where it had ended, but DVC was stopped
    before it kept the result.
    """
    root = project_root()
    folder = runs() / (fingerprint if root == home() else f"{fingerprint}-{root.name}")
    clear(folder, parameters, repeats=repeats)
    return folder


def result_journal(key: str) -> Path:
    """The folder for the journal of a result that is recorded by itself, with what an earlier attempt left there."""
    folder = runs() / f"result-{key}"
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        start = last(folder, "start")
        if start is None or _is_another(start["process"]):  # is about to record it
            return runs() / f"result-{key}-{os.getpid()}"
    return folder


def trained(inp: Path, result: str, parameters: Mapping[str, str]) -> Path | None:
    """The folder of the journal of the run that left the files in `inp`; None where there is none, or not with these
    parameters.

    It stands beside the files, or where DVC ran the training in `runs`: that may be part of several results, and its
    run is the first one's.
    """
    start = None if "DVC_STAGE" in os.environ else last(inp / FOLDER, "start")
    if start:
        return inp / FOLDER if start["parameters"].items() <= parameters.items() else None
    checksums = hash_file(inp / "train" / CHECKSUMS)
    for folder in runs().glob("*"):
        event = None if folder.is_symlink() else last(folder, "trained")
        held = last(folder, "result")
        same = event and (event["checksums"], event["project"]) == (checksums, str(project_root()))
        if same and (held is None or held["result"] == result):
            return folder
    return None


def _is_another(process: str) -> bool:
    return not is_gone(process) and process != identify(os.getpid())


def _is_running(folder: Path) -> bool:
    start = last(folder, "start")
    return start is not None and not is_gone(start["process"])


def _has_rows(folder: Path) -> bool:
    return any(event["event"] == "row" for event, _ in read(folder))


def _can_go_on(folder: Path) -> bool:
    return not is_finished(folder) and _has_rows(folder)
