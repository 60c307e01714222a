"""The charts of a sweep's page as places between 0 and 1: what stands where, in which color. Draws nothing itself."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from charloom.adapters.sweeps.jobs import Configuration, Mean
from charloom.adapters.sweeps.page.axes import Axis, axis, is_numeric, number, numbers, ordered
from charloom.adapters.sweeps.summary import Summary
from charloom.adapters.tracking.payload import as_text

SHADES = 9  # from the best to the worst
_MOST_KEYS = 6  # in charts of several keys
_MOST_CELLS = 12  # of a heat map in a row or a column; more values are put together
_POINTS = 60  # of a curve, of which each may be two
_BEGINNING = 0.05  # of a training, which may run out of its chart at the top

Curve = Sequence[tuple[int, float]]  # steps and losses


@dataclass(frozen=True)
class Key:
    """A key whose values differ, and others that have different values exactly where it has."""

    name: str
    others: list[str]


@dataclass(frozen=True)
class Line:
    """A line of a configuration, by its place in the ranking, as an SVG path in a square of 1000 by 1000."""

    configuration: int
    path: str


@dataclass(frozen=True)
class Dot:
    """The mean of a configuration, and the ends of its mean ± standard deviation where there is one."""

    configuration: int
    x: float
    y: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Chart:
    """A chart with its marks: lines or dots."""

    title: str
    x: Axis
    y: Axis
    marks: list[Any]


@dataclass(frozen=True)
class Cell:
    """The mean over `n` configurations, and its shade."""

    text: str
    shade: int
    n: int


@dataclass(frozen=True)
class HeatMap:
    """The objective by two keys: a row for each value of one, and a column for each of the other."""

    row_key: str
    column_key: str
    columns: list[str]
    rows: list[tuple[str, list[Cell | None]]]


def shades(summary: Summary) -> list[int]:
    """The shade of each ranked configuration, from 0 for the lowest objective to 8 for the highest, in equal parts."""
    ranked = summary.ranked
    by_mean = sorted(range(len(ranked)), key=lambda place: _mean(summary, ranked[place]).mean)
    order = {place: at for at, place in enumerate(by_mean)}
    return [round(order[place] * (SHADES - 1) / max(len(ranked) - 1, 1)) for place in range(len(ranked))]


def keys(summary: Summary) -> list[Key]:
    """The keys that differ, those together that tell the same configurations apart, such as an optimizer and its ε."""
    found: dict[tuple[int, ...], list[str]] = {}
    for name in summary.keys:
        values = [as_text(each.parameters.get(name)) for each in summary.configurations]
        first = {value: place for place, value in reversed(list(enumerate(values)))}
        found.setdefault(tuple(first[value] for value in values), []).append(name)
    typed = {override.partition("=")[0] for job in summary.jobs for override in job.overrides}
    groups = (sorted(names, key=lambda name: name not in typed) for names in found.values())
    return [Key(first, others) for first, *others in groups]


def curves(title: str, found: Mapping[int, Iterable[Curve]]) -> Chart | None:
    """Losses over the steps, a line for each training of each configuration; None where there is nothing to draw.

    The scale is that of the time after the beginning, when the losses are far from those that are compared.
    """
    lines = [(place, _finite(curve)) for place, each in found.items() for curve in each]
    lines = [(place, curve) for place, curve in lines if curve]
    if not lines:
        return None
    last = max(curve[-1][0] for _, curve in lines)
    later = [loss for _, curve in lines for step, loss in curve if step >= _BEGINNING * last or len(curve) == 1]
    x, y = numbers([0.0, float(last)], margin=0), numbers(later or [loss for _, curve in lines for _, loss in curve])

    def path(curve: Curve) -> str:
        return _path([(x.place(step), y.place(loss)) for step, loss in thinned(curve)])

    return Chart(title, x, y, [Line(place, path(curve)) for place, curve in lines])


def by_configuration(summary: Summary, found: Mapping[int, Curve]) -> dict[int, list[Curve]]:
    """The curves of the jobs, by number, as those of each configuration, by its place."""
    return {
        place: [found[job.number] for job in each.jobs if job.number in found]
        for place, each in enumerate(summary.configurations)
    }


def by_key(summary: Summary, key: Key) -> Chart | None:
    """The objective of each configuration over the values of a key."""
    ranked = [(place, each) for place, each in enumerate(summary.ranked) if key.name in each.parameters]
    if not ranked:
        return None
    x, y = axis([each.parameters[key.name] for _, each in ranked]), objective_axis(summary)
    dots = []
    for place, each in ranked:
        mean = _mean(summary, each)
        ends = [None, None] if mean.sd is None else [_within(y, mean.mean + sign * mean.sd) for sign in (-1, 1)]
        dots.append(Dot(place, x.place(each.parameters[key.name]), y.place(mean.mean), *ends))
    return Chart(key.name, x, y, dots)


def objective_axis(summary: Summary) -> Axis:
    """The axis of the objective, with room for the deviations."""
    means = [mean for each in summary.ranked if (mean := summary.mean(each))]
    values = [mean.mean + sign * (mean.sd or 0.0) for mean in means for sign in (-1, 1)]
    return numbers([value for value in values if value > 0] or values)


def heat_maps(summary: Summary, found: Sequence[Key]) -> list[HeatMap]:
    """A heat map for each pair of the first keys."""
    return [_heat_map(summary, *pair) for pair in combinations([key.name for key in found[:_MOST_KEYS]], 2)]


def parallel(summary: Summary, found: Sequence[Key]) -> tuple[list[Chart], list[Line]]:
    """Parallel coordinates: an axis for each key and one for the objective, and a line for each configuration."""
    names = [key.name for key in found]
    ranked = [(place, each) for place, each in enumerate(summary.ranked) if {*names} <= each.parameters.keys()]
    if not ranked or not names:
        return [], []
    axes = [Chart(name, _NO_AXIS, axis([each.parameters[name] for _, each in ranked]), []) for name in names]
    axes.append(Chart(f"objective.{summary.objective.unit} per character", _NO_AXIS, objective_axis(summary), []))
    lines = []
    for place, each in ranked:
        values = [*(each.parameters[name] for name in names), _mean(summary, each).mean]
        heights = [chart.y.place(value) for chart, value in zip(axes, values, strict=True)]
        lines.append(Line(place, _path([((column + 0.5) / len(axes), y) for column, y in enumerate(heights)])))
    return axes, lines


_NO_AXIS = Axis([], float)


def _heat_map(summary: Summary, row_key: str, column_key: str) -> HeatMap:
    ranked = [each for each in summary.ranked if row_key in each.parameters and column_key in each.parameters]
    rows, columns = (_groups([each.parameters[key] for each in ranked]) for key in (row_key, column_key))
    found: dict[tuple[str, str], list[float]] = {}
    for each in ranked:
        place = rows[each.parameters[row_key]], columns[each.parameters[column_key]]
        found.setdefault(place, []).append(_mean(summary, each).mean)
    means = {cell: fmean(values) for cell, values in found.items()}
    scale = numbers([*means.values()], margin=0) if len({*means.values()}) > 1 else None

    def cell(row: str, column: str) -> Cell | None:
        if (row, column) not in means:
            return None
        mean = means[row, column]
        shade = round(scale.place(mean) * (SHADES - 1)) if scale else 0
        return Cell(f"{mean:.4f}", shade, len(found[row, column]))

    names = [*dict.fromkeys(columns.values())]
    table = [(row, [cell(row, column) for column in names]) for row in dict.fromkeys(rows.values())]
    return HeatMap(row_key, column_key, names, table)


def _mean(summary: Summary, configuration: Configuration) -> Mean:
    mean = summary.mean(configuration)
    assert mean is not None  # it is ranked
    return mean


def _groups(values: Sequence[Any]) -> dict[Any, str]:
    """The name of each value's row or column; numbers of which there are many are put together by their places."""
    distinct = ordered(values)
    if len(distinct) <= _MOST_CELLS or not is_numeric(distinct):
        return {value: as_text(value) for value in distinct}
    scale, groups = numbers([float(value) for value in distinct], margin=0), dict[int, list[Any]]()
    for value in distinct:
        groups.setdefault(min(int(scale.place(value) * _MOST_CELLS), _MOST_CELLS - 1), []).append(value)
    return {value: f"{number(group[0])} to {number(group[-1])}" for group in groups.values() for value in group}


def _finite(curve: Curve) -> Curve:
    return [(step, loss) for step, loss in curve if math.isfinite(loss)]


def thinned(curve: Curve) -> Iterator[tuple[int, float]]:
    """The first and the last point, and of each part between them the lowest and the highest."""
    if len(curve) <= 2 * _POINTS:
        yield from curve
        return
    yield curve[0]
    inside = curve[1:-1]
    for part in range(_POINTS):
        points = inside[part * len(inside) // _POINTS : (part + 1) * len(inside) // _POINTS]
        yield from sorted({min(points, key=lambda point: point[1]), max(points, key=lambda point: point[1])})
    yield curve[-1]


def _within(scale: Axis, value: float) -> float:
    """The place of a value that a logarithmic axis may not have."""
    return scale.place(value) if value > 0 or not scale.is_log else 0.0


def _path(points: Iterable[tuple[float, float]]) -> str:
    """An SVG path through places, in a square of 1000 by 1000 whose y points down; of a single place, a dot."""
    whole = [(round(1000 * x), round(1000 * (1 - y))) for x, y in points]
    (x, y), path = whole[0], f"M{whole[0][0]} {whole[0][1]}"
    for next_x, next_y in whole[1:]:
        path += f"l{next_x - x} {next_y - y}"
        x, y = next_x, next_y
    return path if len(whole) > 1 else f"{path}h0"
