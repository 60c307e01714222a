"""Files that are damaged, forged or cut short by a full disk."""

import errno
import functools
import io
import os
import random
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from charloom.adapters.command import environment_fault
from charloom.adapters.configuration import load as load_config
from charloom.adapters.files import archive, artifacts, corpus, models, snapshots
from charloom.adapters.files.formats import Csv, Json, JsonLines, Text
from charloom.adapters.files.work_folder import WorkFolder
from charloom.core.common.errors import CharloomError
from charloom.core.network import Model, Network
from charloom.core.text import Vocabulary
from charloom.stages import prepare, synthesize, train
from tests.project import copy_configuration
from tests.results import make_result
from tests.results import prepare as prepare_text
from tests.torture.promise import Promise

MEMORY = 64 << 20  # bytes that the loading of a file of some kilobytes may take
PAGE = 4096
TEXT = "the quick brown fox jumps over the lazy dog\n" * 12
FINGERPRINT = "f" * 16
RESULTS = ("train/model.npz", "train/best.npz", "train/history.csv", "train/samples.jsonl", "synthesize/sample.txt")
TINY = (
    *("seed=1", "data.path=text.txt", "data.validation_fraction=0.1", "model.hidden_size=4"),
    *("train.steps=6", "train.checkpoint_every=2", "train.log_every=1", "train.validate_every=3"),
    *("train.sample_every=3", "train.sample_length=5", "train.final_sample_length=5", "synthesize.length=5"),
)


@dataclass(frozen=True)
class Target:
    """A file that is damaged, and what is made of the folder that it is in."""

    name: str
    load: Callable[[Path], Any]


def _model(folder: Path) -> Any:
    model = models.load(folder / "model.npz")
    return model.vocabulary, model.network.sizes, model.network.parameters.vector.tobytes()


def _snapshots(folder: Path) -> Any:
    found = snapshots.load(folder / "snapshots.npz")
    return found.steps.tobytes(), {name: array.tobytes() for name, array in found.parameters.items()}


def _resumed(folder: Path) -> Any:
    with redirect_stderr(io.StringIO()), WorkFolder(folder, FINGERPRINT) as work:
        saved = work.resume()
        assert saved is not None
        return {name: array.tobytes() for name, array in saved.arrays.items()}, saved.values, work.history


def _corpus(folder: Path) -> Any:
    text = corpus.load(folder)
    return text.vocabulary, text.train_ids.tobytes(), text.validation_ids.tobytes(), text.summary


WORK = f".charloom/{FINGERPRINT}"
ARCHIVES = (
    Target("model.npz", _model),
    Target("snapshots.npz", _snapshots),
    Target(f"{WORK}/checkpoint-{2:012d}.npz", _resumed),
)
TARGETS = (
    *ARCHIVES,
    Target(f"{WORK}/history.jsonl", _resumed),
    *(Target(f"prepare/{name}", _corpus) for name in ("ids.npy", "vocabulary.json", "summary.json", "SHA256SUMS")),
    *(
        Target(file.name, file.read)
        for file in artifacts.ALL
        if isinstance(file, Json | JsonLines | Csv | Text) and file.stage not in ("prepare", "track")
    ),
)


@functools.cache
def _originals() -> dict[str, bytes]:
    """The undamaged files, by their names in the folder of an attempt."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_result(root)
        (root / "text.txt").write_text(TEXT)
        prepare_text(root / "text.txt", root)
        network = Network(vocabulary_size=3, hidden_size=4, cell="gru", dtype=np.float64)
        network.initialize(0.5, rng=np.random.default_rng(1))
        models.save(Model(network, Vocabulary("abc")), root / "model.npz")
        snapshots.save(root / "snapshots.npz", network.sizes, [1, 2], [network.parameters] * 2)
        with WorkFolder(root, FINGERPRINT) as work:
            for step in (1, 2):
                work.append({"step": step, "loss": 1 / 3 + step, "sample": "é"})
            work.save(network.parameters, {"step": 2, "smooth_loss": 0.1, "rng": {"state": 2**100}})
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _attempt(target: Target, content: bytes, folder: Path) -> None:
    """Load a folder in which the target has this content: it must be refused in one line, or be what it was."""
    top = f"{target.name.partition('/')[0]}/" if "/" in target.name else target.name
    for name, original in _originals().items():
        if name.startswith(top):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(original)
    expected = target.load(folder)
    (folder / target.name).write_bytes(content)
    refusal: CharloomError | None = None
    tracemalloc.start()
    try:
        found = target.load(folder)
    except CharloomError as error:
        refusal = error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MEMORY, f"{peak} bytes to load {target.name} of {len(content)}"
    if refusal is None:
        assert found == expected, f"{target.name} was read as something else"
    else:
        assert refusal.exit_code in (3, 4), refusal
        assert "\n" not in str(refusal), refusal


def _damage(change: Callable[[random.Random, bytearray], None], seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    target = TARGETS[seed % len(TARGETS)]
    content = bytearray(_originals()[target.name])
    change(rng, content)
    _attempt(target, bytes(content), folder)


def _flip_a_bit(rng: random.Random, content: bytearray) -> None:
    bit = rng.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8


def _cut(rng: random.Random, content: bytearray) -> None:
    del content[rng.randrange(len(content)) :]


def _zero_a_page(rng: random.Random, content: bytearray) -> None:
    start = rng.randrange(0, len(content), min(PAGE, 64))  # the files are small, so a page may begin anywhere
    stop = min(start + PAGE, len(content))
    content[start:stop] = bytes(stop - start)


def _npy(shape: tuple[int, ...], descr: Any, data: bytes = b"") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def _forge(seed: int, folder: Path) -> None:
    """One of the ways to build an archive whose own checksums of members are right."""
    rng = random.Random(seed)
    target = ARCHIVES[seed % len(ARCHIVES)]
    with zipfile.ZipFile(io.BytesIO(_originals()[target.name])) as original:
        members = {name: original.read(name) for name in original.namelist()}
    first, second = rng.sample([name for name in members if name != "metadata.npy"], 2)
    compression = zipfile.ZIP_STORED
    match seed // len(ARCHIVES) % 7:
        case 0:
            members[first], members[second] = members[second], members[first]
        case 1:
            members[first] = _npy((rng.choice([10**9, 10**14, 2**62]),), "<f8", bytes(64))
        case 2:
            members[first] = b"\x93NUMPY\x01\x00\xff\xff" + b"(" * rng.randrange(1, 65_535)
        case 3:
            members[first] = bytes(MEMORY + 1)
            compression = zipfile.ZIP_DEFLATED
        case 4:
            members[first] = _npy((1,), "|O", b"\x80\x04N.")
        case 5:
            members[f"../../{first}"] = members.pop(first)
        case 6:
            members["metadata.npy"] = _npy((50_000,), "|u1", b"[" * 50_000)
    forged = io.BytesIO()
    with zipfile.ZipFile(forged, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    _attempt(target, forged.getvalue(), folder)


class _FullDisk:
    """Counts what is written, and has no space left from the `at`-th write, fsync or rename on."""

    def __init__(self, at: int | None) -> None:
        self.count, self._at = 0, at

    def use(self) -> None:
        self.count += 1
        if self._at is not None and self.count >= self._at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def _full_disk(at: int | None) -> Iterator[_FullDisk]:
    disk, real_fsync, real_replace = _FullDisk(at), os.fsync, os.replace
    real_open: Any = io.open

    class File(io.FileIO):
        def write(self, content: Any) -> Any:
            try:
                disk.use()
            except OSError:
                super().write(content[: len(content) // 2])  # what there was space for
                raise
            return super().write(content)

    def opened(file: Any, mode: str = "r", *arguments: Any, opener: Any = None, **options: Any) -> Any:
        if "b" not in mode or not set("wa+") & set(mode):
            return real_open(file, mode, *arguments, opener=opener, **options)
        raw = File(file, mode.replace("b", ""), opener=opener)
        return io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)

    def fsync(fd: int) -> None:
        disk.use()
        real_fsync(fd)

    def replace(*paths: Any) -> None:
        disk.use()
        real_replace(*paths)

    with patch("io.open", opened), patch("os.fsync", fsync), patch("os.replace", replace):
        yield disk


def _stages(folder: Path, at: int | None) -> int:
    """Prepare, train and synthesize in the folder; how often something was written."""
    with chdir(folder), _full_disk(at) as disk, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        config = load_config(TINY)
        for stage in (prepare, train, synthesize):
            stage.run(config, Path("artifacts"), Path("artifacts") / stage.__name__.rpartition(".")[2])
    return disk.count


def _project(folder: Path) -> Path:
    copy_configuration(folder / "project")
    (folder / "project/text.txt").write_text(TEXT)
    return folder / "project"


@functools.cache
def _undisturbed() -> tuple[int, dict[str, bytes]]:
    """How often an undisturbed training writes, and what it leaves."""
    with tempfile.TemporaryDirectory() as folder:
        project = _project(Path(folder))
        writes = _stages(project, None)
        return writes, {name: (project / "artifacts" / name).read_bytes() for name in RESULTS}


def _fill_the_disk(seed: int, folder: Path) -> None:
    writes, expected = _undisturbed()
    project = _project(folder)
    try:
        _stages(project, 1 + seed % writes)
    except OSError as error:
        fault = environment_fault(error)
    else:
        raise AssertionError("a full disk was not noticed")
    assert fault.exit_code == 5
    named, remedy = str(fault).split(": No space left on device; ")
    assert named.startswith(("artifacts/", str(project), ".charloom/")), fault
    assert remedy == "free space there, then run the same command again"
    checkpoints = sorted(project.glob(".charloom/*/checkpoint-*.npz"))
    for path in checkpoints:
        archive.load(path, "checkpoint")
    assert not list(project.rglob("*.tmp"))
    _stages(project, None)
    assert {name: (project / "artifacts" / name).read_bytes() for name in RESULTS} == expected


_REFUSED = "is refused in one line, or the file is read as it was"
PROMISES = (
    Promise(f"a flipped bit in a file {_REFUSED}", functools.partial(_damage, _flip_a_bit), 10_000, 60),
    Promise(f"a file cut short {_REFUSED}", functools.partial(_damage, _cut), 1_000, 20),
    Promise(f"a zeroed page in a file {_REFUSED}", functools.partial(_damage, _zero_a_page), 1_000, 20),
    Promise("a forged checkpoint or model is refused in one line and in little memory", _forge, 1_000, 14),
    Promise("a full disk at any write ends in exit code 5, and the end is the same bytes", _fill_the_disk, 300, 6),
)
