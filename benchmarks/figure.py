"""The chart of the benchmarks: how many times as fast as each baseline charloom is. Knows nothing about measuring."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

FASTER, SLOWER, INK = "#1f5fa8", "#b3541e", "#222222"
TICKS = (0.05, 0.2, 0.5, 1, 2, 4, 8, 16, 32)


def draw_ratios(panels: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Write a PNG with one panel of bars for each title, on a logarithmic axis; 1 is as fast as charloom."""
    most = max(map(len, panels.values()))
    figure = Figure(figsize=(6.5 * len(panels), 1.6 + 0.3 * most), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, ratios) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        names, values = list(ratios), list(ratios.values())
        places = range(len(names))
        widths = [value - 1 for value in values]
        axes.barh(places, widths, left=1, height=0.65, color=[FASTER if value >= 1 else SLOWER for value in values])
        for place, value in zip(places, values, strict=True):
            side = 1 if value >= 1 else -1
            axes.annotate(
                f"{value:.2f}×",
                (value, place),
                xytext=(4 * side, 0),
                textcoords="offset points",
                va="center",
                ha="left" if side > 0 else "right",
                color=INK,
                fontsize=9,
            )
        lowest, highest = min(0.5, *values), max(2, *values)
        room = (highest / lowest) ** 0.18  # for the labels beside the bars
        low, high = lowest / room, highest * room
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        shown = [tick for tick in TICKS if low < tick < high]
        axes.set_xticks(shown, [f"{tick:g}×" for tick in shown])
        axes.minorticks_off()
        axes.axvline(1, color=INK, linewidth=1)
        axes.set_yticks(places, names, fontsize=9)
        axes.invert_yaxis()
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("charloom is faster by")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Software": None})
