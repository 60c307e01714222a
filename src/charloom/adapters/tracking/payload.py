"""What a run is sent: the files of a result as parameters, metrics, tags and texts. Knows nothing about MLflow."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charloom.adapters.configuration import Parameters, flatten, from_recorded
from charloom.adapters.files import artifacts, parameters
from charloom.adapters.process import kernels
from charloom.core.common.records import ErrorRow, Inspection, Result, Summary

RESULT_TAG = "charloom.result"
CURVES = "curves"  # before the slash in the names of the metrics that grow while a training runs
NOTE_TAG = "mlflow.note.content"  # what MLflow's page of a run shows as the description, in Markdown

# The ids are as large as the corpus, and each sample is sent as a text of its own.
_NOT_SENT = {artifacts.IDS.name, artifacts.SAMPLES.name}
# The most telling error first: of a wide table, the page shows what fits.
_FIRST_COLUMNS = ("weights", "method", "tensor", "max_relative_error")
_NOTE = f"""\
The gradient's largest relative error, by the complex step and by central differences:

| tensor | complex step | central difference |
|---|---|---|
{{rows}}

The whole story is among the artifacts, in {artifacts.REPORT.name}."""


@dataclass(frozen=True)
class Payload:
    """All that is sent of a result besides the curves of its training, read before anything is sent."""

    name: str
    tags: dict[str, str]
    parameters: dict[str, str]
    metrics: list[tuple[str, float, int]]  # name, value, training step
    error_rows: list[dict[str, str]]
    samples: dict[str, str]  # file name: text
    artifacts: list[tuple[Path, str]]  # file, folder among the run's artifacts
    corpus: Summary


def read_payload(inp: Path, result: Result) -> Payload:
    """Read the files of the result in `inp`.

    Raises StateError where one is missing or damaged, or its stages were made with different parameters.
    """
    made_with = from_recorded(parameters.read(inp), inp)
    corpus, errors, history = artifacts.SUMMARY.read(inp), artifacts.ERRORS.read(inp), artifacts.HISTORY.read(inp)
    relative = {tensor: found.max_relative_error for tensor, found in errors.complex_step.items()}
    central = {tensor: found.max_relative_error for tensor, found in errors.central.items()}
    rows = "\n".join(f"| {name} | {relative[name]:.2e} | {central[name]:.2e} |" for name in relative if name in central)
    tags = {
        RESULT_TAG: result.result,
        "charloom.corpus_sha256": corpus.sha256,
        "charloom.gradcheck": "passed" if errors.passed else "failed",
        "charloom.kernels": _kernels(made_with),
        NOTE_TAG: _NOTE.format(rows=rows),
    }
    metrics = [*_magnitudes("complex_step", relative), *_magnitudes("central_difference", central)]
    metrics += [
        (f"ngrams/{model.name}/{key}", getattr(model, key), 0)
        for model in artifacts.BASELINES.read(inp).models
        for key in ("nats_per_char", "bits_per_char", "perplexity")
    ]
    for stage, figures in (("train", artifacts.METRICS.read(inp)), ("synthesize", artifacts.QUALITY.read(inp))):
        for key, value in vars(figures).items():
            if isinstance(value, int | float):
                metrics.append((f"{stage}/{key}", float(value), 0))
            elif value is not None:
                tags[f"charloom.{stage}.{key}"] = str(value)
    evaluation = artifacts.EVALUATION.read(inp)
    for protocol, score in {"carried": evaluation.carried, "windows": evaluation.windows}.items():
        metrics += [(f"evaluate/{protocol}/{key}", value, 0) for key, value in vars(score).items()] if score else []
    if warnings := artifacts.WARNINGS.read(inp):
        tags["charloom.warnings"] = ", ".join(warning.kind for warning in warnings)
    smooth = f"smooth loss {history[-1].smooth_loss:.1f}" if history else "no steps"
    return Payload(
        name=f"{model_name(made_with)}, {smooth}",
        tags=tags,
        parameters=parameter_texts(made_with),
        metrics=[*metrics, *_inside(artifacts.INSPECTIONS.read(inp))],
        error_rows=[_error_row(row) for row in artifacts.ERROR_TABLE.read(inp)],
        samples={f"samples/step-{sample.step:08d}.txt": sample.text for sample in artifacts.SAMPLES.read(inp)},
        artifacts=[(inp / name, str(Path(name).parent)) for name in result.files if name not in _NOT_SENT],
        corpus=corpus,
    )


def model_name(made_with: Parameters) -> str:
    """A short name for a configuration, such as `rnn 100, adagrad 0.1`."""
    model, optimizer = made_with.model, made_with.optimizer
    layers = f"{model.layers}×" if model.layers > 1 else ""
    return f"{model.cell} {layers}{model.hidden_size}, {optimizer.name} {optimizer.learning_rate:g}"


def parameter_texts(made_with: Parameters) -> dict[str, str]:
    """The parameters by their dotted keys, spelt as in params.yaml."""
    return {key: as_text(value) for key, value in flatten(made_with.parameters()).items()}


def _kernels(made_with: Parameters) -> str:
    """The kernels that the result was computed with; which ones they are is known where this process has the same."""
    name = made_with.kernels
    return f"{name}: {kernels.loaded()}" if kernels.chosen() == name else name


def as_text(value: object) -> str:
    """A text as it stands, any other plain value as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _magnitudes(method: str, errors: Mapping[str, float]) -> Iterator[tuple[str, float, int]]:
    """The largest relative error of each tensor as its decimal logarithm: of 1e-12, the page would show 0.00."""
    for tensor, error in errors.items():
        if error:
            yield f"gradcheck/log10_{method}/{tensor}", math.log10(error), 0


def curves(row: Mapping[str, Any], seq_length: int) -> Iterator[tuple[str, float, int, float]]:
    """The losses of a row of a training's journal as metrics with the step and the time, in bits per character too.

    A run's page sorts its charts by what stands before the slash, and so opens with these.
    """
    losses = {
        "loss": row["loss"],
        "smooth_loss": row["smooth_loss"],
        "bits_per_char": row["smooth_loss"] / (seq_length * math.log(2)),
    }
    if (validation := row["validation_nats_per_char"]) is not None:
        losses |= {"validation_nats_per_char": validation, "validation_bits_per_char": validation / math.log(2)}
    for name, value in losses.items():
        yield f"{CURVES}/{name}", value, row["step"], row["time"]


def _inside(inspections: list[Inspection]) -> Iterator[tuple[str, float, int]]:
    """What was found inside the training as metrics, those of a kind under the same name: `inside/update_ratio/W`."""
    for found in inspections:
        figures: dict[str, dict[str, float | None]] = {
            "spectral_radius": found.dynamics.spectral_radius,
            "saturated": {**found.dynamics.saturated},
            "clipped": {"gradient": found.clipped},
            "update_ratio": found.update_ratio,
            "step_size": {name: sizes.median if sizes else None for name, sizes in found.step_size.items()},
        }
        for kind, values in figures.items():
            for name, value in values.items():
                if value is not None:
                    yield f"inside/{kind}/{name}", value, found.step


def _error_row(row: ErrorRow) -> dict[str, str]:
    """A row of the error table, its numbers cut to what a cell shows: longer ones would hide their exponent."""
    values = {column: getattr(row, column) for column in _FIRST_COLUMNS} | vars(row)
    return {column: f"{value:.3e}" if isinstance(value, float) else str(value) for column, value in values.items()}
