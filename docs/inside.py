"""The figure of inside.md: how far back the gradient reaches in the three cells, before and after equal trainings.

`python docs/inside.py` draws inside.png from inside.json; `python docs/inside.py --train` trains the networks anew for
it first, with charloom's default settings (about a minute).
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import charloom
from charloom.adapters.plots.style import PALETTE, WIDTH, as_png, headline, note
from charloom.core.network.dynamics import dynamics

HERE = Path(__file__).parent
MARKERS = {"rnn": "o", "gru": "s", "lstm": "D"}
UPDATES, UNITS, T = 5000, 100, 100
BACK = 50  # time steps
Norms = Mapping[str, list[float | None]]


def measure() -> dict[str, Norms]:
    """The median norm of the gradient by lag and cell, on the last tenth of the story: after one update and after all.

    The first update of AdaGrad moves every weight that has a gradient by nearly η.
    """
    text = (HERE.parent / "data" / "corpus.txt").read_text(encoding="utf-8")
    unseen = text[-round(len(text) / 10) :]
    found: dict[str, Norms] = {}
    for updates in (1, UPDATES):
        norms = {}
        for cell in MARKERS:
            model = charloom.train(text, cell=cell, hidden_size=UNITS, seq_length=T, steps=updates, validate_every=0)
            read = dynamics(model.network, model.encode(unseen), time_steps=T, windows=32)
            norms[cell] = read.gradient_norms["h"].median
        found[str(updates)] = norms
    return found


@as_png
def draw(found: Mapping[str, Norms]) -> Figure:
    """A panel for each number of updates, a curve for each cell, each named at its end."""
    figure = Figure((WIDTH, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for ax, (updates, norms) in zip(panels, found.items(), strict=True):
        for color, (cell, norm) in zip(PALETTE, norms.items(), strict=False):
            values = np.array(norm, np.float64)
            shown = int(np.count_nonzero(values > 1e-12))
            ax.plot(values[:shown], color=color, linewidth=2, marker=MARKERS[cell], markevery=10, markersize=6)
            up = 8 if shown < T else 0  # above the axis
            note(ax, cell, (shown - 1, values[shown - 1]), (6, up), color=color, va="center", fontweight="bold")
        ax.set(title=f"After {int(updates):,} update{'s' if updates != '1' else ''}", xlabel="Time steps back, k")
        ax.set(yscale="log", ylim=(1e-12, 20), xlim=(0, 1.18 * T))
        ax.grid(axis="y")
    panels[0].set_ylabel("Norm of the gradient (nats), median")
    shares = {cell: (norm[BACK] or 0.0) / (norm[0] or 1.0) for cell, norm in found[str(UPDATES)].items()}
    listed = ", ".join(f"{cell} {share:.1g}" for cell, share in shares.items())
    headline(figure, f"Left after {BACK} time steps, trained: {listed}")
    return figure


if __name__ == "__main__":
    if "--train" in sys.argv[1:]:
        (HERE / "inside.json").write_text(json.dumps(measure()) + "\n", encoding="utf-8")
    (HERE / "inside.png").write_bytes(draw(json.loads((HERE / "inside.json").read_text(encoding="utf-8"))))
