"""The style that all figures share, and how a figure becomes a PNG."""

import io
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

P = ParamSpec("P")

DPI = 150
WIDTH = 8.0  # inches; at 800 pixels a point of type is 1.4 pixels high

ACCENT, INK, GREY, FAINT = "#1f5fa8", "#222222", "#6b6b6b", "#c4c8ce"
# Okabe and Ito, Color universal design, 2008, without its yellow, which is faint on white.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#222222", "#56b4e9", "#e69f00")
SMALL, HEADLINE = 9.5, 12.5  # points
_STYLE = {
    "font.size": 10.5,
    "text.color": INK,
    "figure.titlesize": HEADLINE,
    "figure.titleweight": "bold",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e8eaed",
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


def as_png(draw: Callable[P, Figure]) -> Callable[P, bytes]:
    """Make a function that draws a figure return it as a PNG, in this style whatever the user's matplotlibrc says."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> bytes:
        with matplotlib.style.context(["default", _STYLE]):
            figure = draw(*args, **kwargs)
            png = io.BytesIO()
            figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})  # else it holds the version
        return png.getvalue()

    return drawn


def note(ax: Axes, text: str, at: tuple[float, float], offset: tuple[float, float], **style: Any) -> None:
    """Write a text whose place is `offset` points from the values `at`."""
    ax.annotate(text, at, offset, textcoords="offset points", **style)


def headline(figure: Figure, text: str) -> None:
    """State the figure's finding above it."""
    figure.suptitle(text, x=0.012, ha="left")
