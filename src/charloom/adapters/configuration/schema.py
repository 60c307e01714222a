"""The schema of the configuration: every key with its type, its range and its names.

Knows nothing about how the values come together, and has no defaults: those stand in `params.yaml`. Types are strict:
a bool is no number and 1000.0 no whole number; a whole number is taken for a number and, as its digits, for text.
"""

import os
import sys
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from charloom.adapters.configuration.plain import NO_SECRET, holds_secret

Natural = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
PositiveFraction = Annotated[float, Field(gt=0, le=1)]


def _writable(text: str) -> str:
    try:
        text.encode()
    except UnicodeError:  # a lone surrogate: half of a character, or the name of a file that is not UTF-8
        raise ValueError("must be text that UTF-8 can hold; write it without \\ud800 to \\udfff") from None
    return text


Text = Annotated[
    str, BeforeValidator(lambda value: str(value) if type(value) is int else value), AfterValidator(_writable)
]


def _known(encoding: str) -> str:
    try:
        "".encode(encoding)  # unlike codecs.lookup, refuses codecs that are not for text, such as base64
    except (LookupError, ValueError):
        raise ValueError("must be an encoding that Python knows; try utf-8") from None
    return encoding


def _with_validations(patience: int, info: ValidationInfo) -> int:
    if patience and info.data.get("validate_every") == 0:
        raise ValueError("must be 0 where train.validate_every is 0; set train.validate_every to 1 or more")
    return patience


def _divides_batch_size(workers: int, info: ValidationInfo) -> int:
    if (batch_size := info.data.get("batch_size", 0)) % workers:
        raise ValueError(f"must divide train.batch_size ({batch_size}); each worker takes equally many streams")
    return workers


def _only_prompt(prime_file: str | None, info: ValidationInfo) -> str | None:
    if prime_file and info.data.get("prime"):
        raise ValueError("must be null where synthesize.prime is given; give one of the two")
    return prime_file


def _server_address(uri: str | None, info: ValidationInfo) -> str | None:
    if uri and holds_secret(uri):
        raise ValueError(NO_SECRET)
    if info.data.get("mode") == "server" and not (uri or os.environ.get("MLFLOW_TRACKING_URI")):
        raise ValueError("must be the server's address; try http://127.0.0.1:5000, or set MLFLOW_TRACKING_URI")
    return uri


class _Section(BaseModel):
    # Fields are checked in their order, so a rule finds in `info.data` those above its own that passed.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


# The smallest positive number of each type, and the largest. NumPy, which knows them, is not needed here for more.
_RANGES = {"float64": (2.0**-1074, sys.float_info.max), "float32": (2.0**-149, (2 - 2.0**-23) * 2.0**127)}
_DEVIATIONS = 100  # no normal draw is as many standard deviations from the mean


class DataConfig(_Section):
    """Where the text is and how it is read."""

    path: Text
    encoding: Annotated[Text, AfterValidator(_known)]
    newline: Literal["universal", "keep"]
    validation_fraction: Fraction


class ModelConfig(_Section):
    """The network's shape and its initial weights."""

    cell: Literal["rnn", "gru", "lstm"]
    hidden_size: Count
    layers: Count
    dropout: Fraction
    output_dropout: Fraction
    init_scale: Positive
    dtype: Literal["float64", "float32"]

    def dropout_by_layer(self) -> list[float]:
        """The probability of each layer that an element of its output is left out."""
        return [self.dropout] * (self.layers - 1) + [self.output_dropout]


class OptimizerConfig(_Section):
    """The rule that turns a gradient into an update, and the schedule of its learning rate."""

    name: Literal["adagrad", "rmsprop", "adam", "sgd"]
    learning_rate: Positive
    clip_value: Positive | None
    clip_norm: Positive | None
    epsilon: Positive  # adagrad, rmsprop, adam
    decay: Fraction  # rmsprop
    beta1: Fraction  # adam
    beta2: Fraction  # adam
    weight_decay: NonNegative  # adam
    momentum: Fraction  # sgd
    schedule: Literal["constant", "linear", "cosine", "steps"]
    warmup_steps: Natural  # every schedule
    final_fraction: PositiveFraction  # linear, cosine, steps
    periods: Count  # steps


class TrainConfig(_Section):
    """The course of the training, and what is recorded during it."""

    steps: Count
    max_seconds: Positive | None
    seq_length: Count
    batch_size: Count
    smoothing: Fraction
    stop_at_smooth_loss: Positive | None
    log_every: Count
    validate_every: Natural
    patience: Annotated[Natural, AfterValidator(_with_validations)]
    sample_every: Natural
    sample_until: Natural
    sample_length: Natural
    final_sample_length: Natural
    checkpoint_every: Count
    threads: Count
    workers: Annotated[Count, AfterValidator(_divides_batch_size)]


class GradcheckConfig(_Section):
    """The window, the step size and the bounds of the gradient check."""

    mode: Literal["auto", "full", "fast"]
    entries: Count
    hidden_size: Count | None
    seq_length: Count
    batch_size: Count
    step: Positive
    threshold: Positive
    large_scale: Positive
    workers: Count


class SynthesizeConfig(_Section):
    """The text that is written at the end."""

    model: Literal["last", "best"]
    length: Natural
    streams: Count
    temperature: NonNegative
    top_k: Natural
    top_p: PositiveFraction
    prime: Text
    prime_file: Annotated[Text | None, AfterValidator(_only_prompt)]
    on_unknown: Literal["error", "skip"]
    seed: Natural


class TrackingConfig(_Section):
    """Where MLflow keeps the runs; shapes no result."""

    mode: Literal["sqlite", "server", "off"]
    uri: Annotated[Text | None, AfterValidator(_server_address)]
    experiment: Text


class Parameters(_Section):
    """What shapes a result."""

    seed: Natural
    kernels: Literal["portable", "native"]
    data: DataConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    train: TrainConfig
    gradcheck: GradcheckConfig
    synthesize: SynthesizeConfig

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

    tracking: TrackingConfig
    inp: Text
    out: Text

    @model_validator(mode="after")
    def _in_range_of_dtype(self) -> Self:
        """An ε that becomes 0 in float32 divides by 0; that is not for the learning rate to be blamed for."""
        smallest, largest = _RANGES[self.model.dtype]
        used = {key: getattr(self.optimizer, key) for key in ("learning_rate", "clip_value", "clip_norm")}
        if self.optimizer.name != "sgd":
            used["epsilon"] = self.optimizer.epsilon
        bounded = [(f"optimizer.{key}", value, largest) for key, value in used.items() if value is not None]
        for key, value, highest in (*bounded, ("model.init_scale", self.model.init_scale, largest / _DEVIATIONS)):
            if not smallest <= value <= highest:
                dtype = self.model.dtype
                raise ValueError(f"{key} must be from {smallest:.2g} to {highest:.2g} for {dtype}, got {value:g}")
        return self


# The keys and whole sections that shape the result of each stage; dvc.yaml lists the same under `params:`.
STAGE_PARAMETERS = {
    "prepare": ("data",),
    "gradcheck": ("seed", "kernels", "model", "gradcheck"),
    "train": ("seed", "kernels", "model", "optimizer", "train"),
    "synthesize": ("kernels", "data.encoding", "data.newline", "synthesize"),
}

SECTIONS: dict[str, type[BaseModel]] = {
    name: field.annotation
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}
KEYS = (
    *(name for name in Config.model_fields if name not in SECTIONS),
    *(f"{name}.{key}" for name, section in SECTIONS.items() for key in section.model_fields),
)


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as dotted keys.

    >>> flatten({"seed": 1, "model": {"cell": "rnn"}})
    {'seed': 1, 'model.cell': 'rnn'}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
