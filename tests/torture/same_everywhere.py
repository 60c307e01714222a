"""The same bytes whatever surrounds the process: clock, time zone, locale, hash seed, threads, folders, permissions."""

import ctypes
import os
import random
import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.project import ROOT, Project
from tests.torture.promise import Promise

SMALL = (
    *("preset=smoke", "tracking=off", "model.hidden_size=8", "train.steps=100", "train.validate_every=50"),
    *("train.sample_every=50", "gradcheck.hidden_size=3", "gradcheck.seq_length=3", "synthesize.length=50"),
)
_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE = 24, 1
STAGES = ("prepare", "baseline", "gradcheck", "train", "synthesize", "evaluate", "plot", "track")
FOLDERS = ("a project", "Übungen zu Sprachmodellen", "проект", "計画 1", "it's $HOME; `x` & more")
ZONES = ("UTC", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia", "XYZ+11:59")
LOCALES = (
    {"LC_ALL": "C.UTF-8"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},  # ASCII for files' names and output
    {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    {"LC_ALL": "de_DE.ISO-8859-1", "LANG": "de_DE.ISO-8859-1"},
)

# Python imports this at its start where it is found. The clock, as Python's own modules tell it, is set back by so many
# seconds, after the first thousand readings once more: it jumps while the stages run.
CLOCK = """
import datetime, os, time

back, readings = float(os.environ["CLOCK_BACK"]), 0
real, real_datetime = time.time, datetime.datetime

def now():
    global readings
    readings += 1
    return real() - back * (1 + (readings > 1000))

class ShiftedDatetime(real_datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(now(), tz)

    @classmethod
    def utcnow(cls):
        return cls.fromtimestamp(now(), datetime.timezone.utc).replace(tzinfo=None)

time.time, time.time_ns = now, lambda: int(now() * 1e9)
datetime.datetime = ShiftedDatetime
"""


def whatever_surrounds_it(seed: int, folder: Path) -> None:
    """Run every stage in surroundings that the seed chooses, and compare the hash of every file."""
    rng = random.Random(seed)
    project = Project.create(folder / rng.choice(FOLDERS))
    sources, site = folder / "the sources", folder / "site"
    shutil.copytree(ROOT / "src", sources, ignore=shutil.ignore_patterns("__pycache__"))
    site.mkdir()
    (site / "sitecustomize.py").write_text(CLOCK, encoding="utf-8")
    variables = {
        "PYTHONPATH": os.pathsep.join((str(site), str(sources))),
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONHASHSEED": str(rng.randrange(2**32)),
        "CLOCK_BACK": str(rng.choice([0, 3600, 86_400 * 365, 86_400 * 365 * 30])),
        "TZ": rng.choice(ZONES),
        **rng.choice(LOCALES),
        **{name: str(rng.choice([1, 2])) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")},
    }
    below = project.root / rng.choice([".", "notes/März"])
    if below != project.root:
        shutil.copytree(project.corpus.parent, below / "data")  # data.path is relative to the working directory
    if rng.random() < 0.5:
        set_writable(sources, False)
    try:
        found = run(project, below, variables)
    finally:
        set_writable(sources, True)
    expected = _usual()
    assert sorted(found) == sorted(expected)
    different = [name for name in expected if found[name] != expected[name]]
    assert not different, f"not the same bytes with {variables} in {below}: {', '.join(different)}"


def run(project: Project, cwd: Path, variables: dict[str, str]) -> dict[str, bytes]:
    """The files of every stage, from the experiment run in `cwd`."""
    out = f"out={os.path.relpath(project.root / 'results', cwd)}"
    options: dict[str, Any] = {"cwd": cwd, "variables": variables, "preexec_fn": obey_permissions}
    ended = project.python("-m", "charloom.experiment", *SMALL, out, **options)
    assert ended.code == 0, ended.errors
    assert "Traceback" not in ended.errors
    return {name: content for stage in STAGES for name, content in project.files(f"results/{stage}").items()}


def obey_permissions() -> None:
    """Let root, too, be refused what a file's permissions refuse, from the next program on."""
    ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE)


def set_writable(folder: Path, writable: bool) -> None:
    """Change the permissions of everything in a folder."""
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) if writable else (0o555 if path.is_dir() else 0o444))


@cache
def _usual() -> dict[str, bytes]:
    """The files of every stage in the usual surroundings."""
    with TemporaryDirectory() as folder:
        project = Project.create(Path(folder) / "a project")
        return run(project, project.root, {})


PROMISES = (
    Promise(
        "another clock, time zone, locale, hash seed, number of BLAS threads, working directory or path, and sources "
        "that are read-only: the same bytes in every file",
        whatever_surrounds_it,
        tries=100,
        short=2,
    ),
)
