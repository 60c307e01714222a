"""The same bytes on other CPUs: every file of every stage, from this machine's CPU and from emulated ones.

Both runs compute in their own way, and the first draws the figures too, which take half of an emulated run.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import ROOT, Project

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="portable kernels are for x86-64 CPUs")

QEMU = shutil.which("qemu-x86_64")
CPUS = ("Haswell", "EPYC")
TIMEOUT = 1200  # seconds; an emulated CPU is slow
STAGES = ("prepare", "baseline", "gradcheck", "train", "synthesize", "evaluate")
RUNS = {
    "rnn in float64": (
        *("-m", "charloom.experiment", "tracking=off"),
        *("gradcheck.hidden_size=4", "gradcheck.seq_length=4", "gradcheck.workers=2"),
        *("train.steps=100", "train.sample_every=50"),
    ),
    "gru in float32 with two workers": (
        "computes.py",
        *("model=gru", "model.layers=2", "model.dropout=0.1", "model.dtype=float32", "optimizer=soap"),
        *("gradcheck.hidden_size=2", "gradcheck.seq_length=4", "synthesize.quality_length=300"),
        *("train.steps=30", "train.validate_every=15", "train.sample_every=20"),
        *("train.workers=2", "train.batch_size=4", "train.reset_probability=0.2"),
        *("synthesize.streams=3", "synthesize.top_p=0.9"),
    ),
}
FIGURES = {"rnn in float64": ("plot", "track")}

# Runs the stages that compute.
COMPUTES = f"""
import sys

if __name__ == "__main__":
    from charloom.adapters.process import kernels

    kernels.select("portable")

    from importlib import import_module
    from pathlib import Path

    from charloom.adapters.command import exit_code
    from charloom.adapters.configuration import load

    def work():
        config = load(sys.argv[1:])
        for stage in {STAGES}:
            import_module(f"charloom.stages.{{stage}}").run(config, Path(config.out), Path(config.out) / stage)

    sys.exit(exit_code(work))
"""

# Python imports this at its start where it is found: the processes that it starts are emulated as well.
EMULATE_WORKERS = "import multiprocessing, os; multiprocessing.set_executable(os.environ['EMULATED'])\n"


def start(project: Project, run: str, python: str = sys.executable, **variables: str) -> subprocess.Popen[str]:
    """Start the stages of a run in the project's folder, in `results`."""
    (project.root / "computes.py").write_text(COMPUTES, encoding="utf-8")
    return subprocess.Popen(
        [python, *RUNS[run], "preset=smoke", "out=results"],
        cwd=project.root,
        env=project.environment | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def start_emulated(project: Project, run: str, cpu: str) -> subprocess.Popen[str]:
    """As `start`, on an emulated CPU; each process that is started leaves its id in `emulated.log`."""
    program, site = project.root / "python", project.root / "site"
    log = shlex.quote(str(project.root / "emulated.log"))
    emulated = shlex.join([str(QEMU), "-cpu", cpu, sys.executable])
    program.write_text(f'#!/bin/sh\necho $$ >> {log}\nexec {emulated} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    site.mkdir()
    (site / "sitecustomize.py").write_text(EMULATE_WORKERS, encoding="utf-8")
    path = os.pathsep.join((str(site), str(ROOT / "src")))
    return start(project, run, str(program), PYTHONPATH=path, EMULATED=str(program))


def results(project: Project, run: str, process: subprocess.Popen[str]) -> dict[str, bytes]:
    """Every file that the stages of a run leave, once they have ended well."""
    with process:
        try:
            _, errors = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    stages = (*STAGES, *FIGURES.get(run, ()))
    assert all((project.root / "results" / stage).is_dir() for stage in stages)
    return {name: content for stage in stages for name, content in project.files(f"results/{stage}").items()}


def require_qemu() -> None:
    if QEMU is None:
        reason = "qemu-x86_64 is not installed (apt-get install qemu-user)"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The files of each run on this machine's CPU, with one BLAS thread."""
    projects = {run: Project.create(tmp_path_factory.mktemp("native") / "project") for run in RUNS}
    return {
        run: results(project, run, start(project, run, OPENBLAS_NUM_THREADS="1")) for run, project in projects.items()
    }


# Minutes, nearly all of them under emulation; the two emulated CPUs run side by side.
@pytest.mark.parametrize("run", RUNS)
def test_every_file_is_the_same_on_emulated_cpus(tmp_path: Path, run: str, native: dict[str, dict[str, bytes]]) -> None:
    require_qemu()
    projects = {cpu: Project.create(tmp_path / cpu) for cpu in CPUS}
    processes = {cpu: start_emulated(projects[cpu], run, cpu) for cpu in CPUS}
    try:
        found = {cpu: results(projects[cpu], run, process) for cpu, process in processes.items()}
    finally:
        for process in processes.values():
            process.kill()
    for cpu in CPUS:
        assert len((projects[cpu].root / "emulated.log").read_text().split()) > 2  # the workers are emulated too
        assert [name for name in native[run] if native[run][name] != found[cpu].get(name)] == []
        assert found[cpu] == native[run]


@pytest.mark.parametrize("run", RUNS)
def test_every_file_is_the_same_with_one_and_two_blas_threads(
    tmp_path: Path, run: str, native: dict[str, dict[str, bytes]]
) -> None:
    project = Project.create(tmp_path / "two threads")
    assert results(project, run, start(project, run, OPENBLAS_NUM_THREADS="2")) == native[run]
