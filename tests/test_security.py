"""What a stranger's file may not do, and where a secret may not stand."""

import ast
import base64
import re
from pathlib import Path

import pytest

from charloom.adapters.configuration import load
from charloom.core.common.errors import ConfigError
from tests.project import ROOT, Project

CONFIG, DATA, ENVIRONMENT = 2, 3, 5
SMALL = ("preset=smoke", "model.hidden_size=8", "train.steps=20", "gradcheck.hidden_size=4", "gradcheck.workers=1")

_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
_HARMLESS = {"Parallel", "delayed", "effective_n_jobs"}  # joblib's, for threads
_CALLS = {"eval", "exec", "compile", "instantiate", "__import__", "system", "popen", "unsafe_load", "full_load"}
_UNSAFE_OPTIONS = {"shell", "allow_pickle"}


def dangers(source: str) -> list[str]:
    """What in the source of a module could run code that is in data, by its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names: set[str] = set()
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
            names = {name.partition(".")[0] for name in modules} & _MODULES
            if getattr(node, "module", None) == "joblib" and {alias.name for alias in node.names} <= _HARMLESS:
                names = set()
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            names = {called.rpartition(".")[2]} & (_CALLS - {"compile"} if called == "re.compile" else _CALLS)
            names |= {called} & {"yaml.load", "yaml.load_all"}
            options = {option.arg: option.value for option in node.keywords if option.arg in _UNSAFE_OPTIONS}
            names |= {name for name, value in options.items() if ast.unparse(value) != "False"}
        found += [f"{line}: {name}" for name in sorted(map(str, names))]
    return found


def test_no_part_of_the_source_runs_code_that_is_in_data() -> None:
    sources = sorted((ROOT / "src").rglob("*.py"))
    assert len(sources) > 50
    assert {path.name: found for path in sources if (found := dangers(path.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "exec(text)",
        "os.system(text)",
        "hydra.utils.instantiate(config)",
        "subprocess.run(text, shell=True)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=allowed)",
        "yaml.load(text, yaml.UnsafeLoader)",
        "yaml.unsafe_load(text)",
    ],
)
def test_a_line_that_could_is_found(line: str) -> None:
    assert len(dangers(f"x = 1\n{line}")) == 1


_EVIL = "{x: {_target_: builtins.open, file: ran, mode: w}}"


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("params.yaml", f"hydra: {{callbacks: {_EVIL}}}", 1),
        ("params.yaml", f'"\\x68ydra": {{callbacks: {_EVIL}}}', 1),
        ("params.yaml", f"defaults: [hydra/callbacks: evil]\ncallbacks: {_EVIL}", 1),
        ("params.yaml", f"stash: {{stashed: &x {{hydra: {{callbacks: {_EVIL}}}}}}}\n<<: *x", 2),
        ("params.yaml", f"plain: &x {_EVIL}", 1),
        ("params.yaml", f"? [a]\n: {_EVIL}", 2),
        ("params.yaml", "data2: ${oc.env:HOME}", 1),
        ("params.yaml", "data2: {a: ['${${seed}:HOME}']}", 1),
        ("conf/preset/evil.yaml", f"# @package hydra.callbacks\n{_EVIL[1:-1]}", 1),
        ("conf/preset/evil.yaml", f"\n # @package  hydra\ncallbacks: {_EVIL}", 2),
        ("conf/preset/evil.yaml", f"# @package _global_\nhydra: {{callbacks: {_EVIL}}}", 2),
        ("conf/model/evil.yaml", f"defaults: [/preset@hydra.callbacks: other]\ncallbacks: {_EVIL}", 1),
        ("conf/optimizer/deep/evil.yaml", _EVIL, 1),
        ("conf/tracking/evil.yaml", "uri: http://me:planted@host", 1),
        ("conf/search/evil.yaml", "tracking.uri: http://a,http://me:planted@host", 1),
    ],
)
def test_a_file_that_does_more_than_give_values_is_refused_with_its_line(
    workspace: Path, name: str, text: str, line: int
) -> None:
    (workspace / name).parent.mkdir(parents=True, exist_ok=True)
    line += len((workspace / name).read_text(encoding="utf-8").splitlines()) if (workspace / name).exists() else 0
    with (workspace / name).open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")
    with pytest.raises(ConfigError, match=rf"^{name}, line {line}: ") as caught:
        load()
    assert "\n" not in str(caught.value)
    assert "planted" not in str(caught.value)


def test_a_file_beside_conf_is_no_option_of_a_group(workspace: Path) -> None:
    (workspace / "preset").mkdir()
    (workspace / "preset/evil.yaml").write_text(f"hydra: {{callbacks: {_EVIL}}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^preset must be one of .*, got 'evil'"):
        load(["preset=evil"])


def test_nested_brackets_by_the_thousand_are_refused(workspace: Path) -> None:
    (workspace / "params.yaml").write_text(f"seed: {'[' * 5000}{']' * 5000}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"params\.yaml, line 1: must have at most 20 levels, got more"):
        load()


@pytest.mark.parametrize("arguments", [(), ("--cfg", "job")])
def test_a_hostile_params_yaml_runs_nothing_whatever_is_asked_for(project: Project, arguments: tuple[str, ...]) -> None:
    with (project.root / "params.yaml").open("a", encoding="utf-8") as file:
        file.write(f"hydra: {{callbacks: {_EVIL}}}\n")
    before = project.files()
    ended = project.python("-m", "charloom.experiment", *arguments, *SMALL)
    ended.assert_one_error(CONFIG, "params.yaml, line ", ": a key must be one that params.yaml lists, got 'hydra'")
    assert project.files() == before


def test_code_in_conf_itself_would_run_so_the_test_above_can_fail(project: Project) -> None:
    with (project.root / "conf/config.yaml").open("a", encoding="utf-8") as file:
        file.write(f"  callbacks: {_EVIL}\n")
    project.python("-m", "charloom.experiment", *SMALL, "data.path=none", "tracking=off")
    assert (project.root / "ran").exists()


@pytest.mark.parametrize(
    "argument",
    [
        "tracking.uri=http://me:planted@host:5000",
        "tracking.uri=http://planted@host",
        "tracking.uri=http://host/?key=planted",
        "tracking.uri=http://me:pla,nted@host",
        "tracking.uri='http://me:planted/planted@host'",
        "tracking.uri=http://a,http://me:planted@host",
        "++tracking.uri=postgresql://me:planted@host/runs",
        "tracking={uri:'http://me:planted@host'}",
        "tracking.password=planted",
        "+hydra.job.env_set.MLFLOW_TRACKING_TOKEN=planted",
        "+hydra.job.env_set.MLFLOW_TRACKING_URI=http://me:planted@host",
        "hydra.sweeper.params={tracking.uri:'http://me:planted@host'}",
        "tracking.uri=choice('http://me:planted@host','http://b')",
    ],
)
def test_a_secret_on_the_command_line_is_refused_without_being_quoted(workspace: Path, argument: str) -> None:
    for multirun in (False, True):
        with pytest.raises(ConfigError, match=r"in the environment") as caught:
            load([argument], multirun=multirun)
        assert not re.search("pla|nted", str(caught.value))


def test_a_secret_that_an_interpolation_brings_is_refused_without_being_quoted(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", "http://me:planted@host")
    with pytest.raises(ConfigError, match=r"tracking\.uri must hold no user name, password or query") as caught:
        load(["tracking.uri=${oc.env:PLACE}"])
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["http://host:5000", "sqlite:///a@b/runs.db", "sqlite:////tmp/a?b.db", "https://host/x"]
)
def test_an_address_without_a_secret_is_taken(workspace: Path, uri: str) -> None:
    assert load([f"tracking.uri='{uri}'"]).tracking.uri == uri


@pytest.mark.parametrize("module", ["experiment", "tracking"])
def test_a_command_with_a_secret_among_its_arguments_writes_nothing(project: Project, module: str) -> None:
    before = project.files()
    ended = project.python("-m", f"charloom.{module}", "tracking.uri=http://me:planted@127.0.0.1:1")
    ended.assert_one_error(CONFIG, "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment")
    assert "planted" not in ended.output + ended.errors
    assert project.files() == before


def test_secrets_of_the_environment_stand_in_nothing_that_is_written_or_said(project: Project) -> None:
    secrets = {
        "MLFLOW_TRACKING_USERNAME": "a-planted-name",
        "MLFLOW_TRACKING_PASSWORD": "a-planted-password",
        "MLFLOW_TRACKING_TOKEN": "a-planted-token",
    }
    place = {"MLFLOW_TRACKING_URI": "http://me:a-planted-uri@127.0.0.1:1/x?key=a-planted-query"}
    jobs = ("-m", "seed=2", "data.path=data/corpus.txt,none.txt")
    said = ""
    for variables, overrides, code in (({}, (), 0), (place, jobs, DATA)):
        ended = project.python("-m", "charloom.experiment", *overrides, *SMALL, variables=secrets | variables)
        assert ended.code == code, ended.errors
        said += ended.output + ended.errors
    assert "warning: MLflow at http://127.0.0.1:1/x cannot be written to" in said
    synced = project.python("-m", "charloom.tracking", "sync", variables=secrets | place)
    synced.assert_one_error(ENVIRONMENT, "MLflow at http://127.0.0.1:1/x cannot be written to")
    said += synced.output + synced.errors
    files = project.files()
    assert {"mlflow.db"} <= files.keys()
    assert len([name for name in files if "/.hydra/" in name or name.endswith((".log", "sweep.csv", ".jsonl"))]) > 8
    written = b"\n".join([*files.values(), *(name.encode() for name in files), said.encode()])
    for secret in (*secrets.values(), "a-planted-uri", "a-planted-query"):
        assert secret.encode() not in written, secret
        assert base64.b64encode(secret.encode()).rstrip(b"=")[:-2] not in written, secret
    assert b"a-planted" not in written
