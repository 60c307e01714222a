"""The report: one HTML page that holds everything it shows, figures included, and loads nothing over a network.

Knows nothing about files of results or about how the figures were drawn. The page itself is report.html.jinja.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from charloom.core.common.formatting import scientific
from charloom.core.common.records import GradientErrors, Quality, Sample, Summary, TrainingMetrics, TrainingWarning


def page(
    *,
    summary: Summary,
    errors: GradientErrors,
    reference: Mapping[str, tuple[float, float]],
    metrics: TrainingMetrics,
    warnings: Sequence[TrainingWarning],
    samples: Sequence[Sample],
    text: str,
    quality: Quality,
    parameters: Mapping[str, Any],
    figures: Mapping[str, bytes],
) -> str:
    """The page, as HTML that can be encoded in UTF-8.

    `reference` has the published absolute and relative error of the central difference by tensor; it is empty where
    there is nothing to compare `errors` with. `warnings` are those of the training. `text` is the synthesized text, and
    `quality` describes it. `parameters` are those of the run by dotted key. `figures` are PNGs: `loss`, `gradcheck`,
    `step_sweep` and `samples`.
    """
    html = _TEMPLATE.render(
        summary=summary,
        errors=errors,
        reference=reference,
        metrics=metrics,
        warnings=warnings,
        samples=samples,
        text=text,
        quality=asdict(quality),
        parameters=parameters,
        figures={name: base64.b64encode(png).decode("ascii") for name, png in figures.items()},
    )
    return html.translate(_SIGNS)


# A visible sign for each character that HTML cannot hold: control characters and lone surrogates.
_SIGNS = {code_point: chr(0x2400 + code_point) for code_point in range(0x20) if chr(code_point) not in "\t\n"}
_SIGNS |= dict.fromkeys([*range(0x7F, 0xA0), *range(0xD800, 0xE000)], "\N{REPLACEMENT CHARACTER}")


def _number(value: int | float) -> str:
    """A count in full, any other number with four significant digits.

    >>> [_number(value) for value in (100000, 1.63251)]
    ['100,000', '1.633']
    """
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


_environment = Environment(
    loader=PackageLoader(__package__, ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {
    "number": _number,
    "parameter": partial(json.dumps, ensure_ascii=False),  # to the last digit, as it may stand in params.yaml
    "scientific": partial(scientific, digits=3),
}
_TEMPLATE = _environment.get_template("report.html.jinja")
