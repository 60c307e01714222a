"""The figures, each a function from plain values to the bytes of a PNG. The only module that knows matplotlib.

The same values give the same bytes: a figure holds no date and no version, and neither the style nor the fonts of
whoever draws it. Knows nothing about files.
"""

import io
import math
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, Literal, ParamSpec

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from charloom.core.common.records import GradientErrors, MethodErrors, Sample, StepSizeError
from charloom.core.common.reference import REFERENCE
from charloom.core.common.types import Vector

P = ParamSpec("P")

DPI = 150
WIDTH = 8.0  # inches; at 800 pixels a point of type is 1.4 pixels high

_ACCENT, _INK, _GREY, _FAINT = "#1f5fa8", "#222222", "#6b6b6b", "#c4c8ce"
_SMALL = 9.5  # points
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "text.color": _INK,
    "figure.titlesize": 12.5,
    "figure.titleweight": "bold",
    "axes.edgecolor": _GREY,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.8,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e8eaed",
    "grid.linewidth": 0.7,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
}


def _png(draw: Callable[P, Figure]) -> Callable[P, bytes]:
    """Let a function draw in our style, whatever a matplotlibrc says, and give its figure as a PNG."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> bytes:
        with matplotlib.style.context(["default", _STYLE]):
            figure = draw(*args, **kwargs)
            png = io.BytesIO()
            FigureCanvasAgg(figure)
            figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})  # the version would stand there
        return png.getvalue()

    return drawn


@_png
def loss(
    steps: Sequence[int],
    losses: Sequence[float],
    smooth_losses: Sequence[float],
    validation: Mapping[int, float],
    *,
    seq_length: int,
    vocabulary_size: int,
) -> Figure:
    """The smooth loss over the update steps, between the losses of single windows and the uniform model's T ln K.

    `losses` and `smooth_losses` are in nats per window of T = `seq_length` characters, one for each of `steps`, of
    which there is at least one. `validation` holds nats per character by step, and may be empty; it is drawn T times
    as high. The axis at the right has bits per character, L / (T ln 2).
    """
    T, K = seq_length, vocabulary_size
    uniform = T * math.log(K)
    validation_losses = [T * nats for nats in validation.values()]
    first, last = smooth_losses[0], smooth_losses[-1]
    lone = len(steps) == 1

    figure = Figure((WIDTH, 4.9), layout="constrained")
    ax = figure.add_subplot()
    ax.plot(steps, losses, color=_FAINT, linewidth=0.6, marker="o" if lone else "", markersize=4)
    end = max([steps[-1], *validation])
    ax.plot([0, end], [uniform, uniform], color=_GREY, linewidth=0.8)
    ax.plot(steps, smooth_losses, color=_ACCENT, linewidth=2, marker="o" if lone else "")
    ax.plot(list(validation), validation_losses, "D", color=_INK, markersize=5, markeredgecolor="white")

    every = [*losses, *smooth_losses, *validation_losses, uniform]
    bottom, top = min(every), max(every)
    if top - bottom < 10:  # one row, or a training that learns nothing: no drama
        bottom, top = bottom - 5, top + 5
    height = top - bottom
    ax.set_ylim(bottom - 0.06 * height, top + 0.1 * height)
    ax.set_xlim(0, 1.3 * end)  # with room for the labels behind the curves
    ticks = [tick for tick in MaxNLocator(6, integer=True).tick_values(0, end) if tick <= end]
    ax.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])

    tail = losses[-max(1, len(losses) // 10) :]
    labels = [
        (last, f"Smooth loss {last:.1f}", _ACCENT),
        (float(np.quantile(tail, 0.1)), "Single windows", _GREY),
    ]
    if validation:
        labels.append((validation_losses[-1], f"Validation {validation_losses[-1]:.1f}", _INK))
    labels.sort()
    places = _apart([place for place, _, _ in labels], 0.062 * height)
    for place, (_, text, colour) in zip(places, labels, strict=True):
        ax.text(end * 1.025, place, text, color=colour, va="center")
    ax.annotate(
        f"Uniform model: {T} ln {K} = {uniform:.1f}",
        (end, uniform),
        (-2, 4),
        textcoords="offset points",
        ha="right",
        color=_GREY,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},  # a loss that never falls lies behind
    )

    ax.set(xlabel="Update step", ylabel="Smooth loss (nats per window)")
    ax.grid(axis="y")
    per_bit = T * math.log(2)
    bits = ax.secondary_yaxis(
        "right", functions=(lambda nats: np.divide(nats, per_bit), lambda bits: np.multiply(bits, per_bit))
    )
    bits.set_ylabel("Bits per character")
    bits.spines["right"].set_visible(True)
    if lone:
        title = f"Smooth loss is {last:.1f} nats per window at step {steps[-1]:,}"
    else:
        verb = "falls" if last < first else "rises"
        title = f"Smooth loss {verb} from {first:.1f} to {last:.1f} nats per window in {steps[-1]:,} updates"
    _headline(figure, title)
    return figure


@_png
def gradient_errors(errors: GradientErrors) -> Figure:
    """The largest absolute and relative error of each tensor's gradient, by both methods, for both sets of weights.

    `errors` is what the gradient check left behind: `central` and `complex_step`, and the same under `large_weights`,
    each with `max_absolute_error`, `max_relative_error` and `max_scaled_error` by tensor. The reference's figures are
    marked. An error of zero has a place of its own at the left end of the axis.
    """
    tensors = list(errors.central)
    weights: dict[str, GradientErrors | MethodErrors] = {"initial": errors, "large": errors.large_weights}
    styles = {"central": ("central difference", "o", _INK), "complex_step": ("complex step", "D", _ACCENT)}
    rows = np.arange(len(tensors))

    figure = Figure((WIDTH, 1.9 + 0.5 * len(tensors)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for place, (ax, measure) in enumerate(zip(panels, ("max_absolute_error", "max_relative_error"), strict=True)):
        values = {
            (method, which): np.array([getattr(getattr(weights[which], method)[tensor], measure) for tensor in tensors])
            for method in styles
            for which in weights
        }
        marks = {row: REFERENCE[tensor][place] for row, tensor in enumerate(tensors) if tensor in REFERENCE}
        zero = _log_axis(ax, "x", [*np.concatenate(list(values.values())), *marks.values()])
        for lane, ((method, which), found) in zip((-0.3, -0.1, 0.1, 0.3), values.items(), strict=True):
            _, marker, colour = styles[method]
            fill = colour if which == "initial" else "white"
            xs = np.where(found == 0, zero, found)
            ax.plot(xs, rows + lane, marker, color=colour, markerfacecolor=fill, markersize=5.5, clip_on=False)
        ax.plot(
            list(marks.values()),
            [row - 0.3 for row in marks],
            "|",
            color=_INK,
            markersize=13,
            markeredgewidth=2,
        )
        for row in rows[::2]:
            ax.axhspan(row - 0.5, row + 0.5, color="#f5f6f8", zorder=0)
        ax.grid(axis="x")
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.set_title(measure.replace("max_", "Largest ").replace("_", " "))
    panels[0].set_yticks(rows, tensors)
    panels[0].set_ylim(len(tensors) - 0.5, -0.5)  # downwards, as in a table

    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=marker,
            color=colour,
            markerfacecolor=fill,
            label=f"{name}, {which} weights",
        )
        for name, marker, colour in styles.values()
        for which, fill in (("initial", colour), ("large", "white"))
    ]
    handles.append(
        Line2D([], [], linestyle="", marker="|", color=_INK, markersize=11, markeredgewidth=2, label="reference")
    )
    figure.legend(handles=handles, loc="outside lower left", ncols=3, frameon=False, fontsize=_SMALL, handletextpad=0.2)

    scaled = max(found.max_scaled_error for checked in weights.values() for found in checked.complex_step.values())
    verdict = "passed" if errors.passed else "FAILED"
    _headline(
        figure,
        f"Gradient check {verdict}: within {_scientific(scaled)} of the complex step"
        f" (threshold {_scientific(errors.threshold)})",
    )
    return figure


@_png
def step_sweep(rows: Iterable[StepSizeError], *, step: float) -> Figure:
    """The largest relative error against the step ξ: the central difference's V beside the complex step's plateau.

    Each row is (method, ξ, tensor, largest relative error); the tensor "all" is drawn strong, the others faint. `step`
    is the ξ of the gradient check, which is marked.
    """
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {"central": {}, "complex_step": {}}
    for row in rows:
        curves[row.method].setdefault(row.tensor, []).append((row.step, row.max_relative_error))

    figure = Figure((WIDTH, 4.8), layout="constrained")
    panels = dict(zip(curves, figure.subplots(1, 2, sharey=True), strict=True))
    every = [error for tensors in curves.values() for points in tensors.values() for _, error in points]
    zero = _log_axis(panels["central"], "y", every)
    for method, ax in panels.items():
        _log_axis(ax, "x", [step, *(xi for points in curves[method].values() for xi, _ in points)])
        for tensor, points in sorted(curves[method].items(), key=lambda curve: curve[0] == "all"):
            xi, error = np.array(sorted(points)).T
            strong = tensor == "all"
            ax.plot(
                xi,
                np.where(error == 0, zero, error),
                color=_ACCENT if strong else _FAINT,
                linewidth=2 if strong else 1,
                marker="o" if strong else "",
                markersize=3.5,
            )
        ax.set_xlabel("Step ξ")
        ax.grid()

    ax = panels["central"]
    central, complex_step = (np.array(sorted(curves[method]["all"])).T for method in curves)
    best = central[1].argmin()
    _slope(ax, central[:, :best], -1, "rounding\n∝ 1/ξ", ha="left")
    _slope(ax, central[:, best + 1 :], 2, "truncation\n∝ ξ²", ha="right")
    ax.axvline(step, color=_GREY, linewidth=0.8, zorder=1)
    ax.annotate(
        f"ξ = {_scientific(step)}",
        (step, 0),
        (4, 6),
        xycoords=ax.get_xaxis_transform(),
        textcoords="offset points",
    )
    ax.text(
        0.02,
        0.1,
        "blue: all tensors\ngrey: each tensor",
        transform=ax.transAxes,
        color=_GREY,
        fontsize=_SMALL,
    )
    ax.set(ylabel="Largest relative error", title="Central difference")

    xi, error = complex_step[:, 0]
    panels["complex_step"].annotate(
        f"{_scientific(error)} at ξ = {_scientific(xi)}",
        (xi, error or zero),
        (0, 10),
        textcoords="offset points",
        color=_ACCENT,
    )
    panels["complex_step"].set_title("Complex step")
    _headline(
        figure,
        f"Relative error at best: central difference {_scientific(central[1].min())}, "
        f"complex step {_scientific(complex_step[1].min())}",
    )
    return figure


_MONO = "DejaVu Sans Mono"
_COLUMNS, _MOST_LINES = 76, 8  # of a sample on the page
_BOX = "▯"  # for what cannot be drawn


@_png
def samples(samples: Sequence[Sample], *, most: int = 8) -> Figure:
    """The samples as a page, from noise to words: `most` of them, the first and the last and evenly between.

    Each has `step`, `smooth_loss` in nats per window, and `text`, of which eight lines are shown. Characters that
    cannot be drawn, control characters among them, are boxes.
    """
    evenly = np.linspace(0, len(samples) - 1, min(most, len(samples))).round().astype(int)
    chosen = [samples[i] for i in evenly]
    pages = [_page_lines(sample.text) for sample in chosen]

    pitch, gap, margin = 0.185, 0.24, 0.2  # inches: of a line, between samples, around
    top = 0.75
    height = top + sum(pitch * max(2, len(lines)) + gap for lines in pages) + (0 if pages else 0.5)
    figure = Figure((WIDTH, height))

    def put(x: float, y: float, text: str, **style: Any) -> None:
        figure.text(x / WIDTH, 1 - y / height, text, va="baseline", parse_math=False, **style)

    title = "What the network writes" + (", from noise to words" if len(pages) > 1 else "")
    put(margin, 0.35, title, weight="bold", size=12.5)
    if not pages:
        put(margin, top + 0.1, "No samples were taken: train.sample_every is 0.", color=_GREY)
    y = top
    for sample, lines in zip(chosen, pages, strict=True):
        rule = 1 - (y - gap / 2 - 0.06) / height
        figure.add_artist(Line2D([margin / WIDTH, 1 - margin / WIDTH], [rule, rule], color=_FAINT, linewidth=0.7))
        put(margin, y + 0.13, f"Step {sample.step:,}", weight="bold", size=10, color=_ACCENT)
        put(margin, y + 0.13 + pitch, f"smooth loss {sample.smooth_loss:.1f}", size=_SMALL, color=_GREY)
        for n, line in enumerate(lines):
            put(1.62, y + 0.13 + n * pitch, line, size=_SMALL, family=_MONO)
        y += pitch * max(2, len(lines)) + gap
    return figure


def _page_lines(text: str) -> list[str]:
    """The text wrapped into the lines of its place on the page, every character of which can be drawn."""
    glyphs = get_font(findfont(_MONO)).get_charmap()

    def drawable(character: str) -> str:
        if unicodedata.category(character) == "Zs":  # the blanks, of which a font may lack some
            return " "
        return character if character.isprintable() and ord(character) in glyphs else _BOX

    lines: list[str] = []
    for line in text.expandtabs(4).split("\n"):
        safe = "".join(map(drawable, line))
        lines += textwrap.wrap(safe, _COLUMNS, drop_whitespace=False, break_on_hyphens=False) or [""]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES - 1 :] = ["…"]
    return lines


def _headline(figure: Figure, text: str) -> None:
    figure.suptitle(text, x=0.012, ha="left")


def _scientific(value: float) -> str:
    """Two digits: 3.1e-7."""
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}" if value else "0"


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """The heights, in rising order, each raised to at least `gap` above the one before."""
    apart: list[float] = []
    for height in heights:
        apart.append(max(height, apart[-1] + gap) if apart else height)
    return apart


def _log_axis(ax: Axes, which: Literal["x", "y"], values: Iterable[float]) -> float:
    """Make an axis logarithmic, with whole decades around the values; a zero gets a place of its own at the lower end,
    with the tick "0". Returns that place.
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


def _slope(ax: Axes, points: Vector, power: int, text: str, *, ha: Literal["left", "right"]) -> None:
    """A dashed line ∝ ξ^power above the points, (ξ, error) by columns, if two of them are sound."""
    xi, error = points
    sound = (error > 0) & (error < 0.3)  # a relative error has no room to grow beyond about 1
    if sound.sum() < 2:
        return
    xi, error = xi[sound], error[sound]
    line = 6 * np.exp(np.median(np.log(error) - power * np.log(xi))) * xi**power  # 6: clear of the curve
    ax.plot(xi, line, "--", color=_GREY, linewidth=1, scaley=False)
    place = len(xi) // 3 if power < 0 else 2 * len(xi) // 3
    shift = 6 if ha == "left" else -6
    ax.annotate(
        text,
        (xi[place], line[place]),
        (shift, 0),
        textcoords="offset points",
        ha=ha,
        color=_GREY,
        fontsize=_SMALL,
    )
