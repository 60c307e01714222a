"""The figures of the gradient check: the errors of each tensor, and the errors over the step size ξ."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from charloom.adapters.plots.style import ACCENT, FAINT, GREY, INK, SMALL, WIDTH, as_png, headline
from charloom.core.common.formatting import scientific
from charloom.core.common.records import GradientErrors, StepSizeError
from charloom.core.common.types import Vector

_SERIES: dict[str, dict[str, Any]] = {
    "central difference, initial weights": {"marker": "o", "color": INK},
    "central difference, large weights": {"marker": "o", "color": INK, "markerfacecolor": "white"},
    "complex step, initial weights": {"marker": "D", "color": ACCENT},
    "complex step, large weights": {"marker": "D", "color": ACCENT, "markerfacecolor": "white"},
}
_OFFSETS = (-0.3, -0.1, 0.1, 0.3)  # of the series within a tensor's row


@as_png
def gradient_errors(errors: GradientErrors, *, reference: Mapping[str, tuple[float, float]]) -> Figure:
    """The largest absolute and relative error of each tensor, by both methods, at initial and at large weights.

    `reference` has the published absolute and relative error of the central difference by tensor; they are marked. It
    is empty where there is nothing to compare with. An error of zero has its own place at the left end of the axis.
    """
    tensors = list(errors.central)
    series = (errors.central, errors.large_weights.central, errors.complex_step, errors.large_weights.complex_step)

    figure = Figure((WIDTH, 1.9 + 0.5 * len(tensors)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for place, (ax, kind) in enumerate(zip(panels, ("absolute", "relative"), strict=True)):
        values = [np.array([getattr(found[tensor], f"max_{kind}_error") for tensor in tensors]) for found in series]
        marks = {row: reference[tensor][place] for row, tensor in enumerate(tensors) if tensor in reference}
        _draw_errors(ax, values, marks)
        ax.set_title(f"Largest {kind} error")
    panels[0].set_yticks(range(len(tensors)), tensors)
    panels[0].set_ylim(len(tensors) - 0.5, -0.5)  # downwards, as in a table

    handles = panels[0].get_lines()
    columns = math.ceil(len(handles) / 2)  # a method's two sets of weights one below the other
    figure.legend(
        handles=handles, loc="outside lower left", ncols=columns, frameon=False, fontsize=SMALL, handletextpad=0.2
    )
    verdict = "passed" if errors.passed else "FAILED"
    largest, threshold = (scientific(value, digits=2) for value in (errors.max_scaled_error, errors.threshold))
    headline(figure, f"Gradient check {verdict}: largest scaled error {largest} (threshold {threshold})")
    return figure


def _draw_errors(ax: Axes, values: Sequence[Vector], marks: Mapping[int, float]) -> None:
    """A row for each tensor: its error in each series, and the marks of the reference by row."""
    rows = np.arange(len(values[0]))
    zero = _log_axis(ax, "x", [*np.concatenate(values), *marks.values()])
    for offset, errors, (label, style) in zip(_OFFSETS, values, _SERIES.items(), strict=True):
        xs = np.where(errors == 0, zero, errors)
        ax.plot(xs, rows + offset, linestyle="", markersize=5.5, clip_on=False, label=label, **style)
    if marks:
        style = {"linestyle": "", "marker": "|", "markersize": 13, "markeredgewidth": 2, "color": INK}
        ax.plot(list(marks.values()), [row + _OFFSETS[0] for row in marks], label="reference", **style)
    for row in rows[::2]:
        ax.axhspan(row - 0.5, row + 0.5, color="#f5f6f8", zorder=0)
    ax.grid(axis="x")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


@as_png
def step_sweep(rows: Iterable[StepSizeError], *, step: float) -> Figure:
    """The largest relative error over the step size ξ: a V for the central difference, a plateau for the complex step.

    The tensor "all" is drawn as a strong line, the others faint. `step` is the ξ of the gradient check, which is
    marked.
    """
    curves = _curves(rows)
    figure = Figure((WIDTH, 4.8), layout="constrained")
    panels = dict(zip(curves, figure.subplots(1, 2, sharey=True), strict=True))
    zero = _log_axis(
        panels["central"],
        "y",
        [error for tensors in curves.values() for curve in tensors.values() for error in curve[1]],
    )
    for method, ax in panels.items():
        _log_axis(ax, "x", [step, *(xi for curve in curves[method].values() for xi in curve[0])])
        _draw_curves(ax, curves[method], zero)

    central, complex_step = curves["central"]["all"], curves["complex_step"]["all"]
    _explain_central(panels["central"], central, step)
    xi, error = complex_step[:, 0]
    panels["complex_step"].annotate(
        f"{scientific(error, digits=2)} at ξ = {scientific(xi, digits=2)}",
        (xi, error or zero),
        (0, 10),
        textcoords="offset points",
        color=ACCENT,
    )
    panels["central"].set(ylabel="Largest relative error", title="Central difference")
    panels["complex_step"].set_title("Complex step")
    lowest = [scientific(curve[1].min(), digits=2) for curve in (central, complex_step)]
    headline(figure, f"Lowest relative error: central difference {lowest[0]}, complex step {lowest[1]}")
    return figure


def _curves(rows: Iterable[StepSizeError]) -> dict[str, dict[str, Vector]]:
    """By method and tensor: the step sizes in rising order and their errors, (2, n)."""
    points: dict[str, dict[str, list[tuple[float, float]]]] = {"central": {}, "complex_step": {}}
    for row in rows:
        points[row.method].setdefault(row.tensor, []).append((row.step, row.max_relative_error))
    return {
        method: {tensor: np.array(sorted(found)).T for tensor, found in tensors.items()}
        for method, tensors in points.items()
    }


def _draw_curves(ax: Axes, curves: Mapping[str, Vector], zero: float) -> None:
    """The curve of each tensor, that of all of them on top; an error of zero is drawn at `zero`."""
    for tensor, (xi, error) in sorted(curves.items(), key=lambda curve: curve[0] == "all"):
        style: dict[str, Any] = {"color": FAINT, "linewidth": 1}
        if tensor == "all":
            style = {"color": ACCENT, "linewidth": 2, "marker": "o", "markersize": 3.5}
        ax.plot(xi, np.where(error == 0, zero, error), **style)
    ax.set_xlabel("Step size ξ")
    ax.grid()


def _explain_central(ax: Axes, central: Vector, step: float) -> None:
    """Name the two sides of the V, the step size of the gradient check, and the colours."""
    lowest = central[1].argmin()
    _slope(ax, central[:, :lowest], -1, "rounding\n∝ 1/ξ", ha="left")
    _slope(ax, central[:, lowest + 1 :], 2, "truncation\n∝ ξ²", ha="right")
    ax.axvline(step, color=GREY, linewidth=0.8, zorder=1)
    ax.annotate(
        f"ξ = {scientific(step, digits=2)}",
        (step, 0),
        (4, 6),
        xycoords=ax.get_xaxis_transform(),
        textcoords="offset points",
    )
    key = "blue: all tensors\ngrey: each tensor"
    ax.text(0.02, 0.1, key, transform=ax.transAxes, color=GREY, fontsize=SMALL)


def _slope(ax: Axes, points: Vector, power: int, text: str, *, ha: Literal["left", "right"]) -> None:
    """A dashed line ∝ ξ^power above the points (ξ, error), (2, n), if at least two of them can show a slope."""
    xi, error = points
    usable = (error > 0) & (error < 0.3)  # a relative error levels off at about 1
    if usable.sum() < 2:
        return
    xi, error = xi[usable], error[usable]
    line = 6 * np.exp(np.median(np.log(error) - power * np.log(xi))) * xi**power  # 6: clear of the curve
    ax.plot(xi, line, "--", color=GREY, linewidth=1, scaley=False)
    place = len(xi) // 3 if power < 0 else 2 * len(xi) // 3
    ax.annotate(
        text,
        (xi[place], line[place]),
        (6 if ha == "left" else -6, 0),
        textcoords="offset points",
        ha=ha,
        color=GREY,
        fontsize=SMALL,
    )


def _log_axis(ax: Axes, which: Literal["x", "y"], values: Iterable[float]) -> float:
    """Make an axis logarithmic, with whole decades around the values. Where one of them is zero, the tick "0" stands
    below the decades; returns its place.
    """
    values = list(values)
    logs = [math.log10(value) for value in values if 0 < value < math.inf] or [0.0]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    high += low == high
    stride = next(stride for stride in (1, 2, 3, 5, 10, 20, 50, 100) if high - low <= 6 * stride)
    exponents: list[float] = [exponent for exponent in range(low, high + 1) if exponent % stride == 0]
    labels = [f"$10^{{{exponent}}}$" for exponent in exponents]
    has_zero = 0 in values
    zero = low - 0.8 * stride
    if has_zero:
        exponents, labels = [zero, *exponents], ["0", *labels]
    start = (zero if has_zero else low) - 0.02 * (high - low)
    ax.set(
        **{
            f"{which}scale": "log",
            f"{which}ticks": [10.0**exponent for exponent in exponents],
            f"{which}ticklabels": labels,
            f"{which}lim": (10.0**start, 10.0 ** (high + 0.02 * (high - low))),
        }
    )
    ax.minorticks_off()
    return float(10.0**zero)
