"""The configuration: what is composed, what is refused, and that every value has one home."""

import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from charloom.adapters.configuration.config import Config, check, flatten, load
from charloom.core.common.errors import ConfigError
from tests.conftest import ROOT, Project

GROUPS = ("model", "optimizer", "preset")
OPTIONS = [f"{group}={path.stem}" for group in GROUPS for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]
TRACKING = [path.stem for path in sorted((ROOT / "conf/tracking").glob("*.yaml"))]


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    """What params.yaml says, by dotted key, read by nothing of charloom's."""
    return flatten(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")))


@pytest.fixture
def project(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that is the working directory."""
    monkeypatch.chdir(project.root)
    return project


def composed(*overrides: str) -> dict[str, Any]:
    return flatten(load(overrides).parameters())


@pytest.mark.usefixtures("project")
def test_the_composed_values_are_those_of_params_yaml(values: dict[str, Any]) -> None:
    assert composed() == values


@pytest.mark.usefixtures("project")
def test_a_composed_value_has_the_type_of_the_one_in_params_yaml(values: dict[str, Any]) -> None:
    assert {key: type(value) for key, value in composed().items()} == {key: type(v) for key, v in values.items()}


def test_another_value_in_params_yaml_is_the_one_that_is_composed(project: Project) -> None:
    path = project.root / "params.yaml"
    text = path.read_text(encoding="utf-8")
    assert text.count("hidden_size: 100 ") == 1
    path.write_text(text.replace("hidden_size: 100 ", "hidden_size: 7 "), encoding="utf-8")
    assert composed()["model.hidden_size"] == 7


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.usefixtures("project")
def test_an_option_passes_the_check_and_adds_no_key(option: str, values: dict[str, Any]) -> None:
    assert composed(option).keys() == values.keys()


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.usefixtures("project")
def test_an_option_sets_what_its_file_says_and_nothing_else(option: str, values: dict[str, Any]) -> None:
    group, name = option.split("=")
    said = yaml.safe_load((ROOT / "conf" / group / f"{name}.yaml").read_text(encoding="utf-8"))
    set_by_it = flatten(said if group == "preset" else {group: said})
    assert composed(option) == values | set_by_it


@pytest.mark.parametrize("model", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("preset", ["smoke", "reference"])
@pytest.mark.usefixtures("project")
def test_a_preset_and_a_model_go_together(model: str, preset: str) -> None:
    found = composed(f"preset={preset}", f"model={model}")
    assert found["model.cell"] == model
    assert found["train.steps"] == {"smoke": 300, "reference": 400_000}[preset]


@pytest.mark.parametrize("mode", TRACKING)
@pytest.mark.usefixtures("project")
def test_tracking_changes_no_value_that_shapes_a_result(mode: str, values: dict[str, Any]) -> None:
    config = load([f"tracking={mode}", "tracking.uri=http://127.0.0.1:5000"])
    assert config.tracking.mode == mode
    assert flatten(config.parameters()) == values


@pytest.mark.usefixtures("project")
def test_a_value_on_the_command_line_is_stronger_than_that_of_a_preset() -> None:
    assert composed("train.steps=7", "preset=smoke")["train.steps"] == 7


@pytest.mark.usefixtures("project")
def test_the_reference_preset_is_the_reference_run(values: dict[str, Any]) -> None:
    found = composed("preset=reference")
    changed = {key: value for key, value in found.items() if value != values[key]}
    assert changed == {"train.steps": 400_000, "train.validate_every": 0, "data.validation_fraction": 0.0}
    expected = {
        "model.cell": "rnn",
        "model.hidden_size": 100,
        "model.init_scale": 0.01,
        "optimizer.name": "adagrad",
        "optimizer.learning_rate": 0.1,
        "optimizer.clip_value": 5.0,
        "train.seq_length": 25,
        "train.batch_size": 1,
        "train.smoothing": 0.999,
    }
    assert {key: found[key] for key in expected} == expected


AT_LEAST_ZERO = (
    "seed",
    "synthesize.seed",
    "synthesize.length",
    "synthesize.top_k",
    "optimizer.warmup_steps",
    "train.validate_every",
    "train.sample_every",
    "train.sample_until",
    "train.sample_length",
    "train.final_sample_length",
    "train.patience",
)
AT_LEAST_ONE = (
    "model.hidden_size",
    "model.layers",
    "optimizer.periods",
    "train.steps",
    "train.seq_length",
    "train.batch_size",
    "train.log_every",
    "train.checkpoint_every",
    "train.threads",
    "train.workers",
    "gradcheck.hidden_size",
    "gradcheck.seq_length",
    "gradcheck.batch_size",
    "gradcheck.workers",
    "synthesize.streams",
)
POSITIVE = (
    "model.init_scale",
    "optimizer.learning_rate",
    "optimizer.epsilon",
    "optimizer.clip_value",
    "optimizer.clip_norm",
    "optimizer.final_fraction",
    "train.max_seconds",
    "train.stop_at_smooth_loss",
    "gradcheck.step",
    "gradcheck.threshold",
    "gradcheck.large_scale",
)
FRACTIONS = (
    "data.validation_fraction",
    "model.dropout",
    "model.output_dropout",
    "optimizer.decay",
    "optimizer.beta1",
    "optimizer.beta2",
    "optimizer.momentum",
    "train.smoothing",
)
NAMES = {
    "data.newline": "universal, keep",
    "model.cell": "rnn, gru, lstm",
    "model.dtype": "float64, float32",
    "optimizer.name": "adagrad",
    "optimizer.schedule": "constant",
    "synthesize.model": "last, best",
    "synthesize.on_unknown": "error, skip",
    "tracking.mode": "sqlite, server, off",
}
NAN, INF = math.nan, math.inf
REFUSED: list[tuple[str, Any, str]] = [
    *((key, -1, f"{key} must be >= 0: -1") for key in AT_LEAST_ZERO),
    *((key, value, f"{key} must be >= 1: {value}") for key in AT_LEAST_ONE for value in (0, -1)),
    *((key, value, f"{key} must be > 0 and finite: {value}") for key in POSITIVE for value in (0.0, -1.0, NAN, INF)),
    *((key, value, f"{key} must be >= 0 and < 1: {value}") for key in FRACTIONS for value in (-0.1, 1.0, NAN)),
    *((key, "other", f"{key} must be one of {names}") for key, names in NAMES.items()),
    ("optimizer.final_fraction", 1.1, "optimizer.final_fraction must be > 0 and <= 1: 1.1"),
    *(("optimizer.weight_decay", value, "optimizer.weight_decay must be >= 0") for value in (-1.0, NAN, INF)),
    *(("synthesize.temperature", value, "synthesize.temperature must be >= 0") for value in (-1.0, NAN, INF)),
    *(("synthesize.top_p", value, "synthesize.top_p must be > 0 and <= 1") for value in (0.0, 1.1, NAN)),
    ("data.encoding", "klingon", "data.encoding must be an encoding that Python knows: 'klingon'"),
    ("data.encoding", "base64", "data.encoding must be an encoding that Python knows: 'base64'"),
]
TAKEN: list[tuple[str, Any]] = [
    *((key, 0) for key in AT_LEAST_ZERO),
    *((key, 1) for key in AT_LEAST_ONE),
    *((key, 1e-300) for key in POSITIVE),
    *((key, value) for key in FRACTIONS for value in (0.0, 0.999)),
    ("optimizer.final_fraction", 1.0),
    ("optimizer.weight_decay", 0.0),
    ("optimizer.clip_value", None),
    ("optimizer.clip_norm", None),
    ("gradcheck.hidden_size", None),
    ("train.max_seconds", None),
    ("train.stop_at_smooth_loss", None),
    ("synthesize.temperature", 0.0),
    ("synthesize.top_p", 1.0),
]


@pytest.fixture
def config() -> Config:
    """The values of params.yaml, to be changed one by one."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    own = Config(seed=values.pop("seed"))
    own.tracking.mode = "off"
    for group, of_group in values.items():
        for key, value in of_group.items():
            setattr(getattr(own, group), key, value)
    check(own)
    return own


def change(config: Config, key: str, value: Any) -> None:
    group, _, name = key.rpartition(".")
    setattr(getattr(config, group) if group else config, name, value)


@pytest.mark.parametrize(("key", "value", "message"), REFUSED)
def test_a_value_outside_its_range_is_refused_with_its_key(config: Config, key: str, value: Any, message: str) -> None:
    change(config, key, value)
    with pytest.raises(ConfigError, match=re.escape(message)):
        check(config)


@pytest.mark.parametrize(("key", "value"), TAKEN)
def test_a_value_at_the_end_of_its_range_is_taken(config: Config, key: str, value: Any) -> None:
    change(config, key, value)
    check(config)


def test_every_number_and_every_name_has_a_range_that_is_tested(values: dict[str, Any]) -> None:
    tested = {key for key, _, _ in REFUSED}
    free = {"data.path", "synthesize.prime", "synthesize.prime_file"}  # any text
    assert tested - {"tracking.mode"} == values.keys() - free


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("train.patience=2", "train.validate_every=0"), "train.patience=2 needs validations"),
        (
            ("train.batch_size=5", "train.workers=2"),
            "train.batch_size must be a multiple of train.workers (2): 5",
        ),
        (("synthesize.prime=a", "synthesize.prime_file=b"), "are both given; give one"),
        (("tracking=server",), "tracking=server needs tracking.uri"),
    ],
)
@pytest.mark.usefixtures("project")
def test_values_that_do_not_go_together_are_refused(
    overrides: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(overrides)


@pytest.mark.usefixtures("project")
def test_a_server_may_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert load(["tracking=server"]).tracking.mode == "server"


def test_a_key_without_a_value_in_params_yaml_is_named(project: Project) -> None:
    path = project.root / "params.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("  hidden_size: 100 # m\n", ""), encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape("model.hidden_size has no value; params.yaml must give it one")):
        load()


def test_an_unknown_key_in_params_yaml_is_named(project: Project) -> None:
    path = project.root / "params.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("  layers: 1", "  layrs: 1"), encoding="utf-8")
    with pytest.raises(ConfigError, match="layrs"):
        load()


@pytest.mark.usefixtures("project")
def test_the_folder_that_is_written_is_a_new_one_under_outputs() -> None:
    config = load()
    assert config.out is not None
    assert re.fullmatch(rf"outputs/\d{{4}}-\d\d-\d\d/\d\d-\d\d-\d\d-{os.getpid()}", config.out)
    assert config.inp == "artifacts"


@pytest.mark.usefixtures("project")
def test_the_folder_that_is_written_may_be_named() -> None:
    assert load(["out=here", "inp=there"]).out == "here"
    assert load(["out=here", "inp=there"]).inp == "there"


@pytest.mark.usefixtures("project")
def test_where_a_run_reads_and_writes_shapes_no_result() -> None:
    assert load(["out=here", "inp=there"]).parameters() == load().parameters()


def test_the_schema_has_no_values_of_its_own() -> None:
    missing = {key for key, value in flatten(Config().parameters()).items() if value == "???"}
    assert missing == flatten(Config().parameters()).keys()


@pytest.mark.parametrize("stage", ["prepare", "train", "synthesize"])
def test_a_stage_run_by_hand_without_a_folder_writes_nothing_under_artifacts(trained: Project, stage: str) -> None:
    before = trained.files("artifacts")
    ended = trained.try_stage(stage, "preset=smoke", "train.steps=50")
    assert ended.code == 0, ended.errors
    assert trained.files("artifacts") == before
    written = {Path(name).name for name in trained.files("outputs")}
    expected = {"prepare": "ids.npy", "train": "model.npz", "synthesize": "sample.txt"}
    assert expected[stage] in written
