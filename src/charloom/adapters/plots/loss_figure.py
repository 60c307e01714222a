"""The loss figure: what the training learned, step by step."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from charloom.adapters.plots.style import ACCENT, FAINT, GREY, INK, SMALL, WIDTH, as_png, headline, note
from charloom.core.common.formatting import standing
from charloom.core.common.records import BaselineScore, HistoryRow, TrainingWarning


@as_png
def loss(
    history: Sequence[HistoryRow],
    *,
    seq_length: int,
    vocabulary_size: int,
    baselines: Sequence[BaselineScore] = (),
    warnings: Sequence[TrainingWarning] = (),
) -> Figure:
    """The smooth loss over the training steps, with the loss of single windows and the uniform model's T ln K.

    `history` has at least one row; T = `seq_length` and K = `vocabulary_size`. The highest hundredth of the single
    windows may lie above the axis. The validation loss is drawn where it was measured, T times its nats per character;
    the n-gram models among the `baselines` are lines at T times theirs. Each of the `warnings` is a line at its
    training step. The axis on the right shows bits per character, L / (T ln 2).
    """
    T, K = seq_length, vocabulary_size
    uniform = T * math.log(K)
    ngrams = [(T * model.nats_per_char, model.order) for model in baselines if model.order]
    steps = [row.step for row in history]
    losses = [row.loss for row in history]
    smooth_losses = [row.smooth_loss for row in history]
    validation = {r.step: T * r.validation_nats_per_char for r in history if r.validation_nats_per_char is not None}
    end = steps[-1]
    point = "o" if len(steps) == 1 else ""  # a line needs two

    figure = Figure((WIDTH, 4.9), layout="constrained")
    ax = figure.add_subplot()
    ax.plot(steps, losses, color=FAINT, linewidth=0.6, marker=point, markersize=4)
    ax.plot([0, end], [uniform, uniform], color=GREY, linewidth=0.8)
    ax.plot(steps, smooth_losses, color=ACCENT, linewidth=2, marker=point)
    ax.plot(list(validation), list(validation.values()), "D", color=INK, markersize=5, markeredgecolor="white")
    windows = losses if len(losses) < 100 else np.quantile(losses, [0.0, 0.99])
    height = _set_limits(ax, end, [*windows, *smooth_losses, *validation.values(), uniform, *(y for y, _ in ngrams)])
    names_end = _draw_ngrams(ax, end, sorted(ngrams), closest=0.05 * height) if ngrams else end

    _mark_warnings(ax, warnings, top=uniform)
    tail = losses[-max(1, len(losses) // 10) :]
    labels = [
        (smooth_losses[-1], f"Smooth loss {smooth_losses[-1]:.1f}", ACCENT),
        (float(np.quantile(tail, 0.1)), "Single windows", GREY),
    ]
    if validation:
        last = list(validation.values())[-1]
        labels.append((last, f"Validation {last:.1f}", INK))
    _name_curves(ax, names_end + end * 0.025, labels, closest=0.062 * height)
    label = f"Uniform model: {T} ln {K} = {uniform:.1f}"
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}  # a loss that never falls lies behind
    note(ax, label, (end, uniform), (-2, 4), ha="right", color=GREY, bbox=box)

    ax.set(xlabel="Training step", ylabel="Loss (nats per window)")
    ax.grid(axis="y")
    _add_bits_axis(ax, T)
    finding = _finding(smooth_losses, end)
    if validation and baselines:
        lowest = min(validation.values())
        finding += f"\nLowest validation loss, {lowest:.1f}: {standing(lowest / T, baselines)}"
    headline(figure, finding)
    return figure


def _set_limits(ax: Axes, end: int, values: Sequence[float]) -> float:
    """Fit the axes to the steps up to `end` and to the losses; returns the range of the losses."""
    bottom, top = min(values), max(values)
    if top - bottom < 10:  # a single row, or a training that learns nothing: do not magnify the noise
        bottom, top = bottom - 5, top + 5
    height = top - bottom
    ax.set_ylim(bottom - 0.06 * height, top + 0.1 * height)
    ax.set_xlim(0, 1.3 * end)  # with room for the labels to the right of the curves
    ticks = [tick for tick in MaxNLocator(6, integer=True).tick_values(0, end) if tick <= end]
    ax.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    return height


def _mark_warnings(ax: Axes, warnings: Sequence[TrainingWarning], *, top: float) -> None:
    """A line at the step of each warning, with its kind below the height `top`."""
    for warning in warnings:
        ax.axvline(warning.step, color=INK, linewidth=0.8, linestyle=":")
        name = f"Warning: {warning.kind.replace('_', ' ')}"
        note(ax, name, (warning.step, top), (-2, -4), rotation=90, ha="right", va="top", size=SMALL)


def _name_curves(ax: Axes, left: float, labels: Sequence[tuple[float, str, str]], *, closest: float) -> None:
    """Names at the heights of what they name, each with its color, from below; none on another."""
    lowest = -math.inf
    for place, text, color in sorted(labels):
        place = max(place, lowest)
        ax.text(left, place, text, color=color, va="center")
        lowest = place + closest


def _add_bits_axis(ax: Axes, seq_length: int) -> None:
    bit = seq_length * math.log(2)  # of a character, in nats per window
    conversions = (lambda nats: np.divide(nats, bit), lambda bits: np.multiply(bits, bit))
    right = ax.secondary_yaxis("right", functions=conversions)
    right.set_ylabel("Bits per character")
    right.spines["right"].set_visible(True)


def _draw_ngrams(ax: Axes, end: int, ngrams: Sequence[tuple[float, int]], *, closest: float) -> float:
    """A line for each n-gram model, from its loss and order, by loss; returns where their names end.

    Names stand in a column of their own beside the curves. Models that are closer than `closest` share one.
    """
    groups = [[ngrams[0]]]
    for below, model in pairwise(ngrams):
        if model[0] - below[0] < closest:
            groups[-1].append(model)
        else:
            groups.append([model])
    for group in groups:
        for place, _ in group:
            ax.plot([0, 1.02 * end], [place, place], color=GREY, linewidth=0.7, linestyle=(0, (4, 3)))
        middle = (group[0][0] + group[-1][0]) / 2
        ax.text(1.03 * end, middle, _names([n for _, n in group]), color=GREY, va="center", size=SMALL)
    ax.set_xlim(0, 1.6 * end)
    return 1.24 * end


def _names(orders: Sequence[int]) -> str:
    """The orders of some n-gram models as one name.

    >>> [_names(orders) for orders in ([3], [6, 4], [5, 6, 4])]
    ['3-gram', '4-, 6-gram', '4- to 6-gram']
    """
    first, *others = sorted(orders)
    if len(orders) > 2 and others[-1] - first == len(others):
        return f"{first}- to {others[-1]}-gram"
    return ", ".join([f"{first}-", *(f"{n}-" for n in others)]) + "gram"


def _finding(smooth_losses: Sequence[float], updates: int) -> str:
    first, last = smooth_losses[0], smooth_losses[-1]
    if len(smooth_losses) == 1:
        return f"Smooth loss is {last:.1f} nats per window at step {updates:,}"
    verb = "falls" if last < first else "rises"
    return f"Smooth loss {verb} from {first:.1f} to {last:.1f} nats per window in {updates:,} updates"
