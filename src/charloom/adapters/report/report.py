"""The report: one HTML page that holds everything it shows, figures included, and loads nothing over a network.

Knows nothing about files of results or about how the figures were drawn. The page itself is report.html.jinja.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from charloom.core.common.formatting import scientific
from charloom.core.common.records import GradientErrors, Quality, Sample, Summary, TrainingMetrics


def page(
    *,
    summary: Summary,
    errors: GradientErrors,
    reference: Mapping[str, tuple[float, float]],
    metrics: TrainingMetrics,
    samples: Sequence[Sample],
    text: str,
    quality: Quality,
    parameters: Mapping[str, Any],
    figures: Mapping[str, bytes],
) -> str:
    """The page, as HTML that can be encoded in UTF-8.

    `reference` has the published absolute and relative error of the central difference by tensor; it is empty where
    there is nothing to compare `errors` with. `text` is the synthesized text, and `quality` describes it. `parameters`
    are those of the run by dotted key. `figures` are PNGs: `loss`, `gradcheck`, `step_sweep` and `samples`.
    """
    html = _TEMPLATE.render(
        summary=summary,
        errors=errors,
        reference=reference,
        metrics=metrics,
        samples=samples,
        text=text,
        quality=asdict(quality),
        parameters=parameters,
        figures={name: base64.b64encode(png).decode("ascii") for name, png in figures.items()},
    )
    return _visible(html)


_NOT_IN_HTML = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def _visible(text: str) -> str:
    r"""The text with a visible sign for each character that HTML cannot hold: control characters, lone surrogates.

    >>> _visible("a\x00b\tc")
    'a␀b\tc'
    """

    def sign(match: re.Match[str]) -> str:
        code_point = ord(match[0])
        return chr(0x2400 + code_point) if code_point < 0x20 else "\N{REPLACEMENT CHARACTER}"

    return _NOT_IN_HTML.sub(sign, text)


def _number(value: int | float | None) -> str:
    """A count in full, any other number with four significant digits.

    >>> [_number(value) for value in (100000, 1.63251, None)]
    ['100,000', '1.633', 'none']
    """
    if isinstance(value, int):
        return f"{value:,}"
    return "none" if value is None else f"{value:.4g}"


def _parameter(value: Any) -> str:
    """A parameter to the last digit, as it may stand in params.yaml."""
    return json.dumps(value, ensure_ascii=False)


_environment = Environment(
    loader=PackageLoader(__package__, ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {"number": _number, "parameter": _parameter, "scientific": partial(scientific, digits=3)}
_TEMPLATE = _environment.get_template("report.html.jinja")
