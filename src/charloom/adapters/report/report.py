"""The report: one HTML page that holds everything it shows, figures included, and loads nothing over a network.

Knows nothing about files of results or about how the figures were drawn. The page itself is report.html.jinja.
"""

import base64
import json
import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby
from typing import Any

from charloom.adapters.configuration import override
from charloom.adapters.pages import as_html, environment
from charloom.adapters.report.originality import originality
from charloom.adapters.report.verdict import held_out_loss, ranking, verdict
from charloom.core.common.formatting import scientific
from charloom.core.common.quality_records import TextQuality
from charloom.core.common.records import (
    Baselines,
    GradientErrors,
    ModelEvaluation,
    Quality,
    Sample,
    Summary,
    TrainingMetrics,
    TrainingWarning,
)
from charloom.core.common.reference import ReferenceErrors


def page(
    *,
    summary: Summary,
    errors: GradientErrors,
    reference: ReferenceErrors,
    baselines: Baselines,
    metrics: TrainingMetrics,
    warnings: Sequence[TrainingWarning],
    samples: Sequence[Sample],
    text: str,
    quality: Quality,
    text_quality: TextQuality,
    evaluation: ModelEvaluation,
    parameters: Mapping[str, Any],
    figures: Mapping[str, bytes],
) -> str:
    """The page, as HTML that can be encoded in UTF-8.

    `reference` has the published absolute and relative error of the central difference by tensor; it is empty where
    there is nothing to compare `errors` with. `warnings` are those of the training. `text` is the synthesized text, and
    `quality` describes it; `text_quality` is of what is written at several temperatures. `parameters` are those of the
    run by dotted key. `figures` are PNGs: `loss`, `gradcheck`, `step_sweep`, `gradient_flow`, `dynamics`, `samples` and
    `quality`.
    """
    loss, uniform = held_out_loss(metrics, evaluation), math.log(summary.vocabulary_size)
    html = _TEMPLATE.render(
        summary=summary,
        verdict=verdict(metrics, loss, baselines, uniform=uniform),
        loss=loss,
        uniform=uniform,
        ranking=ranking(loss, baselines),
        errors=errors,
        reference=reference,
        baselines=baselines,
        metrics=metrics,
        warnings=warnings,
        samples=samples,
        text=text,
        quality=asdict(quality),
        text_quality=text_quality,
        originality=originality(text_quality),
        evaluation=evaluation,
        parameters=parameters,
        command=_command(parameters),
        figures={name: base64.b64encode(png).decode("ascii") for name, png in figures.items()},
    )
    return as_html(html)


def _command(parameters: Mapping[str, Any]) -> str:
    r"""What to type for a run with these parameters, a line for each group of them.

    >>> print(_command({"seed": 1, "data.path": "a text.txt", "data.encoding": "utf-8"}))
    python -m charloom.experiment \
        seed=1 \
        'data.path=a text.txt' data.encoding=utf-8
    """
    overrides = {
        key: override(key, value) if isinstance(value, str) else f"{key}={json.dumps(value)}"
        for key, value in parameters.items()
    }
    groups = (shlex.join(given for _, given in group) for _, group in _by_group(overrides.items()))
    return " \\\n    ".join(["python -m charloom.experiment", *groups])


def _by_group(items: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Parameters by the part of their keys before the first dot; those without one together, as "run"."""
    for name, group in groupby(items, key=lambda item: item[0].rpartition(".")[0].partition(".")[0] or "run"):
        yield name, list(group)


_environment = environment(__package__)
_environment.filters |= {
    "by_group": _by_group,
    "parameter": partial(json.dumps, ensure_ascii=False),  # to the last digit, as it may stand in params.yaml
    "scientific": partial(scientific, digits=3),
}
_environment.globals["ln2"] = math.log(2)
_TEMPLATE = _environment.get_template("report.html.jinja")
