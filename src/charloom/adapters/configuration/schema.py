"""The schema of the configuration: every key with its type, its range and its names.

Knows nothing about how the values come together, and has no defaults: those stand in `params.yaml`. Types are strict:
a bool is no number, 1000.0 no whole number and 1984 no text; a whole number is taken for a number. Numbers have both
bounds, wide enough for any real use.
"""

import codecs
import os
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo

from charloom.adapters.configuration.plain import NO_SECRET, holds_secret

_LONG = 10**12  # of updates or characters: years on any machine

Natural = Annotated[int, Field(ge=0, le=_LONG)]
Count = Annotated[int, Field(ge=1, le=_LONG)]
Size = Annotated[int, Field(ge=1, le=1_000_000)]  # what memory cannot hold is refused by its estimate, far below
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]  # what other programs read as a whole number
Kept = Annotated[int, Field(ge=0, le=10_000_000)]  # characters that stay in memory and in every checkpoint
Processors = Annotated[int, Field(ge=1, le=64)]  # the most threads that NumPy's OpenBLAS takes; more workers only wait
Positive = Annotated[float, Field(ge=1e-12, le=1e12)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
PositiveFraction = Annotated[float, Field(gt=0, le=1)]
# Codecs that escape or abbreviate; on a whole text, some take a time that grows with the square of its length.
_NO_CHARACTER_SETS = {"idna", "punycode", "unicode_escape", "raw_unicode_escape"}


Text = Annotated[str, StringConstraints(max_length=10_000)]  # more belongs into a file


def _path(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must have no control characters; rename the file or folder")
    return text


Path = Annotated[str, StringConstraints(min_length=1, max_length=4096), AfterValidator(_path)]  # Linux's PATH_MAX


def _known(encoding: str) -> str:
    try:
        "".encode(encoding)  # unlike codecs.lookup, refuses codecs that are not for text, such as base64
        known = codecs.lookup(encoding).name.replace("-", "_") not in _NO_CHARACTER_SETS
    except (LookupError, ValueError):
        known = False
    if not known:
        raise ValueError("must be an encoding that Python knows; try utf-8")
    return encoding


def _with_validations(patience: int, info: ValidationInfo) -> int:
    validate_every, fraction = info.data.get("validate_every"), (info.context or {}).get("validation_fraction")
    zeros = [
        key
        for key, value in {"train.validate_every": validate_every, "data.validation_fraction": fraction}.items()
        if value == 0
    ]
    if patience and zeros:
        causes = " and ".join(zeros)
        raise ValueError(f"must be 0 where {causes} {'are' if zeros[1:] else 'is'} 0; set {causes} above 0")
    return patience


def _divides_batch_size(workers: int, info: ValidationInfo) -> int:
    if (batch_size := info.data.get("batch_size", 0)) % workers:
        raise ValueError(f"must divide train.batch_size ({batch_size}); each worker takes equally many streams")
    return workers


def _only_prompt(prime_file: str | None, info: ValidationInfo) -> str | None:
    if prime_file and info.data.get("prime"):
        raise ValueError("must be null where synthesize.prime is given; give one of the two")
    return prime_file


def _registered_name(name: str, info: ValidationInfo) -> str:
    if not re.fullmatch(r"\w[\w .-]*", name, re.ASCII):
        raise ValueError("must have letters, digits, spaces and . _ - only, a letter or digit first; try story")
    if (info.context or {}).get("mode") == "off":
        raise ValueError("must be null where tracking.mode is off; set tracking=sqlite")
    return name


def _server_address(uri: str | None, info: ValidationInfo) -> str | None:
    if uri and holds_secret(uri):
        raise ValueError(NO_SECRET)
    if info.data.get("mode") == "server" and not (uri or os.environ.get("MLFLOW_TRACKING_URI")):
        raise ValueError("must be the server's address; try http://127.0.0.1:5000, or set MLFLOW_TRACKING_URI")
    return uri


_RegisteredName = Annotated[str, StringConstraints(max_length=250), AfterValidator(_registered_name)]


class _Section(BaseModel):
    # Fields are checked in their order, so a rule finds in `info.data` those above its own that passed.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataConfig(_Section):
    """Where the text is and how it is read."""

    path: Path
    encoding: Annotated[Text, AfterValidator(_known)]
    newline: Literal["universal", "keep"]
    validation_fraction: Fraction


class ModelConfig(_Section):
    """The network's shape and its initial weights."""

    cell: Literal["rnn", "gru", "lstm"]
    hidden_size: Size
    layers: Annotated[int, Field(ge=1, le=1000)]
    dropout: Fraction
    output_dropout: Fraction
    init_scale: Positive
    dtype: Literal["float64", "float32"]

    def dropout_by_layer(self) -> list[float]:
        """The probability of each layer that an element of its output is left out."""
        return [self.dropout] * (self.layers - 1) + [self.output_dropout]


class RegisteredModelConfig(ModelConfig):
    """The same, and the name under which the model is registered in MLflow, which shapes no result."""

    # No parameter, so left out wherever these are dumped. pydantic's classes have a method `register`.
    register_as: Annotated[_RegisteredName | None, Field(alias="register", exclude=True)]


class OptimizerConfig(_Section):
    """The rule that turns a gradient into an update, and the schedule of its learning rate."""

    name: Literal["adagrad", "rmsprop", "adam", "soap", "sgd"]
    learning_rate: Positive
    clip_value: Positive | None
    clip_norm: Positive | None
    epsilon: Annotated[float, Field(ge=1e-30, le=1)]  # adagrad, rmsprop, adam, soap
    decay: Fraction  # rmsprop
    beta1: Fraction  # adam, soap
    beta2: Fraction  # adam, soap
    weight_decay: Annotated[float, Field(ge=0, le=1000)]  # adam, soap
    momentum: Fraction  # sgd
    schedule: Literal["constant", "linear", "cosine", "steps"]
    warmup_steps: Natural  # every schedule
    final_fraction: PositiveFraction  # linear, cosine, steps
    periods: Count  # steps


class BaselineConfig(_Section):
    """The models that the network is compared with."""

    order: Annotated[int, Field(ge=0, le=10)]  # on texts of any usual size, higher orders only remember


class TrainConfig(_Section):
    """The course of the training, and what is recorded during it."""

    steps: Count
    max_seconds: Positive | None
    seq_length: Size
    batch_size: Size
    reset_probability: Fraction
    smoothing: Fraction
    stop_at_smooth_loss: Positive | None
    log_every: Count
    validate_every: Natural
    patience: Annotated[Natural, AfterValidator(_with_validations)]
    sample_every: Natural
    sample_until: Natural
    sample_length: Kept
    final_sample_length: Kept
    inspect_every: Natural
    checkpoint_every: Count
    threads: Processors
    workers: Annotated[Processors, AfterValidator(_divides_batch_size)]
    init_from: Path | None


class GradcheckConfig(_Section):
    """The window, the step size and the bounds of the gradient check."""

    mode: Literal["auto", "full", "fast"]
    entries: Count
    hidden_size: Size | None
    seq_length: Size
    batch_size: Size
    step: Annotated[float, Field(ge=1e-12, le=0.1)]  # below, rounding is all that is measured
    threshold: Annotated[float, Field(ge=1e-15, le=1)]
    large_scale: Annotated[float, Field(ge=1e-6, le=10)]
    seed: Seed
    workers: Processors


class SynthesizeConfig(_Section):
    """The text that is written at the end."""

    model: Path
    length: Natural
    streams: Size
    temperature: Annotated[float, Field(ge=0, le=1000)]
    top_k: Natural
    top_p: PositiveFraction
    prime: Text
    prime_file: Annotated[Path | None, AfterValidator(_only_prompt)]
    on_unknown: Literal["error", "skip"]
    seed: Seed
    quality_length: Annotated[int, Field(ge=0, le=1_000_000)]  # for each temperature, all in memory


class EvaluateConfig(_Section):
    """The text that the model is evaluated on, and how."""

    model: Path
    path: Path | None
    window: Size
    on_unknown: Literal["error", "skip"]


class TrackingConfig(_Section):
    """Where MLflow keeps the runs; shapes no result."""

    mode: Literal["sqlite", "server", "off"]
    uri: Annotated[Text | None, AfterValidator(_server_address)]
    experiment: Annotated[str, StringConstraints(min_length=1, max_length=500)]  # what MLflow takes


Objective = Literal[
    "validation_nats_per_char",
    "best_validation_nats_per_char",
    "carried_nats_per_char",
    "windows_nats_per_char",
    "nats_per_char",
    "validation_bits_per_char",
    "best_validation_bits_per_char",
    "carried_bits_per_char",
    "windows_bits_per_char",
    "bits_per_char",
]
"""What sweeps.objectives knows to read."""


class SweepConfig(_Section):
    """How a sweep is run and summed up; shapes no result."""

    resume: Path | None
    extend: bool
    objective: Objective
    plot: Literal["best", "all", "none"]


class Parameters(_Section):
    """What shapes a result."""

    seed: Seed
    kernels: Literal["portable", "native"]
    data: DataConfig
    baseline: BaselineConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    train: TrainConfig
    gradcheck: GradcheckConfig
    synthesize: SynthesizeConfig
    evaluate: EvaluateConfig

    def parameters(self) -> dict[str, Any]:
        """The parameters as nested plain values."""
        return self.model_dump(include=set(Parameters.model_fields))

    def stage_parameters(self, stage: str) -> dict[str, Any]:
        """The parameters that a stage reads, by dotted key."""
        names = STAGE_PARAMETERS[stage]
        return {
            key: value
            for key, value in flatten(self.parameters()).items()
            if any(f"{key}.".startswith(f"{name}.") for name in names)
        }


class Config(Parameters):
    """All that a stage takes from outside, checked; `inp` and `out` are the folders that it reads and writes."""

    model: RegisteredModelConfig
    tracking: TrackingConfig
    sweep: SweepConfig
    inp: Path
    out: Path


# The keys and whole sections that shape the result of each stage; dvc.yaml lists the same under `params:`.
STAGE_PARAMETERS = {
    "prepare": ("data",),
    "baseline": ("kernels", "baseline"),
    "gradcheck": ("kernels", "model", "gradcheck"),
    "train": ("seed", "kernels", "model", "optimizer", "train"),
    "synthesize": ("kernels", "data.encoding", "data.newline", "synthesize"),
    "evaluate": ("kernels", "data.encoding", "data.newline", "evaluate"),
}

# What a request to a served model may set, beside its prompts, of `synthesize`.
REQUESTED = ("length", "temperature", "top_k", "top_p", "seed")

SECTIONS: dict[str, type[_Section]] = {
    name: field.annotation
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, _Section)
}
_TABLES: list[tuple[str, type[BaseModel]]] = [("", Config), *SECTIONS.items()]
# Every key with the types that it takes, as JSON schemas.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    f"{name}.{key}".lstrip("."): described.get("anyOf", [described])
    for name, section in _TABLES
    for key, described in section.model_json_schema()["properties"].items()
    if name or key not in SECTIONS
}
KEYS = tuple(OPTIONS)


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as dotted keys.

    >>> flatten({"seed": 1, "model": {"cell": "rnn"}})
    {'seed': 1, 'model.cell': 'rnn'}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
