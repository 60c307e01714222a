"""The figures of backpropagation.md: the unrolled network, and each cell with its forward and backward pass.

Run `python docs/figures.py` after a change.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

FORWARD, BACKWARD, INK = "#1f5fa8", "#b3541e", "#222222"
GATE, SUM, PAPER, SHADE = "#dbe7f5", "#f1efe8", "#ffffff", "#f6f6f6"
Point = tuple[float, float]


def connect(axes: Axes, *points: Point, color: str = FORWARD, dashed: bool = False) -> None:
    """A line through the points, with a head at the last one."""
    style = {"color": color, "linewidth": 1.6, "linestyle": (0, (4, 2)) if dashed else "-"}
    if len(points) > 2:
        axes.plot(*zip(*points[:-1], strict=True), **style, solid_capstyle="round", zorder=1)
    head = {"arrowstyle": "-|>,head_length=0.45,head_width=0.2", "shrinkA": 0, "shrinkB": 0, **style}
    axes.annotate("", points[-1], points[-2], arrowprops=head, zorder=1)


def box(axes: Axes, at: Point, text: str, width: float = 0.9, height: float = 0.56, color: str = GATE) -> None:
    """A rounded box around its text."""
    x, y = at[0] - width / 2, at[1] - height / 2
    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=color, edgecolor=INK, zorder=2))
    write(axes, at, text)


def node(axes: Axes, at: Point, sign: str) -> None:
    """A circle with the sign of an elementwise operation."""
    axes.add_patch(Circle(at, 0.2, facecolor=SUM, edgecolor=INK, zorder=2))
    write(axes, at, sign, size=13 if len(sign) == 1 else 10)


def write(axes: Axes, at: Point, text: str, color: str = INK, size: float = 12, align: str = "center") -> None:
    """Text, with what is between two $ set as mathematics."""
    axes.text(*at, text, color=color, fontsize=size, ha=align, va="center", zorder=3)


def gradient(axes: Axes, at: Point, text: str, align: str = "left") -> None:
    """The name that the code gives to the derivative of L by what stands here."""
    write(axes, at, text, color=BACKWARD, size=11, align=align)


def legend(axes: Axes, at: Point, backward: str) -> None:
    """What the two colors mean."""
    x, y = at
    connect(axes, (x, y), (x + 0.6, y))
    write(axes, (x + 0.75, y), "forward pass", color=FORWARD, size=11, align="left")
    if backward == "lines":
        connect(axes, (x + 3.0, y), (x + 2.4, y), color=BACKWARD, dashed=True)
        write(axes, (x + 3.15, y), "backward pass", color=BACKWARD, size=11, align="left")
    else:
        write(axes, (x + 2.4, y), "d…: its gradient, as the code names it", color=BACKWARD, size=11, align="left")


def draw_unrolled(axes: Axes) -> None:
    """A window of four characters: one network, the same at every time step, and the way of its gradients."""
    spacing, first = 2.5, 1.75
    style = "round,pad=0,rounding_size=0.15"
    axes.add_patch(FancyBboxPatch((0.55, 0.2), 9.9, 5.75, boxstyle=style, facecolor=SHADE, edgecolor="#bbbbbb"))
    write(axes, (10.3, 5.7), "one window, T = 4", size=11, align="right")
    for t, (x_t, y_t) in enumerate(zip("weav", "eave", strict=True)):
        x = first + spacing * t
        write(axes, (x, 0.5), f"$x_{t + 1}$ = {x_t}")
        connect(axes, (x, 0.75), (x, 1.57))
        write(axes, (x + 0.1, 1.12), "U", color=FORWARD, size=11, align="left")
        box(axes, (x, 1.85), f"$h_{t + 1}$", color=GATE)
        connect(axes, (x - 0.12, 2.13), (x - 0.12, 3.12))
        write(axes, (x - 0.22, 2.62), "V", color=FORWARD, size=11, align="right")
        connect(axes, (x + 0.12, 3.12), (x + 0.12, 2.13), color=BACKWARD, dashed=True)
        gradient(axes, (x + 0.22, 2.62), r"$V^T$do")
        box(axes, (x, 3.4), f"$o_{t + 1}$", color=SUM)
        connect(axes, (x - 0.12, 3.68), (x - 0.12, 4.57))
        write(axes, (x - 0.22, 4.12), "softmax", color=FORWARD, size=11, align="right")
        connect(axes, (x + 0.12, 4.57), (x + 0.12, 3.68), color=BACKWARD, dashed=True)
        gradient(axes, (x + 0.22, 4.12), "do")
        box(axes, (x, 4.85), f"−log $p_{t + 1}[y_{t + 1}]$", width=1.7, color=SUM)
        write(axes, (x, 5.4), f"$y_{t + 1}$ = {y_t}", size=11)
        connect(axes, (x - spacing + 0.45 if t else 0.0, 1.95), (x - 0.45, 1.95))
        if t:
            write(axes, (x - spacing / 2, 2.13), "W", color=FORWARD, size=11)
            connect(axes, (x - 0.45, 1.75), (x - spacing + 0.45, 1.75), color=BACKWARD, dashed=True)
            gradient(axes, (x - spacing / 2, 1.5), "dh_next", align="center")
    end = first + 3 * spacing
    connect(axes, (end + 0.45, 1.95), (11.0, 1.95))
    write(axes, (11.1, 1.95), "$h_4$: where the next\nwindow begins", size=11, align="left")
    write(axes, (11.1, 1.3), "dh_next = 0", color=BACKWARD, size=11, align="left")
    write(axes, (-0.1, 1.95), "$h_0$: from the\nwindow before", size=11, align="right")
    write(axes, (-0.1, 1.3), "no gradient\ngoes back", color=BACKWARD, size=11, align="right")
    legend(axes, (3.0, -0.2), "lines")


def draw_rnn(axes: Axes) -> None:
    """The plain cell: a = W h_{t-1} + U x_t + b; h_t = tanh(a)."""
    write(axes, (0.3, 1.0), "$h_{t-1}$", align="right")
    connect(axes, (0.4, 1.0), (2.0, 1.0))
    gradient(axes, (1.15, 0.72), "dh_next", align="center")
    connect(axes, (3.4, -0.05), (3.4, 0.72))
    write(axes, (3.4, -0.25), "$x_t$")
    box(axes, (3.4, 1.0), r"a = W $h_{t-1}$ + U $x_t$ + b", width=2.8, color=SUM)
    connect(axes, (4.8, 1.0), (5.75, 1.0))
    gradient(axes, (5.25, 0.72), "da", align="center")
    box(axes, (6.2, 1.0), "tanh")
    connect(axes, (6.65, 1.0), (9.2, 1.0))
    write(axes, (9.3, 1.0), "$h_t$", align="left")
    gradient(axes, (7.9, 0.72), "dh", align="center")
    legend(axes, (0.6, 2.05), "names")


def draw_gru(axes: Axes) -> None:
    """The GRU: h_t = (1 - z) n + z h_{t-1}; n = tanh(r q + U_n x_t + b_n); q = W_n h_{t-1} + bn."""
    write(axes, (0.3, 4.9), "$h_{t-1}$", align="right")
    connect(axes, (0.4, 4.9), (2.6, 4.9))
    connect(axes, (3.0, 4.9), (7.6, 4.9))
    connect(axes, (8.0, 4.9), (9.9, 4.9))
    write(axes, (10.0, 4.9), "$h_t$", align="left")
    gradient(axes, (9.0, 5.15), "dh", align="center")
    gradient(axes, (0.85, 5.15), "dh_next", align="center")
    gradient(axes, (2.2, 5.15), "dh z", align="center")
    connect(axes, (1.5, 4.9), (1.5, 0.9), (2.0, 0.9))
    gradient(axes, (1.4, 3.0), r"$W^T$dWh", align="right")
    connect(axes, (5.2, -0.1), (5.2, 0.62))
    write(axes, (5.2, -0.3), "$x_t$")
    box(axes, (5.2, 0.9), r"W $h_{t-1}$   and   U $x_t$ + b,  split into r, z, n", width=6.4, color=SUM)
    connect(axes, (2.8, 1.18), (2.8, 1.92))
    gradient(axes, (2.88, 1.55), "da_z")
    box(axes, (2.8, 2.2), "z = σ($a_z$)", width=1.2)
    connect(axes, (2.8, 2.48), (2.8, 4.7))
    gradient(axes, (2.88, 2.85), "dz")
    node(axes, (2.8, 4.9), "×")
    connect(axes, (2.8, 3.9), (4.3, 3.9))
    node(axes, (4.5, 3.9), "1−")
    connect(axes, (4.7, 3.9), (7.6, 3.9))
    connect(axes, (4.5, 1.18), (4.5, 1.92))
    gradient(axes, (4.58, 1.55), "da_r")
    box(axes, (4.5, 2.2), "r = σ($a_r$)", width=1.2)
    connect(axes, (4.5, 2.48), (4.5, 3.0), (5.9, 3.0))
    gradient(axes, (4.8, 2.78), "dr")
    connect(axes, (6.1, 1.18), (6.1, 1.92))
    box(axes, (6.1, 2.2), "q = … + bn", width=1.5)
    write(axes, (6.18, 1.55), "$W_n h_{t-1}$", color=FORWARD, size=11, align="left")
    gradient(axes, (6.18, 2.64), "dq")
    connect(axes, (6.1, 2.48), (6.1, 2.8))
    node(axes, (6.1, 3.0), "×")
    connect(axes, (6.3, 3.0), (7.0, 3.0))
    gradient(axes, (6.62, 3.22), "da_n", align="center")
    connect(axes, (7.8, 1.18), (7.8, 2.72))
    write(axes, (7.9, 1.55), r"$U_n x_t$ + $b_n$", color=FORWARD, size=11, align="left")
    gradient(axes, (7.9, 2.2), "da_n")
    box(axes, (7.8, 3.0), "n = tanh($a_n$)", width=1.6)
    connect(axes, (7.8, 3.28), (7.8, 3.7))
    gradient(axes, (7.9, 3.48), "dn")
    node(axes, (7.8, 3.9), "×")
    connect(axes, (7.8, 4.1), (7.8, 4.7))
    node(axes, (7.8, 4.9), "+")
    legend(axes, (2.4, 5.75), "names")


def draw_lstm(axes: Axes) -> None:
    """The LSTM: c_t = f c_{t-1} + i g; h_t = o tanh(c_t)."""
    write(axes, (0.3, 4.9), "$c_{t-1}$", align="right")
    write(axes, (0.3, 0.9), "$h_{t-1}$", align="right")
    connect(axes, (0.4, 4.9), (2.6, 4.9))
    gradient(axes, (1.5, 5.15), "dc_next", align="center")
    connect(axes, (0.4, 0.9), (2.0, 0.9))
    gradient(axes, (1.2, 0.62), "dh_next", align="center")
    connect(axes, (5.2, -0.1), (5.2, 0.62))
    write(axes, (5.2, -0.3), "$x_t$")
    box(axes, (5.2, 0.9), r"a = W $h_{t-1}$ + U $x_t$ + b,  split into o, i, f, g", width=6.4, color=SUM)
    for x, name, function in ((2.8, "f", "σ"), (4.2, "i", "σ"), (5.9, "g", "tanh"), (7.6, "o", "σ")):
        connect(axes, (x, 1.18), (x, 1.92))
        gradient(axes, (x + 0.08, 1.55), f"da_{name}")
        box(axes, (x, 2.2), f"{name} = {function}($a_{name}$)", width=1.6 if function == "tanh" else 1.2)
    connect(axes, (2.8, 2.48), (2.8, 4.7))
    node(axes, (2.8, 4.9), "×")
    connect(axes, (3.0, 4.9), (4.85, 4.9))
    connect(axes, (4.2, 2.48), (4.2, 3.6), (4.85, 3.6))
    connect(axes, (5.9, 2.48), (5.9, 3.6), (5.25, 3.6))
    node(axes, (5.05, 3.6), "×")
    connect(axes, (5.05, 3.8), (5.05, 4.7))
    node(axes, (5.05, 4.9), "+")
    connect(axes, (5.25, 4.9), (10.4, 4.9))
    write(axes, (10.5, 4.9), "$c_t$", align="left")
    gradient(axes, (9.8, 5.15), "dc_next", align="center")
    gradient(axes, (6.4, 5.15), "dc", align="center")
    connect(axes, (8.9, 4.9), (8.9, 4.18))
    box(axes, (8.9, 3.9), "tanh")
    connect(axes, (8.9, 3.62), (8.9, 3.2))
    node(axes, (8.9, 3.0), "×")
    connect(axes, (7.6, 2.48), (7.6, 3.0), (8.7, 3.0))
    connect(axes, (9.1, 3.0), (10.4, 3.0))
    write(axes, (10.5, 3.0), "$h_t$", align="left")
    gradient(axes, (9.8, 3.25), "dh", align="center")
    legend(axes, (2.4, 5.75), "names")


FIGURES: dict[str, tuple[Callable[[Axes], None], tuple[float, float], tuple[float, float]]] = {
    "unrolled.png": (draw_unrolled, (-2.1, 13.2), (-0.5, 6.1)),
    "rnn.png": (draw_rnn, (-0.5, 10.2), (-0.5, 2.4)),
    "gru.png": (draw_gru, (-0.5, 10.7), (-0.6, 6.0)),
    "lstm.png": (draw_lstm, (-0.5, 11.2), (-0.6, 6.0)),
}
"""By file: what draws it, and the limits of x and y."""


def draw_all(folder: Path) -> None:
    """Write every figure as a PNG on white paper, which is read in light and in dark pages."""
    for name, (draw, x_limits, y_limits) in FIGURES.items():
        size = (0.72 * (x_limits[1] - x_limits[0]), 0.72 * (y_limits[1] - y_limits[0]))
        figure = Figure(figsize=size, dpi=140, facecolor=PAPER)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1), xlim=x_limits, ylim=y_limits, aspect="equal")
        axes.set_axis_off()
        draw(axes)
        figure.savefig(folder / name, metadata={"Software": None})


if __name__ == "__main__":
    draw_all(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("backpropagation"))
