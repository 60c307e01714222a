"""Which kernels OpenBLAS and NumPy compute with: chosen for commands, left alone in other programs, verified."""

import json
import os
import re
import sys
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from charloom.adapters.configuration import load
from charloom.adapters.files import corpus
from charloom.adapters.process import kernels
from charloom.core.common.errors import EnvironmentFault
from charloom.core.network import Model
from charloom.stages import synthesize, train
from tests.project import ROOT, Project

ENVIRONMENT = 5
PORTABLE = re.compile(r"openblas \S+ Haswell, NumPy \S+ X86_V3")
AVX512 = "flags\t\t: fpu avx2 avx512f avx512cd avx512bw avx512dq avx512vl"
VARIABLES = ("CHARLOOM_KERNELS", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES")

# Python imports this where it is found: each start is noted, and at the end of a process what NumPy computes with.
NOTE_KERNELS = """
import sys
from multiprocessing import util

with open("starts.log", "a") as file:
    file.write("start\\n")

def note():
    if "numpy" in sys.modules:
        from charloom.adapters.process import kernels

        with open("kernels.log", "a") as file:
            file.write(kernels.loaded() + "\\n")

util.Finalize(None, note, exitpriority=0)
"""

has_portable = pytest.mark.skipif(not kernels._has_portable(), reason="this CPU has no portable kernels")


@pytest.fixture(autouse=True)
def unchosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is chosen in the environment, and what a test chooses ends with it."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # remembered, to be restored, even where it is not set
        monkeypatch.delenv(name)


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process in which NumPy is not imported yet."""
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "numpy")
        yield


def noted(project: Project, *command: str, **variables: str) -> list[str]:
    """What each of the command's processes has computed with."""
    (project.root / "site").mkdir(exist_ok=True)
    (project.root / "site/sitecustomize.py").write_text(NOTE_KERNELS, encoding="utf-8")
    log = project.root / "kernels.log"
    log.unlink(missing_ok=True)
    path = os.pathsep.join((str(project.root / "site"), str(ROOT / "src")))
    ended = project.python(*command, variables={"PYTHONPATH": path, **variables})
    assert ended.code == 0, ended.errors
    return log.read_text(encoding="utf-8").splitlines()


def cpu(monkeypatch: pytest.MonkeyPatch, folder: Path, flags: str, machine: str = "x86_64") -> None:
    """Make this a machine with these flags in /proc/cpuinfo."""
    (folder / "cpuinfo").write_text(f"processor\t: 0\n{flags}\n", encoding="utf-8")
    monkeypatch.setattr(kernels, "_CPUINFO", folder / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: machine)


@has_portable
@pytest.mark.parametrize(
    ("stage", "overrides", "processes"),
    [
        ("prepare", (), 1),
        ("gradcheck", ("gradcheck.hidden_size=4", "gradcheck.workers=2"), 3),
        ("train", ("train.steps=10", "train.batch_size=2", "train.workers=2"), 2),
    ],
)
def test_a_command_and_its_workers_compute_with_portable_kernels(
    prepared: Project, stage: str, overrides: tuple[str, ...], processes: int
) -> None:
    command = ("-m", f"charloom.stages.{stage}", "preset=smoke", *overrides)
    found = noted(prepared, *command, OPENBLAS_CORETYPE="Nehalem")  # what a user has set does not count
    assert len(found) == processes
    assert {bool(PORTABLE.fullmatch(line)) for line in found} == {True}, found


@pytest.mark.parametrize(("kind", "starts"), [("portable", 1), ("native", 2)])
def test_a_command_starts_itself_anew_only_for_native_kernels(project: Project, kind: str, starts: int) -> None:
    noted(project, "-m", "charloom.stages.prepare", f"kernels={kind}")
    assert (project.root / "starts.log").read_text(encoding="utf-8") == "start\n" * starts


@has_portable
def test_a_command_that_is_a_script_computes_with_portable_kernels(project: Project) -> None:
    script = "from charloom.adapters.command import stage_main; from charloom.stages import prepare"
    (found,) = noted(project, project.script("own.py", f"{script}; stage_main(prepare.run)"))
    assert PORTABLE.fullmatch(found)


@pytest.mark.parametrize("command", ["charloom.stages.train", "charloom.experiment"])
def test_native_kernels_are_the_fastest_that_the_cpu_has(prepared: Project, command: str) -> None:
    (alone,) = noted(prepared, "-c", "import numpy")
    overrides = ("preset=smoke", "train.steps=10", "tracking=off", "gradcheck.hidden_size=4", "kernels=native")
    (found,) = noted(prepared, "-m", command, *overrides)
    avx512 = "X86_V4" in alone
    assert found == (re.sub(r"(openblas \S+) \w+", r"\1 SkylakeX", alone) if avx512 else alone)


def test_a_program_that_imports_charloom_keeps_its_environment(project: Project) -> None:
    (project.root / "own").mkdir()
    (project.root / "own/__init__.py").write_text("import charloom, charloom.stages.train\n", encoding="utf-8")
    program = f"import os\nprint(set({VARIABLES}) & os.environ.keys())\n"
    (project.root / "own/__main__.py").write_text(program, encoding="utf-8")
    ended = project.python("-m", "own", variables={"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), "."))})
    assert ended.output == "set()\n", ended.errors


@has_portable
def test_a_program_that_selects_the_portable_kernels_first_computes_with_them(project: Project) -> None:
    program = "from charloom.adapters.process import kernels; kernels.select('portable'); import numpy"
    (found,) = noted(project, "-c", program)
    assert PORTABLE.fullmatch(found)


def test_kernels_cannot_be_selected_once_numpy_is_imported() -> None:
    with pytest.raises(EnvironmentFault, match="must be selected before NumPy is imported; move the call"):
        kernels.select("portable")
    assert kernels.chosen() is None


@has_portable
def test_a_command_that_has_other_kernels_than_were_chosen_is_refused(project: Project) -> None:
    variables = {"CHARLOOM_KERNELS": "portable", "OPENBLAS_CORETYPE": "Sandybridge"}
    ended = project.try_stage("prepare", variables=variables)
    ended.assert_one_error(ENVIRONMENT, "kernels=portable needs OpenBLAS", "Sandybridge", "or set kernels=native")


@pytest.mark.parametrize(
    ("libraries", "named"),
    [
        ([], "got an unknown BLAS, NumPy"),
        ([{"user_api": "blas", "internal_api": "mkl", "version": "2025.0"}], r"got mkl 2025\.0 None, NumPy"),
    ],
)
def test_a_blas_that_is_not_openblas_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, libraries: list[dict[str, str]], named: str
) -> None:
    cpu(monkeypatch, tmp_path, AVX512)
    monkeypatch.setenv("CHARLOOM_KERNELS", "portable")
    monkeypatch.setattr(kernels, "threadpool_info", lambda: libraries)
    with pytest.raises(EnvironmentFault, match=named):
        kernels.require("portable")


@pytest.mark.parametrize(
    ("flags", "machine"), [("flags\t\t: fpu sse4_2 avx", "x86_64"), ("Features\t: asimd", "aarch64")]
)
def test_a_cpu_without_avx2_says_that_results_will_differ_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: str, machine: str
) -> None:
    cpu(monkeypatch, tmp_path, flags, machine)
    monkeypatch.setenv("CHARLOOM_KERNELS", "portable")
    kernels.require("portable")
    kernels.require("portable")
    said = f"kernels=portable needs an x86-64 CPU with AVX2, got {machine} without: results will differ"
    assert capsys.readouterr().err.count(said) == 2


@pytest.mark.parametrize(
    ("kind", "flags", "expected"),
    [
        (
            "portable",
            AVX512,
            {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"},
        ),
        ("portable", "flags\t\t: fpu avx", {}),  # on such a CPU, Haswell's kernels are illegal instructions
        ("native", AVX512, {"OPENBLAS_CORETYPE": "SkylakeX"}),
        ("native", AVX512.replace("avx512bw", ""), {}),
    ],
)
@pytest.mark.usefixtures("early")
def test_the_variables_follow_the_choice_and_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, flags: str, expected: dict[str, str]
) -> None:
    cpu(monkeypatch, tmp_path, flags)
    monkeypatch.setenv("NPY_ENABLE_CPU_FEATURES", "X86_V4")
    kernels.select(kind)
    assert {name: os.environ[name] for name in VARIABLES if name in os.environ} == {
        "CHARLOOM_KERNELS": kind,
        **expected,
    }


@has_portable
def test_each_job_of_a_sweep_has_its_own_kernels(project: Project) -> None:
    small = ("preset=smoke", "train.steps=10", "gradcheck.hidden_size=4", "tracking=off", "hydra.sweep.dir=swept")
    ended = project.python("-m", "charloom.experiment", "-m", *small, "kernels=portable,native")
    assert ended.code == 0, ended.errors
    found = [
        json.loads((project.root / f"swept/{job}/train/parameters.json").read_text(encoding="utf-8")) for job in "01"
    ]
    assert ["portable" in str(parameters) for parameters in found] == [True, False]


def test_kernels_are_a_part_of_what_identifies_a_training(prepared: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared.root)
    text = corpus.load(Path("artifacts"))
    found = {train.fingerprint(load([f"kernels={kind}"]), text) for kind in ("portable", "native")}
    assert len(found) == 2


def test_a_text_is_drawn_with_one_blas_thread(trained: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def characters(model: Model, **options: Any) -> Iterator[str]:
        threads.append({library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"})
        return repeat("a")

    monkeypatch.chdir(trained.root)
    monkeypatch.setattr(Model, "characters", characters)
    with threadpool_limits(2):
        synthesize.run(load(["synthesize.length=3"]), Path("artifacts"), Path("written"))
    assert threads == [{1}] * 5  # the text, and passages at four temperatures


def test_the_locked_numpy_has_an_openblas_that_does_not_ask_the_cpu_for_its_block_sizes() -> None:
    locked = re.search(r"^numpy==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    assert locked
    assert locked[1] == np.__version__  # that what follows is about the locked one
    assert tuple(map(int, np.__version__.split(".")[:2])) >= (2, 4)  # the names of CPU features
    (blas,) = (library for library in threadpool_info() if "numpy" in library["filepath"])
    assert tuple(map(int, blas["version"].split(".")[:3])) < (0, 3, 34)
