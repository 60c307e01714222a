"""The configuration: composed by Hydra, checked once, handed on as typed values.

The only module that knows Hydra's composition and OmegaConf. Default values stand in `params.yaml`; the dataclasses
here are the schema that refuses unknown keys and wrong types, and `check` holds the ranges.
"""

import difflib
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ValueType
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from charloom.core.common.errors import ConfigError

Composed = DictConfig  # what Hydra hands to a job


@dataclass
class DataConfig:
    """Where the text is and how it is read."""

    path: str = MISSING
    encoding: str = MISSING
    newline: str = MISSING
    validation_fraction: float = MISSING


@dataclass
class ModelConfig:
    """The network's shape and its initial weights."""

    cell: str = MISSING
    hidden_size: int = MISSING
    layers: int = MISSING
    dropout: float = MISSING
    output_dropout: float = MISSING
    init_scale: float = MISSING
    dtype: str = MISSING


@dataclass
class OptimizerConfig:
    """The rule that turns a gradient into an update."""

    name: str = MISSING
    learning_rate: float = MISSING
    clip_value: float | None = MISSING
    clip_norm: float | None = MISSING
    epsilon: float = MISSING
    decay: float = MISSING
    beta1: float = MISSING
    beta2: float = MISSING
    weight_decay: float = MISSING
    momentum: float = MISSING
    schedule: str = MISSING
    warmup_steps: int = MISSING
    final_fraction: float = MISSING
    periods: int = MISSING


@dataclass
class TrainConfig:
    """The course of the training, and what is noted on the way."""

    steps: int = MISSING
    max_seconds: float | None = MISSING
    seq_length: int = MISSING
    batch_size: int = MISSING
    smoothing: float = MISSING
    stop_at_smooth_loss: float | None = MISSING
    log_every: int = MISSING
    validate_every: int = MISSING
    patience: int = MISSING
    sample_every: int = MISSING
    sample_until: int = MISSING
    sample_length: int = MISSING
    final_sample_length: int = MISSING
    checkpoint_every: int = MISSING
    threads: int = MISSING
    workers: int = MISSING


@dataclass
class GradcheckConfig:
    """The window and the steps of the gradient check."""

    hidden_size: int | None = MISSING
    seq_length: int = MISSING
    batch_size: int = MISSING
    step: float = MISSING
    threshold: float = MISSING
    large_scale: float = MISSING
    workers: int = MISSING


@dataclass
class SynthesizeConfig:
    """The text that is written at the end."""

    model: str = MISSING
    length: int = MISSING
    streams: int = MISSING
    temperature: float = MISSING
    top_k: int = MISSING
    top_p: float = MISSING
    prime: str = MISSING
    prime_file: str | None = MISSING
    on_unknown: str = MISSING
    seed: int = MISSING


@dataclass
class TrackingConfig:
    """Where MLflow keeps the runs; shapes no result."""

    mode: str = MISSING
    uri: str | None = None
    experiment: str = MISSING


@dataclass
class Config:
    """Everything a stage may want to know, checked."""

    seed: int = MISSING
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    gradcheck: GradcheckConfig = field(default_factory=GradcheckConfig)
    synthesize: SynthesizeConfig = field(default_factory=SynthesizeConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    inp: str = "artifacts"
    out: str | None = None

    def parameters(self) -> dict[str, Any]:
        """What shapes the result, as nested plain values: all but `tracking`, `inp` and `out`."""
        values = asdict(self)
        return {key: value for key, value in values.items() if key not in ("tracking", "inp", "out")}


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as dotted keys.

    >>> flatten({"seed": 1, "model": {"cell": "rnn"}})
    {'seed': 1, 'model.cell': 'rnn'}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def project_root() -> Path:
    """The nearest folder upwards from the working directory that holds `params.yaml` and `conf/`.

    Raises ConfigError where there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").is_file() and (folder / "conf").is_dir():
            return folder
    raise ConfigError(f"no params.yaml with a conf/ beside it in {here} or above; run inside a charloom project")


class _ProjectRoot(SearchPathPlugin):
    """Lets `- params` in the defaults list find params.yaml, at the project's root."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("charloom", f"file://{project_root()}")


def register() -> None:
    """Make the schema, the search path and the resolvers known to Hydra; harmless when repeated."""
    ConfigStore.instance().store(name="schema", node=Config)
    Plugins.instance().register(_ProjectRoot)
    OmegaConf.register_new_resolver("charloom.pid", os.getpid, replace=True)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what Hydra and OmegaConf raise into a ConfigError of one line."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(explain(error)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"params.yaml or a file in conf/ is not UTF-8 ({error})") from error
    except ValueError as error:
        if "Config group override" not in str(error):  # Hydra's for `preset=null`; any other is a bug
            raise
        raise ConfigError(
            "model, optimizer, preset and tracking are names of files in conf/; leave one out rather than give it null"
        ) from error


_LISTED = (ValueType.SIMPLE_CHOICE_SWEEP, ValueType.CHOICE_SWEEP, ValueType.RANGE_SWEEP)  # sweeps over given values


def load(overrides: Sequence[str] = (), *, multirun: bool = False) -> Config:
    """Compose `conf/`, `params.yaml` and the overrides, as on the command line, and check the result.

    Where `out` is not given, it becomes the folder that Hydra would run in, or sweep in. For a multirun, overrides that
    are swept are left out, once their keys are known to exist. Raises ConfigError.
    """
    root = project_root()
    register()
    GlobalHydra.instance().clear()
    with one_line_errors(), initialize_config_dir(str(root / "conf"), version_base="1.3"):
        if multirun:
            parsed = OverridesParser.create().parse_overrides(list(overrides))
            overrides = [override.input_line or "" for override in parsed if not override.is_sweep_override()]
            first = [
                f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
                for override in parsed
                if override.value_type in _LISTED
            ]
            compose("config", [*overrides, *first])  # for a swept key that there is not
        composed = compose("config", list(overrides), return_hydra_config=True)
        HydraConfig.instance().set_config(composed)
        folder = composed.hydra.sweep.dir if multirun else composed.hydra.run.dir
        config = from_composed(composed, default_out=str(folder))
    check(config)
    return config


def from_composed(composed: Composed, default_out: str) -> Config:
    """What Hydra composed as typed values, their ranges not yet checked. Raises ConfigError."""
    with one_line_errors():
        own = [str(key) for key in composed if key != "hydra"]
        plain = OmegaConf.to_container(OmegaConf.masked_copy(composed, own))
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), plain))
    assert isinstance(config, Config)
    config.out = config.out or default_out
    return config


def explain(error: Exception) -> str:
    """One line for what Hydra or OmegaConf has to say, with the nearest key where one is misspelt."""
    if isinstance(error, OverrideParseException):
        return f"cannot read {error.override!r}; write key=value, and quote what is no plain word: key='a value, …'"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"{error.problem_mark.name}, line {error.problem_mark.line + 1}: {error.problem}"
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).partition("/")
        return f"{group} must be one of {', '.join(error.options)}: {name!r}"
    behind = error.__cause__ or error.__context__
    cause = behind if isinstance(behind, OmegaConfBaseException) and "full_key" in str(behind) else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()] or [type(cause).__name__]
    text = lines[0].removesuffix(".")
    key = next((line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key:")), "")
    if missing := re.search(r"Could not override '([^']+)'", str(error)):
        key, text = missing[1], f"there is no key '{missing[1]}'"
    elif "not in" in text and key:
        text = f"there is no key '{key}'"
    elif key and key not in text:
        text = f"{key}: {text}"
    if "missing mandatory value" in text and key:
        text = f"{key} has no value; params.yaml must give it one"
    elif "Cannot merge DictConfig" in str(error):
        text = "params.yaml or a file in conf/ holds something other than keys with their values"
    known = list(flatten(asdict(Config())))
    leaves = {name.split(".")[-1]: name for name in known}
    if text.startswith("there is no key"):
        last = key.split(".")[-1]
        close = difflib.get_close_matches(key, known, 1) or difflib.get_close_matches(last, leaves, 1)
        text += f"; did you mean '{leaves.get(close[0], close[0])}'?" if close else "; params.yaml has those there are"
    return text


CELLS = ("rnn", "gru", "lstm")
OPTIMIZERS = ("adagrad", "rmsprop", "adam", "sgd")
SCHEDULES = ("constant", "linear", "cosine", "steps")
_NEWLINES = ("universal", "keep")
_DTYPES = ("float64", "float32")
_TRACKING_MODES = ("sqlite", "server", "off")


def check(config: Config) -> None:
    """Hold every value against its range. Raises ConfigError with the key, the value and what must hold."""
    data, model, optimizer = config.data, config.model, config.optimizer
    train, gradcheck, synthesize = config.train, config.gradcheck, config.synthesize

    _at_least(0, seed=config.seed, **{"synthesize.seed": synthesize.seed})
    try:
        "".encode(data.encoding)  # unlike codecs.lookup, refuses codecs that are not for text, such as base64
    except (LookupError, ValueError):
        raise ConfigError(
            f"data.encoding must be an encoding that Python knows: {data.encoding!r}; try utf-8"
        ) from None
    _one_of("data.newline", data.newline, _NEWLINES)
    _fraction(**{"data.validation_fraction": data.validation_fraction})

    _one_of("model.cell", model.cell, CELLS)
    _one_of("model.dtype", model.dtype, _DTYPES)
    _at_least(1, **{"model.hidden_size": model.hidden_size, "model.layers": model.layers})
    _positive(**{"model.init_scale": model.init_scale, "gradcheck.large_scale": gradcheck.large_scale})

    _one_of("optimizer.name", optimizer.name, OPTIMIZERS)
    _one_of("optimizer.schedule", optimizer.schedule, SCHEDULES)
    for name in ("learning_rate", "epsilon", "clip_value", "clip_norm", "final_fraction"):
        if (value := getattr(optimizer, name)) is not None:
            _positive(**{f"optimizer.{name}": value})
    for name in ("decay", "beta1", "beta2", "momentum"):
        _fraction(**{f"optimizer.{name}": getattr(optimizer, name)})
    _fraction(
        **{
            "model.dropout": model.dropout,
            "model.output_dropout": model.output_dropout,
            "train.smoothing": train.smoothing,
        }
    )
    if not (optimizer.weight_decay >= 0 and math.isfinite(optimizer.weight_decay)):
        raise ConfigError(f"optimizer.weight_decay must be >= 0 and finite: {optimizer.weight_decay}")
    if optimizer.final_fraction > 1:
        raise ConfigError(f"optimizer.final_fraction must be > 0 and <= 1: {optimizer.final_fraction}")
    _at_least(1, **{"optimizer.periods": optimizer.periods})
    _at_least(0, **{"optimizer.warmup_steps": optimizer.warmup_steps})

    for name in ("steps", "seq_length", "batch_size", "log_every", "checkpoint_every", "threads", "workers"):
        _at_least(1, **{f"train.{name}": getattr(train, name)})
    for name in ("validate_every", "sample_every", "sample_until", "sample_length", "final_sample_length", "patience"):
        _at_least(0, **{f"train.{name}": getattr(train, name)})
    for name in ("stop_at_smooth_loss", "max_seconds"):
        if (value := getattr(train, name)) is not None:
            _positive(**{f"train.{name}": value})
    if train.batch_size % train.workers:
        raise ConfigError(
            f"train.batch_size must be a multiple of train.workers ({train.workers}): {train.batch_size}; each worker "
            "has as many streams as the others"
        )
    if train.patience and not train.validate_every:
        raise ConfigError(f"train.patience={train.patience} needs validations; set train.validate_every to 1 or more")

    for name in ("seq_length", "batch_size", "workers"):
        _at_least(1, **{f"gradcheck.{name}": getattr(gradcheck, name)})
    if gradcheck.hidden_size is not None:
        _at_least(1, **{"gradcheck.hidden_size": gradcheck.hidden_size})
    _positive(**{"gradcheck.step": gradcheck.step, "gradcheck.threshold": gradcheck.threshold})

    _at_least(1, **{"synthesize.streams": synthesize.streams})
    _one_of("synthesize.model", synthesize.model, ("last", "best"))
    _at_least(0, **{"synthesize.length": synthesize.length, "synthesize.top_k": synthesize.top_k})
    if not (synthesize.temperature >= 0 and math.isfinite(synthesize.temperature)):
        raise ConfigError(
            f"synthesize.temperature must be >= 0: {synthesize.temperature}; 0 is the most likely character"
        )
    if not 0 < synthesize.top_p <= 1:
        raise ConfigError(f"synthesize.top_p must be > 0 and <= 1: {synthesize.top_p}; 1 keeps every character")
    _one_of("synthesize.on_unknown", synthesize.on_unknown, ("error", "skip"))
    if synthesize.prime and synthesize.prime_file:
        raise ConfigError("synthesize.prime and synthesize.prime_file are both given; give one")
    _one_of("tracking.mode", config.tracking.mode, _TRACKING_MODES)
    if config.tracking.mode == "server" and not (config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")):
        raise ConfigError("tracking=server needs tracking.uri, such as http://127.0.0.1:5000, or MLFLOW_TRACKING_URI")


def _one_of(key: str, value: str, names: Sequence[str] | dict[str, Any]) -> None:
    if value not in names:
        raise ConfigError(f"{key} must be one of {', '.join(names)}: {value!r}")


def _at_least(bound: int, **values: int) -> None:
    for key, value in values.items():
        if value < bound:
            raise ConfigError(f"{key} must be >= {bound}: {value}")


def _fraction(**values: float) -> None:
    for key, value in values.items():
        if not 0 <= value < 1:
            raise ConfigError(f"{key} must be >= 0 and < 1: {value}")


def _positive(**values: float) -> None:
    for key, value in values.items():
        if not (value > 0 and np.isfinite(value)):
            raise ConfigError(f"{key} must be > 0 and finite: {value}")
