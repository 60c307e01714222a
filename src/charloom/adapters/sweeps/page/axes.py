"""Axes: where the values of a figure or of a parameter stand between 0 and 1, and which of them are written there."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from charloom.adapters.tracking.payload import as_text

_DECADE = 9.99  # from the smallest to the largest positive value: as much wants a logarithmic axis
_MARGIN = 0.05  # of an axis, beyond its values at either end
_MOST_VALUES = 6  # of numbers that are written each
_APART = 0.09  # of the axis, from one of these to the next
_MOST_CATEGORIES = 12  # whose names are written


@dataclass(frozen=True)
class Axis:
    """An axis: the place of any value, from 0 to 1, and its `ticks`, each a place and a text."""

    ticks: list[tuple[float, str]]
    place: Callable[[Any], float]
    is_log: bool = False


def is_numeric(values: Sequence[object]) -> bool:
    """Whether values are numbers that differ, rather than names.

    >>> [is_numeric(values) for values in ([1, 0.5], [1, None], [True, False], ["gru"], [3])]
    [True, False, False, False, False]
    """
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return numbers and len({*values}) > 1


def axis(values: Sequence[Any]) -> Axis:
    """The axis of a parameter: of numbers where all values are, and otherwise of names, numbers among them first.

    >>> [text for _, text in axis([32, 64, 128]).ticks], axis(["rnn", "gru"]).ticks
    (['32', '64', '128'], [(0.25, 'gru'), (0.75, 'rnn')])
    """
    if is_numeric(values):
        scale = numbers([float(value) for value in values])
        return scale if len({*values}) > _MOST_VALUES else replace(scale, ticks=[*_apart(scale, sorted({*values}))])
    names = ordered(values)
    places = {name: (index + 0.5) / len(names) for index, name in enumerate(names)}
    every = -(-len(names) // _MOST_CATEGORIES)
    ticks = [(place, as_text(name)) for name, place in list(places.items())[::every]]
    return Axis(ticks, places.__getitem__)


def numbers(values: Sequence[float], *, margin: float = _MARGIN, most: int = 6) -> Axis:
    """An axis for finite numbers, logarithmic where they span decades, with a margin at its ends.

    >>> found = numbers([1.0, 1000.0], margin=0)
    >>> found.ticks
    [(0.0, '1'), (0.333..., '10'), (0.666..., '100'), (1.0, '1,000')]
    >>> found.place(100.0)
    0.666...
    """
    low, high = min(values), max(values)
    is_log = low > 0 and high / low >= _DECADE

    def scaled(value: float) -> float:
        return math.log10(value) if is_log else value

    start, end = scaled(low), scaled(high)
    beyond = (end - start) * margin if end > start else abs(end) * 0.1 or 1.0
    start, end = start - beyond, end + beyond

    def place(value: float) -> float:
        return (scaled(value) - start) / (end - start)

    at = _decades(start, end, most) if is_log else _steps(start, end, most)
    return Axis([(place(value), number(value)) for value in at], place, is_log)


def ordered(values: Sequence[Any]) -> list[Any]:
    """The different values: numbers by size, then names and truth values by the alphabet.

    >>> ordered([10, None, 2, "b", "a", 2])
    [2, 10, 'a', 'b', None]
    """

    def order(value: object) -> tuple[bool, float, str]:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return (not is_number, float(value) if is_number else 0.0, as_text(value))  # type: ignore[arg-type]

    return sorted(set(values), key=order)


def number(value: float) -> str:
    """A number as an axis has it.

    >>> [number(value) for value in (0.1, 20000.0, 1e-05, 2.5e9, 0.30000000000000004)]
    ['0.1', '20,000', '1e-05', '2.5e+09', '0.3']
    """
    whole = value == int(value) and abs(value) < 1e7
    return f"{int(value):,}" if whole else f"{value:.6g}"


def _apart(scale: Axis, values: Sequence[float]) -> Iterator[tuple[float, str]]:
    """The places of values in ascending order, without those that would stand too close to the one before."""
    last = -math.inf
    for value in values:
        if (place := scale.place(value)) - last >= _APART:
            yield place, number(value)
            last = place


def _steps(start: float, end: float, most: int) -> list[float]:
    """Round numbers between two, at most so many."""
    rough = (end - start) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    first, last = math.ceil(start / step - 1e-9), math.floor(end / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _decades(start: float, end: float, most: int) -> list[float]:
    """Powers of ten between two, and where there are few of them, 2 and 5 times these."""
    first, last = math.ceil(start - 1e-9), math.floor(end + 1e-9)
    if last - first < 2:
        found = [factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5)]
        return [value for value in found if start - 1e-9 <= math.log10(value) <= end + 1e-9]
    return [10.0**power for power in range(first, last + 1, -(-(last - first + 1) // most))]
