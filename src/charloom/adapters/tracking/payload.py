"""What a run is sent: the files of a result as parameters, metrics, tags and texts. Knows nothing about MLflow."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from charloom.adapters.configuration import Config, flatten
from charloom.adapters.files import artifacts
from charloom.core.common.records import ErrorRow, HistoryRow, Result, Summary

RESULT_TAG = "charloom.result"
NOTE_TAG = "mlflow.note.content"  # what MLflow's page of a run shows as the description, in Markdown

_NOT_SENT = {
    artifacts.IDS.name,  # as large as the corpus
    artifacts.SAMPLES.name,  # each sample is sent as a text of its own
}


class Point(NamedTuple):
    """The value of a metric at a training step."""

    name: str
    value: float
    step: int = 0


@dataclass(frozen=True)
class Payload:
    """All that is sent of a result, read before anything is sent."""

    name: str
    tags: dict[str, str]
    parameters: dict[str, str]
    metrics: list[Point]
    error_rows: list[dict[str, str]]
    samples: dict[str, str]  # file name: text
    artifacts: list[tuple[Path, str]]  # file, folder among the run's artifacts
    corpus: Summary


def read_payload(config: Config, inp: Path, result: Result) -> Payload:
    """Read the files of the result in `inp`. Raises StateError where one is missing or damaged."""
    corpus = artifacts.SUMMARY.read(inp)
    errors = artifacts.ERRORS.read(inp)
    history = artifacts.HISTORY.read(inp)
    relative = {tensor: found.max_relative_error for tensor, found in errors.complex_step.items()}
    central = {tensor: found.max_relative_error for tensor, found in errors.central.items()}
    metrics = [Point(f"rel_error/{tensor}", error) for tensor, error in relative.items()]
    metrics += [Point(f"rel_error_central/{tensor}", error) for tensor, error in central.items()]
    tags = {
        RESULT_TAG: result.result,
        "charloom.corpus_sha256": corpus.sha256,
        "charloom.gradcheck": "passed" if errors.passed else "failed",
        NOTE_TAG: _note(relative, central),
    }
    figures = {
        artifacts.METRICS.stage: asdict(artifacts.METRICS.read(inp)),
        artifacts.QUALITY.stage: asdict(artifacts.QUALITY.read(inp)),
    }
    for stage, values in figures.items():
        for key, value in values.items():
            if isinstance(value, int | float):
                metrics.append(Point(f"{stage}/{key}", float(value)))
            elif value is not None:
                tags[f"charloom.{stage}.{key}"] = str(value)
    smooth = f"smooth loss {history[-1].smooth_loss:.1f}" if history else "no steps"
    return Payload(
        name=f"{model_name(config)}, {smooth}",
        tags=tags,
        parameters=parameter_texts(config),
        metrics=[*metrics, *_curves(history, config.train.seq_length)],
        error_rows=[_error_row(row) for row in artifacts.ERROR_TABLE.read(inp)],
        samples={f"samples/step-{sample.step:08d}.txt": sample.text for sample in artifacts.SAMPLES.read(inp)},
        artifacts=[(inp / name, str(Path(name).parent)) for name in result.files if name not in _NOT_SENT],
        corpus=corpus,
    )


def model_name(config: Config) -> str:
    """A short name for a configuration, such as `rnn 100, adagrad 0.1`."""
    layers = f"{config.model.layers}×" if config.model.layers > 1 else ""
    size = f"{layers}{config.model.hidden_size}"
    return f"{config.model.cell} {size}, {config.optimizer.name} {config.optimizer.learning_rate:g}"


def parameter_texts(config: Config) -> dict[str, str]:
    """The parameters by their dotted keys, spelt as in params.yaml."""
    return {key: as_text(value) for key, value in flatten(config.parameters()).items()}


def as_text(value: object) -> str:
    """A text as it stands, any other plain value as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _curves(history: list[HistoryRow], seq_length: int) -> Iterator[Point]:
    """The losses of the history as points, and the same in bits per character."""
    for row in history:
        yield Point("loss", row.loss, row.step)
        yield Point("smooth_loss", row.smooth_loss, row.step)
        yield Point("bits_per_char", row.smooth_loss / (seq_length * math.log(2)), row.step)
        if row.validation_nats_per_char is not None:
            yield Point("validation_nats_per_char", row.validation_nats_per_char, row.step)
            yield Point("validation_bits_per_char", row.validation_nats_per_char / math.log(2), row.step)


def _error_row(row: ErrorRow) -> dict[str, str]:
    """A row of the error table, its numbers cut to what a cell shows: longer ones would hide their exponent."""
    # The most telling error first: of a wide table, the page shows what fits.
    first = {
        "weights": row.weights,
        "method": row.method,
        "tensor": row.tensor,
        "max_relative_error": row.max_relative_error,
    }
    values = first | asdict(row)
    return {column: f"{value:.3e}" if isinstance(value, float) else str(value) for column, value in values.items()}


def _note(relative: dict[str, float], central: dict[str, float]) -> str:
    rows = [
        f"| {tensor} | {relative[tensor]:.2e} | {central[tensor]:.2e} |" for tensor in relative if tensor in central
    ]
    return "\n".join(
        [
            "The gradient's largest relative error, by the complex step and by central differences:",
            "",
            "| tensor | complex step | central difference |",
            "|---|---|---|",
            *rows,
            "",
            f"The whole story is among the artifacts, in {artifacts.REPORT.name}.",
        ]
    )
