"""Files that several processes need are made by one of them, and taken by the others. Knows not what they hold.

They are hard links to the same content where the file system has such, else copies. No file of charloom's is ever
changed in its place, so one that a process replaces stays as it was for the others.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from charloom.adapters.files import artifacts


def make_once(stage: str, out: Path, kept: Path, make: Callable[[], object]) -> bool:
    """Have `make` write a stage's folder `out`, or take what was kept of the same; whether it was made now.

    The folder `kept` stands for what the files are made of. While a process makes them, all others wait, and make them
    themselves where it fails. What is kept is verified.
    """
    kept.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(kept.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{stage}: another job does the same; waiting for it", file=sys.stderr)
        lock.acquire()
    try:
        if (kept / stage).is_dir() and not artifacts.verify(stage, kept)[1]:
            _link(kept / stage, out)
            return False
        make()
        _link(out, kept / stage)
        return True
    finally:
        lock.release()


def _link(source: Path, target: Path) -> None:
    """Put the files of a folder into another, which is there whole or not at all."""
    unfinished = target.with_name(f"{target.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished, copy_function=_link_file)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(unfinished, target)


def _link_file(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
