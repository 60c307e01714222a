"""The samples as a page: what the network writes as it learns."""

import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D

from charloom.adapters.plots.style import ACCENT, FAINT, GREY, HEADLINE, SMALL, WIDTH, as_png
from charloom.core.common.records import Sample

_MONOSPACE = "DejaVu Sans Mono"
_MAX_SAMPLES, _MAX_LINES, _COLUMNS = 8, 8, 76  # on the page; of a sample
_BOX = "▯"  # stands for a character that cannot be drawn
_TOP, _MARGIN, _LINE, _GAP = 0.75, 0.2, 0.185, 0.24  # inches: above, beside, of a line, between samples


@as_png
def samples(samples: Sequence[Sample]) -> Figure:
    """The samples from noise to words: at most eight, the first, the last and evenly spaced ones between.

    At most eight lines of each are shown. A box stands for each character that cannot be drawn, such as a control
    character.
    """
    evenly = np.linspace(0, len(samples) - 1, min(_MAX_SAMPLES, len(samples)))
    chosen = [samples[i] for i in evenly.round().astype(int)]
    pages = [_page_lines(sample.text) for sample in chosen]
    height = _TOP + sum(_LINE * max(2, len(lines)) + _GAP for lines in pages) + (0 if pages else 0.5)
    figure = Figure((WIDTH, height))

    def put(x: float, y: float, text: str, **style: Any) -> None:
        figure.text(x / WIDTH, 1 - y / height, text, parse_math=False, **style)

    title = "What the network writes" + (", from noise to words" if len(pages) > 1 else "")
    put(_MARGIN, 0.35, title, weight="bold", size=HEADLINE)
    if not pages:
        put(_MARGIN, _TOP + 0.1, "No samples were taken: train.sample_every is 0.", color=GREY)
    y = _TOP
    for sample, lines in zip(chosen, pages, strict=True):
        rule = 1 - (y - _GAP / 2 - 0.06) / height
        figure.add_artist(Line2D([_MARGIN / WIDTH, 1 - _MARGIN / WIDTH], [rule, rule], color=FAINT, linewidth=0.7))
        baseline = y + 0.13
        put(_MARGIN, baseline, f"Step {sample.step:,}", weight="bold", size=10, color=ACCENT)
        put(_MARGIN, baseline + _LINE, f"smooth loss {sample.smooth_loss:.1f}", size=SMALL, color=GREY)
        for n, line in enumerate(lines):
            put(1.62, baseline + n * _LINE, line, size=SMALL, family=_MONOSPACE)
        y += _LINE * max(2, len(lines)) + _GAP
    return figure


def _page_lines(text: str) -> list[str]:
    """The text wrapped into the lines shown on the page, without a character that cannot be drawn."""
    glyphs = get_font(findfont(_MONOSPACE)).get_charmap()

    def drawable(character: str) -> str:
        if unicodedata.category(character) == "Zs":  # spaces, some of which a font may lack
            return " "
        return character if character.isprintable() and ord(character) in glyphs else _BOX

    lines: list[str] = []
    for line in text.expandtabs(4).split("\n"):
        safe = "".join(map(drawable, line))
        lines += textwrap.wrap(safe, _COLUMNS, drop_whitespace=False, break_on_hyphens=False) or [""]
    if len(lines) > _MAX_LINES:
        lines[_MAX_LINES - 1 :] = ["…"]
    return lines
