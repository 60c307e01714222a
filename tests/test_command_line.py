"""What the command line says of itself: help, the configuration, completion in real shells; and what it refuses."""

import json
import os
import pty
import re
import select
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from charloom.adapters.completion import answer
from charloom.adapters.configuration import flatten, load, multirun
from charloom.adapters.configuration.composition import as_yaml
from charloom.adapters.configuration.launchers import LAUNCHERS
from charloom.adapters.configuration.options import HYDRA, Options
from charloom.adapters.configuration.search import SWEEPERS
from charloom.core.common.errors import ConfigError, EnvironmentFault
from tests.project import ROOT, TIMEOUT, Project

STAGES = ["prepare", "baseline", "gradcheck", "train", "synthesize", "evaluate", "plot", "track"]


@pytest.fixture(autouse=True)
def here(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that is the working directory."""
    monkeypatch.chdir(project.root)
    return project


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the help of an experiment says in a project with a preset of its own."""
    project = Project.create(tmp_path_factory.mktemp("help") / "a project")
    (project.root / "conf/preset/mine.yaml").write_text(
        "# @package _global_\n# A preset of mine.\nseed: 5\n", encoding="utf-8"
    )
    ended = project.python("-m", "charloom.experiment", "--help")
    assert (ended.code, ended.errors) == (0, "")
    return ended.output


def test_the_help_has_every_stage_in_its_order(said: str) -> None:
    assert re.findall(rf"(?m)^  ({'|'.join(STAGES)})  ", said) == STAGES


def test_the_help_has_every_key_with_its_default_value_its_range_and_its_comment(said: str) -> None:
    for key, value in flatten(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))).items():
        (shown,) = re.findall(rf"(?m)^  {re.escape(key)} +(\S+)", said)
        assert yaml.safe_load(shown) == value, key
    assert re.search(r"(?m)^  train\.threads +1 +\[1, 64\] +BLAS threads of each worker", said)
    assert re.search(r"(?m)^  sweep\.plot +best +best \| all \| none", said)


def test_the_help_has_the_options_of_conf_and_what_they_are_for(said: str) -> None:
    assert re.search(r"(?m)^  model +gru \| lstm \| rnn$", said)
    assert re.search(r"(?m)^    preset=mine +A preset of mine\.$", said)


def test_the_help_needs_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Options.here().keys["model.hidden_size"].default == "100"
    assert Options.here().groups == {}


def test_the_help_is_there_whatever_params_yaml_holds(here: Project) -> None:
    (here.root / "params.yaml").write_text("model: [", encoding="utf-8")
    assert Options.here().keys["model.hidden_size"].default == "100"


def test_the_help_of_a_stage_has_the_keys_that_it_reads_alone(here: Project) -> None:
    output = here.try_stage("evaluate", "--help").output
    keys = re.findall(r"(?m)^  (\S+\.\S+)  ", output)
    assert keys == [
        "data.encoding", "data.newline", "evaluate.model", "evaluate.path", "evaluate.window", "evaluate.on_unknown",
    ]  # fmt: skip


def test_the_configuration_is_printed_and_nothing_runs(here: Project) -> None:
    before = here.files()
    ended = here.python("-m", "charloom.experiment", "seed=1,2", "preset=smoke", "-m", "--cfg", "job")
    assert (ended.code, ended.errors) == (0, "")
    assert ended.output.startswith("# swept: seed=1,2\n")
    assert yaml.safe_load(ended.output)["train"]["steps"] == 300
    assert here.files() == before


def test_the_configuration_may_be_hydras() -> None:
    assert yaml.safe_load(as_yaml(["preset=smoke"], "hydra"))["hydra"]["runtime"]["choices"]["preset"] == "smoke"
    assert {"hydra", "seed"} <= yaml.safe_load(as_yaml([], "all")).keys()


def test_a_configuration_with_a_wrong_value_is_not_printed() -> None:
    with pytest.raises(ConfigError, match=r"train\.steps must be >= 1, got 0"):
        as_yaml(["train.steps=0"], "job")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=gru,foo"], "model must be one of gru, lstm, rnn, got 'foo'"),
        (["+hydra.sweeper.params.model='gru,foo'"], "model must be one of gru, lstm, rnn, got 'foo'"),
        (["hydra.sweeper.params={modl: 'gru,rnn'}"], "there is no key 'modl'; did you mean 'model'?"),
        (["out=a,b"], "out must be one folder, in which each job of a sweep has its own"),
        (
            ["hydra.sweep.subdir=${hydra.job.override_dirname}"],
            "hydra.sweep.subdir must be ${hydra.job.num}, got '${hydra.job.override_dirname}'; leave it out",
        ),
        (["hydra/launcher=slurm"], "hydra/launcher must be one of basic, joblib, "),
        (["hydra/sweeper=nevergrad"], "hydra/sweeper must be one of basic"),
        (["hydra.launcher.jobs=2"], "Could not override 'hydra.launcher.jobs'; there is no such key to override"),
    ],
)
def test_a_sweep_that_could_not_run_is_refused_before_anything_runs(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(overrides, multirun=True)


def test_a_sweep_may_be_asked_for_in_hydras_own_keys_and_has_the_folder_that_is_named(here: Project) -> None:
    swept = ("hydra.sweeper.params={seed: '3,4'}", "hydra.mode=MULTIRUN", "out=mine")
    ended = here.python("-m", "charloom.experiment", *swept, "data.path=none", "tracking=off")
    assert ended.code == 3, ended.errors  # jobs that fail at once are enough to see
    for number, seed in (("0", "seed=3"), ("1", "seed=4")):
        job = json.loads((here.root / "mine" / number / "job.json").read_text(encoding="utf-8"))
        assert seed in job["overrides"]
    assert not (here.root / "multirun").exists()


def test_a_launcher_whose_package_is_missing_is_refused_with_the_line_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(multirun, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match=r"run: python -m pip install 'charloom\[cluster\]'"):
        load(["hydra/launcher=ray"], multirun=True)


@pytest.mark.parametrize(
    ("line", "candidates"),
    [
        ("python -m charloom.stages.t", ["charloom.stages.track ", "charloom.stages.train "]),
        ("python -m charloom.experiment tr", ["tracking.", "tracking=", "train."]),
        ("python -m charloom.experiment model.l", ["model.layers="]),
        ("python -m charloom.experiment model.cell=", ["model.cell=gru ", "model.cell=lstm ", "model.cell=rnn "]),
        ("python -m charloom.experiment preset=s", ["preset=smoke "]),
        ("python -m charloom.experiment train.steps=", ["train.steps=100000 "]),
        ("python -m charloom.experiment -m model=gru,l", ["model=gru,lstm"]),
        ("python -m charloom.experiment data.path=data/c", ["data.path=data/corpus.txt "]),
        ("python -m charloom.experiment hydra/launcher=jo", ["hydra/launcher=joblib "]),
        ("python -m charloom.experiment --cfg ", ["all ", "hydra ", "job "]),
        ("python -m charloom.stages.evaluate e", ["evaluate."]),
        ("python -m charloom.stages.evaluate train", []),
        ("python -m charloom.tracking --n", ["--no-browser "]),
        ("python -m charloom.summary da", ["data/"]),
        (
            "PYTHONPATH=src python -m charloom.experiment 'synthesize.pr",
            ["synthesize.prime=", "synthesize.prime_file="],
        ),
    ],
)
def test_half_a_word_is_completed_with_what_may_stand_there(line: str, candidates: Sequence[str]) -> None:
    assert answer(line) == candidates


def test_the_groups_of_hydra_that_are_listed_are_those_that_a_sweep_may_choose_from() -> None:
    assert {*HYDRA["hydra/launcher"]} == {*LAUNCHERS}
    assert {*HYDRA["hydra/sweeper"]} == {"basic", *SWEEPERS}


SHELLS = {
    "bash": (["--norc", "-i"], 'eval "$(python -m charloom.completion bash)"'),
    "zsh": (["-f", "-i"], 'eval "$(python -m charloom.completion zsh)"'),
    "fish": (["-N", "-i"], "python -m charloom.completion fish | source"),
}


@pytest.mark.parametrize(
    "shell",
    [pytest.param(name, marks=pytest.mark.skipif(not shutil.which(name), reason=f"no {name}")) for name in SHELLS],
)
def test_the_tab_key_completes_a_command_in_a_real_shell(here: Project, shell: str) -> None:
    options, install = SHELLS[shell]
    environment = here.environment | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TERM": "xterm",
        "COLUMNS": "200",
        "HOME": str(here.root),
    }
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe(shell, [shell, *options], environment)
    shown = ""

    def wait_for(text: str) -> None:
        nonlocal shown
        give_up = time.monotonic() + TIMEOUT
        while text not in shown:
            assert time.monotonic() < give_up, shown
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 65_536).decode(errors="replace")

    try:
        os.write(terminal, f"{install}; echo 're''ady'\n".encode())
        wait_for("ready")
        for typed, completed in (("python -m charloom.expe", "experiment "), ("model.ce", "cell="), ("ls", "lstm")):
            os.write(terminal, f"{typed}\t".encode())
            wait_for(completed)
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(terminal)
