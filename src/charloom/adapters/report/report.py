"""The report: one HTML page that holds everything it shows, figures included, and asks nothing of a network.

Knows nothing about files or about how the figures were drawn.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from jinja2 import Environment, StrictUndefined

from charloom.core.common.records import GradientErrors, Quality, Sample, Summary, TrainingMetrics
from charloom.core.common.reference import REFERENCE


def page(
    *,
    summary: Summary,
    errors: GradientErrors,
    metrics: TrainingMetrics,
    samples: Sequence[Sample],
    text: str,
    quality: Quality,
    parameters: Mapping[str, Any],
    figures: Mapping[str, bytes],
) -> str:
    """The page, as HTML that can be encoded in UTF-8.

    `summary` is of the corpus, `errors` of the gradient check, `metrics` of the training, `quality` of the synthesized
    `text`: what the stages wrote. `samples` have `step`, `smooth_loss` and `text`. `parameters` are those of the run by
    dotted key. `figures` are PNGs: `loss`, `gradcheck`, `step_sweep` and `samples`.
    """
    scaled_errors = [
        found.max_scaled_error for checked in (errors, errors.large_weights) for found in checked.complex_step.values()
    ]
    html = _TEMPLATE.render(
        summary=summary,
        errors=errors,
        worst_scaled_error=max(scaled_errors),
        reference=REFERENCE,
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
    r"""The text with pictures in the place of what HTML cannot hold: control characters and lone surrogates.

    >>> _visible("a\x00b\tc")
    'a␀b\tc'
    """

    def picture(match: re.Match[str]) -> str:
        code_point = ord(match[0])
        return chr(0x2400 + code_point) if code_point < 0x20 else "\N{REPLACEMENT CHARACTER}"

    return _NOT_IN_HTML.sub(picture, text)


def _figure(value: Any) -> str:
    """A figure as it is read, four digits where it is not a count.

    >>> [_figure(value) for value in (100000, 1.63251, None)]
    ['100,000', '1.633', 'none']
    """
    if isinstance(value, int):
        return f"{value:,}"
    return "none" if value is None else f"{value:.4g}"


def _parameter(value: Any) -> str:
    """A parameter to the last digit, as it may stand in params.yaml."""
    return json.dumps(value, ensure_ascii=False)


def _scientific(value: float) -> str:
    """Three digits at most, as in the reference's table.

    >>> _scientific(3.06e-7), _scientific(1e-9)
    ('3.06e-7', '1e-9')
    """
    digits, exponent = f"{value:.2e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}" if value else "0"


_SOURCE = """\
{% macro figure(name, alt, caption) %}
<figure>
<div class="card" tabindex="0"><img alt="{{ alt }}" src="data:image/png;base64,{{ figures[name] }}"></div>
<figcaption>{{ caption }}</figcaption>
</figure>
{% endmacro %}
{% macro gradient_rows(checked, reference) %}
{% for tensor, central in checked.central.items() %}
{% set exact = checked.complex_step[tensor] %}
{% set known = reference.get(tensor) %}
<tr>
<th scope="row">{{ tensor }}</th>
<td>{{ central.max_absolute_error | scientific }}</td>
<td class="reference">{{ known[0] | scientific if known else "–" }}</td>
<td>{{ central.max_relative_error | scientific }}</td>
<td class="reference">{{ known[1] | scientific if known else "–" }}</td>
<td>{{ exact.max_absolute_error | scientific }}</td>
<td>{{ exact.max_relative_error | scientific }}</td>
<td>{{ exact.max_scaled_error | scientific }}</td>
</tr>
{% endfor %}
{% endmacro %}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>charloom: {{ summary.path }}</title>
<style>
:root {
  color-scheme: light dark;
  --paper: #fdfdfc; --ink: #222; --quiet: #62666d; --line: #dcdfe4; --tint: #f3f4f6; --accent: #1f5fa8; --bad: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181c; --ink: #e4e5e8; --quiet: #a0a5ae; --line: #363a42; --tint: #1f2228; --accent: #82b4ee;
    --bad: #ff8a80;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 54rem; padding: 2.5rem 1.25rem 5rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif; }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { margin: 3rem 0 0.75rem; font-size: 1.3rem; line-height: 1.3; }
h3 { margin: 1.5rem 0 0.35rem; font-size: 1rem; color: var(--accent); }
h3 span { font-weight: normal; color: var(--quiet); }
p { margin: 0.6rem 0; max-width: 42rem; }
.lead, figcaption, .note { color: var(--quiet); }
figcaption, .note { font-size: 0.92rem; max-width: 42rem; }
figure { margin: 1rem 0 2rem; }
.card { overflow-x: auto; padding: 0.75rem; border: 1px solid var(--line); border-radius: 6px; background: #fff; }
.card img { display: block; width: 100%; min-width: 34rem; height: auto; }
figcaption { margin-top: 0.5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.32rem 0.9rem 0.32rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
th { font-weight: 600; }
.facts th { font-weight: normal; color: var(--quiet); }
.facts td { overflow-wrap: anywhere; }
.numbers { min-width: 100%; white-space: nowrap; font-size: 0.92rem; }
.numbers td, .numbers thead th { text-align: right; }
.numbers thead tr:first-child * { border-bottom: 0; text-align: center; }
.numbers .part th { padding-top: 1rem; text-align: left; color: var(--accent); }
.whole { white-space: nowrap; }
.reference { color: var(--quiet); }
.failed { color: var(--bad); font-weight: 600; }
pre { margin: 0; padding: 0.7rem 0.9rem; border-radius: 6px; background: var(--tint); white-space: pre-wrap;
  overflow-wrap: anywhere; font: 0.88rem/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
@media (max-width: 40rem) { body { padding-top: 1.5rem; } h1 { font-size: 1.55rem; } h2 { margin-top: 2.25rem; } }
</style>
</head>
<body>
<header>
<h1>What the network learned from {{ summary.path.split("/")[-1] }}</h1>
<p class="lead">A character-level recurrent network ({{ parameters["model.cell"] }},
{{ parameters["model.hidden_size"] | figure }} hidden units, {{ parameters["model.layers"] }}
{{ "layer" if parameters["model.layers"] == 1 else "layers" }}), trained in windows of
{{ parameters["train.seq_length"] | figure }} characters with {{ parameters["optimizer.name"] }}.</p>
</header>
<main>
<h2>Key figures</h2>
<table class="facts">
<tr><th scope="row">Corpus</th><td>{{ summary.path }}, {{ summary.characters | figure }} characters:
{{ summary.train_characters | figure }} to train on, {{ summary.validation_characters | figure }} for validation
</td></tr>
<tr><th scope="row">Vocabulary, K</th><td>{{ summary.vocabulary_size | figure }} characters</td></tr>
<tr><th scope="row">Update steps</th><td>{{ metrics.steps | figure }}
{%- if metrics.stopped == "smooth_loss" %}, ended at train.stop_at_smooth_loss{% endif %}</td></tr>
<tr><th scope="row">Whole passes over the text</th><td>{{ metrics.epochs | figure }}</td></tr>
<tr><th scope="row">Smooth loss</th><td>{{ "%.2f" | format(metrics.smooth_loss) }} nats per window</td></tr>
<tr><th scope="row">Bits per character, training</th><td>{{ "%.3f" | format(metrics.bits_per_char) }}</td></tr>
<tr><th scope="row">Bits per character, validation</th><td>
{%- if metrics.validation_bits_per_char is none %}not measured
{%- else %}{{ "%.3f" | format(metrics.validation_bits_per_char) }}{% endif %}</td></tr>
<tr><th scope="row">Gradient check</th><td>
{%- if errors.passed %}passed{% else %}<span class="failed">failed</span>{% endif %}; worst error
<span class="whole">{{ worst_scaled_error | scientific }}</span> of a tensor’s largest entry, threshold
<span class="whole">{{ errors.threshold | scientific }}</span></td></tr>
</table>

<h2>Training</h2>
{{ figure("loss", "Smooth loss over update steps",
"The smooth loss, a running mean of the windows’ losses, over the update steps. The faint line has the losses of single
windows, the diamonds the validation text, the thin line a model to which all characters are equally likely.") }}

<h2>Gradients</h2>
<p>Every entry of the hand-written gradient against two numerical ones: central differences with a step of
{{ errors.step | scientific }} (the reference’s is 1e-5), and the complex step, which subtracts nothing and is exact to
rounding. The check is passed where every entry agrees with the complex step to {{ errors.threshold | scientific }} of
its tensor’s largest entry, and with the central difference to what rounding and truncation leave of it.</p>
<div class="scroll" tabindex="0">
<table class="numbers">
<thead>
<tr><td></td><th colspan="4" scope="colgroup">Central difference</th>
<th colspan="3" scope="colgroup">Complex step</th></tr>
<tr><td></td><th scope="col">absolute</th><th scope="col" class="reference">reference</th>
<th scope="col">relative</th><th scope="col" class="reference">reference</th>
<th scope="col">absolute</th><th scope="col">relative</th><th scope="col">scaled</th></tr>
</thead>
<tbody>
<tr class="part"><th colspan="8" scope="rowgroup">Initial weights</th></tr>
{{ gradient_rows(errors, reference) }}
</tbody>
<tbody>
<tr class="part"><th colspan="8" scope="rowgroup">Large weights</th></tr>
{{ gradient_rows(errors.large_weights, {}) }}
</tbody>
</table>
</div>
<p class="note">The largest error of each tensor. The reference’s figures are of a plain recurrent network with 100
hidden units and its initial weights.</p>
{{ figure("gradcheck", "Gradient errors by tensor",
"The same figures on logarithmic axes. A relative error is largest where the gradient is nearly zero: there, the
rounding of the central difference is divided by almost nothing.") }}
{{ figure("step_sweep", "Relative error against the step",
"Why two methods: the central difference loses digits to truncation where its step is long and to rounding where it is
short; the complex step has no such choice to make.") }}

<h2>From noise to words</h2>
{{ figure("samples", "Samples from the first step to the last",
"What the network writes as it learns. All samples stand below.") }}

<h2>All samples</h2>
{% for sample in samples %}
<h3>Step {{ sample.step | figure }} <span>smooth loss {{ "%.2f" | format(sample.smooth_loss) }}</span></h3>
<pre dir="auto">
{{ sample.text }}</pre>
{% else %}
<p>None were taken.</p>
{% endfor %}

<h2>The synthesized text</h2>
<pre dir="auto">
{{ text }}</pre>
{% if quality %}
<h3>Its figures</h3>
<table class="facts">
{% for name, value in quality.items() %}
<tr><th scope="row">{{ name }}</th><td>{{ value | figure }}</td></tr>
{% endfor %}
</table>
{% endif %}

<h2>Parameters of the run</h2>
<table class="facts">
{% for name, value in parameters.items() %}
<tr><th scope="row">{{ name }}</th><td>{{ value | parameter }}</td></tr>
{% endfor %}
<tr><th scope="row">sha256 of the corpus</th><td>{{ summary.sha256 }}</td></tr>
</table>
</main>
</body>
</html>
"""

_environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
_environment.filters |= {"figure": _figure, "parameter": _parameter, "scientific": _scientific}
_TEMPLATE = _environment.from_string(_SOURCE)
