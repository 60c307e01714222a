"""The figure of what the model writes: its quality over the temperature, with that of held-out text as the ceiling."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from charloom.adapters.plots.style import GREY, PALETTE, SMALL, WIDTH, as_png, headline
from charloom.core.common.quality_records import Estimate, PassageQuality, TextQuality

_MARKERS = "osD"
_Figure = Callable[[PassageQuality], Estimate | None]


@as_png
def quality(found: TextQuality) -> Figure:
    """Known words, n-grams that are new (not in the training text), and the longest copy, over the temperature.

    Bars are 95 % intervals, dashed lines the figures of the held-out text. Where nothing was measured, it says so.
    """
    if not found.sampled:
        figure = Figure((WIDTH, 1.2), layout="constrained")
        figure.text(0.012, 0.5, "No quality was measured: synthesize.quality_length is 0.", color=GREY, va="center")
        return figure
    figure = Figure((WIDTH, 4.1), layout="constrained")
    words, ngrams, copies = figure.subplots(1, 3)
    _draw(words, found, [("", lambda each: each.known_words)], percent=True)
    words.set(title="Known words", ylabel="Share of the words (%)")
    orders = [ngram.n for ngram in found.sampled[0].ngrams]
    _draw(ngrams, found, [(f"n = {n}", _new(place)) for place, n in enumerate(orders)], percent=True)
    ngrams.set(title="New n-grams", ylabel="Share of the n-grams (%)")
    _draw(copies, found, [("", lambda each: each.mean_longest_copy)])
    length = found.sampled[0].characters // found.sampled[0].passages
    copies.set(title="Longest copy", ylabel=f"Characters, of {length:,} (mean)")
    handles, labels = ngrams.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=SMALL)
    for ax in (words, ngrams, copies):
        ax.set_xlabel("Temperature")
        ax.set_ylim(bottom=0)
        ax.grid(axis="y")
    headline(figure, _finding(found))
    return figure


def _new(place: int) -> _Figure:
    return lambda each: each.ngrams[place].new if place < len(each.ngrams) else None


def _draw(ax: Axes, found: TextQuality, series: Sequence[tuple[str, _Figure]], *, percent: bool = False) -> None:
    """Each figure over the temperature, and that of the held-out text as a line in the same colour."""
    scale = 100 if percent else 1
    for place, (label, figure_in) in enumerate(series):
        color = PALETTE[place % len(PALETTE)]
        points = [(each.temperature or 0.0, value) for each in found.sampled if (value := figure_in(each))]
        values = scale * np.array([value.value for _, value in points])
        low, high = (scale * np.array([getattr(value, bound) for _, value in points]) for bound in ("low", "high"))
        bars = np.maximum(0, [values - low, high - values])  # a bootstrap interval need not hold the value
        marker = _MARKERS[place % len(_MARKERS)]
        temperatures = [temperature for temperature, _ in points]
        ax.errorbar(temperatures, values, bars, label=label, color=color, marker=marker, markersize=5, capsize=3)
        if found.held_out and (ceiling := figure_in(found.held_out)):
            name = "held-out text" if place == len(series) - 1 else ""
            ax.axhline(scale * ceiling.value, color=color, linestyle="--", linewidth=1.4, label=name)


def _finding(found: TextQuality) -> str:
    """The known words at the temperature nearest to 1, the one that the model is trained for."""
    nearest = min(found.sampled, key=lambda each: abs((each.temperature or 0) - 1))
    if nearest.known_words is None:
        return f"At temperature {nearest.temperature:g} no word is written"
    ceiling = found.held_out.known_words if found.held_out else None
    against = f", {ceiling.value:.0%} in held-out text" if ceiling else ""
    return f"At temperature {nearest.temperature:g}, {nearest.known_words.value:.0%} of the words are known{against}"
