"""The page of a sweep as HTML: what stands on it. How it looks is in sweep.html.jinja, sweep.css and sweep.js.

Tables and charts stand in the page; its script lets a reader sort, filter and pick. Knows nothing about files.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from charloom.adapters.pages import as_html, environment, policy_source
from charloom.adapters.sweeps.jobs import SEED, Configuration, Job, differing
from charloom.adapters.sweeps.page import charts
from charloom.adapters.sweeps.reading import Point
from charloom.adapters.sweeps.summary import Summary, counted, settings
from charloom.adapters.tracking.payload import as_text

_LONGEST_SAMPLE = 1500  # characters
_LONGEST_NAME = 22  # characters of a value at an axis
_STATUSES = ("failed", "pruned", "interrupted", "running")


def page(
    summary: Summary, name: str, histories: Mapping[int, Sequence[Point]], samples: Iterable[tuple[str, Job, str]]
) -> str:
    """The page, as HTML that can be encoded in UTF-8.

    `name` is the sweep's, `histories` are those of the jobs by number, as far as they are known, and `samples` are
    texts with a title and the job whose network wrote them.
    """
    keys = charts.keys(summary)
    axes, lines = charts.parallel(summary, keys)
    shades = charts.shades(summary)
    style, script = (_environment.get_template(file).render() for file in ("sweep.css.jinja", "sweep.js"))
    return as_html(
        _environment.get_template("sweep.html.jinja").render(
            style=style,
            script=script,
            policy=f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src {policy_source(style)}; "
            f"script-src {policy_source(script)}",
            name=name,
            summary=summary,
            counted=counted(summary),
            verdict=_verdict(summary),
            columns=_columns(summary),
            rows=[_row(summary, place, each) for place, each in enumerate(summary.configurations)],
            shade=[f"q{shades[place]}" if place < len(shades) else "u" for place in range(len(summary.configurations))],
            unfinished=[job for job in summary.jobs if not job.figures],
            job_keys=[*differing(summary.jobs)],
            losses=_losses(summary, histories),
            keys=keys,
            by_key=[(key, chart) for key in keys if (chart := charts.by_key(summary, key))],
            heat_maps=charts.heat_maps(summary, keys),
            axes=axes,
            lines=lines,
            samples=[(title, job, text[:_LONGEST_SAMPLE]) for title, job, text in samples],
        )
    )


def _verdict(summary: Summary) -> str:
    """The outcome in a sentence or two."""
    if not summary.best:
        return "No job has finished."
    mean = summary.mean(summary.best)
    seeds = f" over {summary.best.seeds} seeds" if summary.best.seeds > 1 else ""
    made = settings(summary.best, summary.keys)
    found = f"{mean} {summary.objective.unit} per character{seeds}"
    if not summary.lead:
        return f"The one configuration that has finished has {found}."
    lead = f"Its lead over the second is {summary.lead}."
    return f"The best of {len(summary.ranked)} configurations is {made}, with {found}. {lead}"


def _columns(summary: Summary) -> list[str]:
    objective, *others = [summary.objective.column(figure) for figure in summary.figures]
    statuses = [status for status in _STATUSES if summary.counts[status]]
    return ["rank", objective, "seeds", *summary.keys, *others, *statuses, "jobs"]


def _row(summary: Summary, place: int, configuration: Configuration) -> list[tuple[Any, str]]:
    """The cells of a configuration: what each is sorted by, and what it shows."""
    rank = place + 1 if summary.mean(configuration) else None
    means = [summary.mean(configuration, figure) for figure in summary.figures]
    objective, *others = [(mean.mean if mean else None, str(mean or "–")) for mean in means]
    values = [configuration.parameters.get(key, "") for key in summary.keys]
    counts = [configuration.counts[status] for status in _STATUSES if summary.counts[status]]
    numbers = " ".join(str(job.number) for job in configuration.jobs)
    return [
        (rank, str(rank or "–")),
        objective,
        (configuration.seeds, str(configuration.seeds)),
        *((value, as_text(value)) for value in values),
        *others,
        *((count, str(count)) for count in counts),
        (configuration.jobs[0].number, numbers),
    ]


def _losses(summary: Summary, histories: Mapping[int, Sequence[Point]]) -> list[charts.Chart]:
    """The charts of the losses over the steps: of the validation text where it was measured, and of the training."""
    convert = summary.objective.from_nats
    validation = {
        number: [(point.step, convert(point.validation)) for point in history if point.validation is not None]
        for number, history in histories.items()
    }
    training = {
        number: [(point.step, convert(point.training)) for point in history if point.training is not None]
        for number, history in histories.items()
    }
    found = (
        charts.curves("Validation loss", charts.by_configuration(summary, validation)),
        charts.curves("Training loss, smoothed", charts.by_configuration(summary, training)),
    )
    return [chart for chart in found if chart]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"


def _across(place: float) -> str:
    return f"{100 * place:.2f}%"


def _down(place: float) -> str:
    return f"{100 * (1 - place):.2f}%"


_environment = environment(__package__, "charloom.adapters.report")
_environment.filters |= {"short": _short, "across": _across, "down": _down, "as_text": as_text}
_environment.globals["seed"] = SEED
