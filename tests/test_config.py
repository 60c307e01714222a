"""The configuration: what is composed, what is refused, and that every value has one home."""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from omegaconf import DictConfig

from charloom.adapters.configuration import Config, flatten, load
from charloom.adapters.configuration.composition import as_typed, unchecked
from charloom.adapters.configuration.schema import KEYS, OPTIONS, SECTIONS
from charloom.adapters.sweeps.objectives import FIGURES, Objective
from charloom.core.cells import CELLS
from charloom.core.common.errors import ConfigError
from charloom.core.training.optimizers import OPTIMIZERS
from charloom.core.training.schedules import SCHEDULES
from tests.bad_input import config_with
from tests.project import ROOT, Project

GROUPS = ("model", "optimizer", "preset")
FILES = [f"{group}={path.stem}" for group in GROUPS for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]
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


@pytest.mark.parametrize("option", FILES)
@pytest.mark.usefixtures("project")
def test_an_option_passes_the_check_and_adds_no_key(option: str, values: dict[str, Any]) -> None:
    assert composed(option).keys() == values.keys()


@pytest.mark.parametrize("option", FILES)
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
def test_the_name_of_a_registered_model_is_no_parameter(values: dict[str, Any]) -> None:
    config = load(["model.register=story"])
    assert config.model.register_as == "story"
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
    "baseline.order",
    "gradcheck.seed",
    "synthesize.seed",
    "synthesize.length",
    "synthesize.quality_length",
    "synthesize.top_k",
    "optimizer.warmup_steps",
    "train.validate_every",
    "train.sample_every",
    "train.inspect_every",
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
    "gradcheck.entries",
    "gradcheck.hidden_size",
    "gradcheck.seq_length",
    "gradcheck.batch_size",
    "gradcheck.workers",
    "synthesize.streams",
    "evaluate.window",
)
POSITIVE = {
    "model.init_scale": "1e-12",
    "optimizer.learning_rate": "1e-12",
    "optimizer.epsilon": "1e-30",
    "optimizer.clip_value": "1e-12",
    "optimizer.clip_norm": "1e-12",
    "train.max_seconds": "1e-12",
    "train.stop_at_smooth_loss": "1e-12",
    "gradcheck.step": "1e-12",
    "gradcheck.threshold": "1e-15",
    "gradcheck.large_scale": "1e-06",
}
FRACTIONS = (
    "data.validation_fraction",
    "model.dropout",
    "model.output_dropout",
    "optimizer.decay",
    "optimizer.beta1",
    "optimizer.beta2",
    "optimizer.momentum",
    "train.reset_probability",
    "train.smoothing",
)
NON_NEGATIVE = ("optimizer.weight_decay", "synthesize.temperature")
POSITIVE_FRACTIONS = ("optimizer.final_fraction", "synthesize.top_p")
NAMES = {
    "kernels": "portable, native",
    "data.newline": "universal, keep",
    "model.cell": "rnn, gru, lstm",
    "model.dtype": "float64, float32",
    "optimizer.name": "adagrad, rmsprop, adam, soap, sgd",
    "optimizer.schedule": "constant, linear, cosine, steps",
    "gradcheck.mode": "auto, full, fast",
    "synthesize.on_unknown": "error, skip",
    "evaluate.on_unknown": "error, skip",
    "tracking.mode": "sqlite, server, off",
    "sweep.objective": ", ".join(
        f"{figure}_{unit}_per_char".lstrip("_")
        for unit in ("nats", "bits")
        for figure in ("validation", "best_validation", "carried", "windows", "")
    ),
    "sweep.plot": "best, all, none",
}
TEXTS = (
    "data.path",
    "data.encoding",
    "synthesize.model",
    "synthesize.prime",
    "synthesize.prime_file",
    "train.init_from",
    "evaluate.model",
    "evaluate.path",
    "model.register",
    "tracking.uri",
    "tracking.experiment",
    "sweep.resume",
    "inp",
    "out",
)
INTEGERS = (*AT_LEAST_ZERO, *AT_LEAST_ONE)
NUMBERS = (*POSITIVE, *NON_NEGATIVE, *FRACTIONS, *POSITIVE_FRACTIONS)
OPTIONAL = {
    "optimizer.clip_value",
    "optimizer.clip_norm",
    "train.max_seconds",
    "train.stop_at_smooth_loss",
    "gradcheck.hidden_size",
    "synthesize.prime_file",
    "train.init_from",
    "evaluate.path",
    "model.register",
    "tracking.uri",
    "sweep.resume",
}
SWITCHES = ("sweep.extend",)
NOT_INTEGERS = [(True, "true"), (1000.0, "1000.0"), ("1", "'1'")]
NOT_NUMBERS = [(False, "false"), ("0.1", "'0.1'")]
NOT_TEXTS = [(1.5, "1.5"), (True, "true"), (1984, "1984")]
PATHS = (
    "data.path",
    "synthesize.model",
    "synthesize.prime_file",
    "train.init_from",
    "evaluate.model",
    "evaluate.path",
    "sweep.resume",
    "inp",
    "out",
)
NAN, INF = math.nan, math.inf
REFUSED: list[tuple[str, Any, str]] = [
    *((key, -1, "must be >= 0, got -1") for key in AT_LEAST_ZERO),
    *((key, value, f"must be >= 1, got {value}") for key in AT_LEAST_ONE for value in (0, -1)),
    *((key, value, f"must be >= {low}, got {value}") for key, low in POSITIVE.items() for value in (0.0, -1.0)),
    *((key, value, f"must be finite, got {value}") for key in NUMBERS for value in (NAN, INF, -INF)),
    *((key, -1.0, "must be >= 0, got -1.0") for key in NON_NEGATIVE),
    *((key, -0.1, "must be >= 0, got -0.1") for key in FRACTIONS),
    *((key, 1.0, "must be < 1, got 1.0") for key in FRACTIONS),
    *((key, 0.0, "must be > 0, got 0.0") for key in POSITIVE_FRACTIONS),
    *((key, 1.1, "must be <= 1, got 1.1") for key in POSITIVE_FRACTIONS),
    *((key, "other", f"must be one of {names}, got 'other'") for key, names in NAMES.items()),
    *(
        ("data.encoding", name, f"must be an encoding that Python knows, got {name!r}")
        for name in ("klingon", "base64", "idna", "punycode", "unicode_escape", "undefined", "utf\x008")
    ),
    *((key, value, f"must be a whole number, got {shown}") for key in INTEGERS for value, shown in NOT_INTEGERS),
    *((key, value, f"must be a number, got {shown}") for key in NUMBERS for value, shown in NOT_NUMBERS),
    *((key, value, f"must be text, got {shown}; put text in quotes") for key in TEXTS for value, shown in NOT_TEXTS),
    *((key, "", "must not be empty, got ''") for key in (*PATHS, "tracking.experiment")),
    *((key, text, "must have no control characters, got ") for key in PATHS for text in ("a\nb", "a\0b", "\x1b[2J")),
    *((key, "\udcff", "must be text that UTF-8 can write, got '") for key in TEXTS),
    *(
        ("model.register", name, "must have letters, digits, spaces and . _ -")
        for name in ("", "a/b", "a:b", "a'b", ".")
    ),
    ("model.register", "story", "must be null where tracking.mode is off, got 'story'; set tracking=sqlite"),
    *((key, value, "must be true or false, got") for key in SWITCHES for value in (1, "yes")),
    *((key, None, "got null") for key in sorted({*SWITCHES, *INTEGERS, *NUMBERS, *TEXTS, *NAMES} - OPTIONAL - {"out"})),
]
BOUNDS = [
    (key, types[0][bound])
    for key, types in OPTIONS.items()
    for bound in ("minimum", "maximum")
    if bound in types[0] and key != "train.workers"  # which must also divide train.batch_size
]
NULLS = [(key, None) for key in sorted(OPTIONAL)]
TAKEN: list[tuple[str, Any]] = [*BOUNDS, *((key, 0.999) for key in FRACTIONS), *NULLS]


def value_of(config: Config, key: str) -> Any:
    return {"model.register": config.model.register_as, **flatten(config.model_dump())}[key]


@pytest.mark.parametrize(("key", "value", "message"), REFUSED)
def test_a_value_that_the_schema_refuses_is_named_by_its_key(key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(key)} .*{re.escape(message)}"):
        config_with(key, value)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        pytest.param(NUMBERS, 10**400, "must be finite, got a number of about 400 digits", id="400 digits"),
        pytest.param(INTEGERS, 10**5000, "got a number of about 5000 digits", id="5,000 digits"),
        pytest.param(
            [*{*TEXTS} - {"tracking.uri"}], "a" * 10_001, f"got '{'a' * 59}… (10003 characters)", id="10,001 characters"
        ),
    ],
)
def test_a_value_too_long_to_be_shown_is_described(keys: Sequence[str], value: Any, message: str) -> None:
    for key in keys:
        with pytest.raises(ConfigError, match=f"^{re.escape(key)} .*{re.escape(message)}"):
            config_with(key, value)


@pytest.mark.parametrize(("key", "value"), TAKEN)
def test_a_value_at_the_end_of_its_range_is_taken(key: str, value: Any) -> None:
    assert value_of(config_with(key, value), key) == value


@pytest.mark.parametrize("key", sorted({*NUMBERS} - {"gradcheck.step"}))  # which takes no whole number
def test_a_whole_number_is_taken_for_a_number(key: str) -> None:
    whole = 0 if key in FRACTIONS else 1
    taken = value_of(config_with(key, whole), key)
    assert (taken, type(taken)) == (whole, float)


@pytest.mark.parametrize(
    "text",
    ["1984", "007", "1_000", "0x10", "1e3", "1.50", "-0", "null", "true", "2026-11-25", "a, b", "a=b", "~", "", " "],
)
@pytest.mark.usefixtures("project")
def test_the_prompt_is_the_text_as_typed(text: str) -> None:
    assert load([f"synthesize.prime={text}"]).synthesize.prime == text


@pytest.mark.usefixtures("project")
def test_text_in_quotes_is_what_hydra_makes_of_it() -> None:
    assert load(["synthesize.prime='1e3, 2'", "synthesize.length=1000"]).synthesize.prime == "1e3, 2"
    assert load(["data.path=${inp}/text", "inp=there"]).data.path == "there/text"


@pytest.mark.usefixtures("project")
def test_null_is_no_text_where_null_is_a_value() -> None:
    config = load(["synthesize.prime_file=null", "tracking.uri=null", "out=null"])
    assert (config.synthesize.prime_file, config.tracking.uri) == (None, None)
    assert config.out.startswith("outputs/")


def test_commas_between_texts_make_the_jobs_of_a_sweep() -> None:
    typed = as_typed(["synthesize.prime=1e3,null", "seed=1,2", "data.path='a,b'"], multirun=True)
    assert typed == ["synthesize.prime='1e3','null'", "seed=1,2", "data.path='a,b'"]


def test_a_number_in_the_place_of_text_in_params_yaml_is_refused_with_what_to_write(project: Project) -> None:
    path = project.root / "params.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace('  prime: ""', "  prime: 0x10"), encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape("synthesize.prime must be text, got 16; put text in quotes")):
        load()


@pytest.mark.usefixtures("project")
def test_an_argument_too_long_to_be_parsed_in_time_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"an argument must have at most 10,100 characters, got .synth.*prime_file"):
        load(["synthesize.prime=" + "[1," * 5000])


def test_no_more_than_twenty_problems_are_listed(project: Project) -> None:
    with (project.root / "params.yaml").open("a", encoding="utf-8") as file:
        file.writelines(f"wrong{number}: 1\n" for number in range(3000))
    with pytest.raises(ConfigError, match=r"^3,000 problems: \(1\) .*\(20\) [^;]*; [^;]*; and 2,980 more$"):
        load()


def test_every_objective_of_a_sweep_is_a_figure_that_can_be_read() -> None:
    names = [Objective(figure, unit).name for unit in ("nats", "bits") for figure in FIGURES]
    assert OPTIONS["sweep.objective"][0]["enum"] == names
    assert [Objective.named(name).name for name in names] == names


def test_every_key_has_values_that_are_refused() -> None:
    assert {key for key, _, _ in REFUSED} == {*KEYS}


def test_the_keys_of_the_schema_are_those_of_params_yaml_tracking_and_the_folders(values: dict[str, Any]) -> None:
    assert [key for key in KEYS if key in values] == list(values)
    assert {*KEYS} - values.keys() == {
        *("tracking.mode", "tracking.uri", "tracking.experiment", "model.register"),
        *("sweep.resume", "sweep.extend", "sweep.objective", "sweep.plot"),
        *("inp", "out"),
    }


@pytest.mark.parametrize(
    ("section", "key", "table"),
    [("model", "cell", CELLS), ("optimizer", "name", OPTIMIZERS), ("optimizer", "schedule", SCHEDULES)],
)
def test_the_names_that_the_schema_admits_are_those_of_the_core(section: str, key: str, table: dict[str, Any]) -> None:
    assert get_args(SECTIONS[section].model_fields[key].annotation) == tuple(table)


def test_params_yaml_says_which_optimizers_read_an_option() -> None:
    read_by: dict[str, set[str]] = {}
    section = (ROOT / "params.yaml").read_text(encoding="utf-8").partition("\noptimizer:\n")[2].partition("\n\n")[0]
    heading = ""
    for line in section.splitlines():
        if line.startswith("  # "):
            heading = line
        else:
            read_by[line.strip().partition(":")[0]] = {
                name for name in OPTIMIZERS if re.search(rf"\b{name}\b", heading)
            }
    options = {option for rule in OPTIMIZERS.values() for option in rule.options}
    assert {option: read_by[option] for option in options} == {
        option: {name for name, rule in OPTIMIZERS.items() if option in rule.options} for option in options
    }


def test_the_record_of_a_refused_job_has_its_values_unless_one_is_of_a_wrong_type() -> None:
    plain = config_with("seed", 1).model_dump()
    plain["model"]["register"] = None
    out_of_range = DictConfig(plain | {"seed": -1})
    record = unchecked(out_of_range, default_out="outputs")
    assert record is not None
    assert (record.seed, record.model.cell, record.out) == (-1, "rnn", "outputs")
    assert unchecked(DictConfig(plain | {"seed": "x"}), default_out="outputs") is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("train.patience=2", "train.validate_every=0"),
            "train.patience must be 0 where train.validate_every is 0, got 2; set train.validate_every above 0",
        ),
        (
            ("train.patience=2", "data.validation_fraction=0"),
            "train.patience must be 0 where data.validation_fraction is 0, got 2; set data.validation_fraction above 0",
        ),
        (
            ("train.patience=2", "preset=reference"),
            "train.patience must be 0 where train.validate_every and data.validation_fraction are 0, got 2",
        ),
        (("train.batch_size=5", "train.workers=2"), "train.workers must divide train.batch_size (5), got 2"),
        (
            ("synthesize.prime=a", "synthesize.prime_file=b"),
            "synthesize.prime_file must be null where synthesize.prime is given, got 'b'; give one of the two",
        ),
        (("tracking=server",), "tracking.uri must be the server's address, got null; try"),
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
    fields = [field for section in SECTIONS.values() for field in section.model_fields.values()]
    assert all(field.is_required() for field in (*fields, *Config.model_fields.values()))


@pytest.mark.parametrize("stage", ["prepare", "train", "synthesize", "evaluate"])
def test_a_stage_run_by_hand_without_a_folder_writes_nothing_under_artifacts(trained: Project, stage: str) -> None:
    before = trained.files("artifacts")
    ended = trained.try_stage(stage, "preset=smoke", "train.steps=50")
    assert ended.code == 0, ended.errors
    assert trained.files("artifacts") == before
    written = {Path(name).name for name in trained.files("outputs")}
    expected = {"prepare": "ids.npy", "train": "model.npz", "synthesize": "sample.txt", "evaluate": "metrics.json"}
    assert expected[stage] in written
