"""The figures of what happens inside a training: how far back the gradient reaches, and its dynamics over the steps."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from charloom.adapters.plots.style import ACCENT, FAINT, GREY, INK, PALETTE, SMALL, WIDTH, as_png, headline, note
from charloom.core.common.records import GradientNorms, Inspection
from charloom.core.common.types import Vector

_FALLEN = 0.01  # of the norm at the last time step: the gradient is as good as gone
_DECADES = 12  # below the largest norm; what is smaller is no gradient in practice
_MARKERS = "osD^vP*X"
_MOST_PANELS = 4


@as_png
def gradient_flow(inspections: Sequence[Inspection], *, seq_length: int) -> Figure:
    """The norm of the gradient that arrives 0, 1, 2, … time steps back, a curve for each inspected training step.

    A panel for each state, of the lowest and the highest layer where there are more than fit. The first step and the
    last are emphasised, the last with its quartiles; T = `seq_length`, beyond which training looks at no gradient, is
    marked. Without inspections the figure says so.
    """
    if not inspections:
        return _nothing()
    states = _shown(list(inspections[-1].dynamics.gradient_norms), _MOST_PANELS)
    figure = Figure((WIDTH, 4.4 if len(states) < 3 else 7.6), layout="constrained")
    panels = figure.subplots(math.ceil(len(states) / 2), min(2, len(states)), sharex=True, sharey=True, squeeze=False)
    for number, (ax, state) in enumerate(zip(panels.flat, states, strict=False)):
        draw_gradient_norms(
            ax, {found.step: found.dynamics.gradient_norms[state] for found in inspections}, seq_length=seq_length
        )
        if len(states) > 1:
            layer, _, name = state.rpartition(".")
            ax.set_title(f"Gradient of {name}" + (f", {layer.replace('layer', 'layer ')}" if layer else ""))
        if number + panels.shape[1] >= len(states):
            ax.set_xlabel("Time steps back, k")
        if number % 2 == 0:
            ax.set_ylabel("Norm of the gradient (nats), median")
    for ax in panels.flat[len(states) :]:
        ax.set_axis_off()
    last = inspections[-1]
    headline(figure, _reach(last.dynamics.gradient_norms[states[-1]], last.step))
    return figure


def draw_gradient_norms(ax: Axes, norms: Mapping[int, GradientNorms], *, seq_length: int) -> None:
    """The curves of one state by training step, in rising order, on a logarithmic axis."""
    first, last = min(norms), max(norms)
    medians = {step: _positive(found.median) for step, found in norms.items()}
    for step, median in medians.items():
        color, width, line = {first: (INK, 1.6, "--")}.get(step, (FAINT, 1.0, "-"))
        if step == last:
            color, width, line = ACCENT, 2.4, "-"
        marker = "o" if len(median) == 1 else ""
        ax.plot(median, color=color, linewidth=width, linestyle=line, marker=marker, zorder=3 if step == last else 2)
    low, high = _positive(norms[last].low), _positive(norms[last].high)
    every = np.concatenate([*medians.values(), high])
    bottom, top = (np.nanmin(every), np.nanmax(every)) if np.isfinite(every).any() else (0.1, 1.0)
    ax.set_yscale("log")
    ax.set_ylim(max(bottom, top * 10.0**-_DECADES) / 2, 3 * top)
    ax.fill_between(np.arange(len(low)), low, high, color=ACCENT, alpha=0.18, linewidth=0)
    ax.yaxis.set_major_locator(LogLocator(numticks=8))
    ax.yaxis.set_minor_formatter(NullFormatter())
    lags = len(medians[last])
    ax.set_xlim(0, max(1, lags - 1))
    if seq_length < lags:
        ax.axvline(seq_length, color=GREY, linewidth=0.9, linestyle=":")
        note(ax, f"T = {seq_length}", (seq_length, 0.02), (4, 0), xycoords=ax.get_xaxis_transform(), color=GREY)
    names = [(f"step {last:,}", ACCENT, "-"), (f"step {first:,}", INK, "--"), ("steps between", FAINT, "-")]
    for name, color, line in names[: 1 if first == last else 3]:
        ax.plot([], [], color=color, linestyle=line, linewidth=2, label=name)
    ax.legend(fontsize=SMALL, loc="upper right", framealpha=0.8, edgecolor="none")
    ax.grid(axis="y")


def _reach(norms: GradientNorms, step: int) -> str:
    """The finding: how many time steps back the gradient is as good as gone."""
    median = _numbers(norms.median)
    if not np.isfinite(median).all() or median[0] == 0:
        return f"The gradient after step {step:,} is not finite"
    small = np.flatnonzero(median < _FALLEN * median[0])
    if not small.size:
        left = f"{median[-1] / median[0]:.0%}" if median[-1] < 10 * median[0] else f"{median[-1] / median[0]:.1e} times"
        return f"After step {step:,}, {left} of the gradient arrives {len(median) - 1} time steps back"
    return f"After step {step:,}, less than {_FALLEN:.0%} of the gradient arrives {small[0]} time steps back"


@as_png
def dynamics(inspections: Sequence[Inspection]) -> Figure:
    """Five panels over the training steps: the spectral radius of W, saturated units and gates, the ratio of updates
    to weights, the effective step size, and the clipped share of the gradient. Without inspections it says so.

    A colour stands for a tensor or a gate, and a dashed line for the highest layer.
    """
    if not inspections:
        return _nothing()
    steps = [found.step for found in inspections]
    figure = Figure((WIDTH, 9.6), layout="constrained")
    panels = figure.subplots(3, 2)
    (radius, saturation), (ratio, step_size), (clipped, key) = panels

    _curves(radius, steps, [found.dynamics.spectral_radius for found in inspections])
    radius.axhline(1, color=GREY, linewidth=0.9, linestyle=":")
    radius.set(title="Spectral radius of W", ylabel="Largest |eigenvalue|")
    radius.set_ylim(bottom=0)

    _curves(saturation, steps, [_saturation(found) for found in inspections], percent=True)
    saturation.set(title="Saturated: |h| > 0.999, σ < 0.1 or > 0.9", ylabel="Share of the values (%)")

    _curves(ratio, steps, [found.update_ratio for found in inspections], legend=False)
    ratio.set(title="Update-to-weight ratio", ylabel="|Δθ| / |θ|", yscale="log")

    medians: list[dict[str, float | None]] = [
        {name: q.median if q else None for name, q in found.step_size.items()} for found in inspections
    ]
    if any(value is not None for found in medians for value in found.values()):
        _curves(step_size, steps, medians, legend=False)
        step_size.set(yscale="log")
    else:
        _say(step_size, "the optimizer has none of each parameter")
    step_size.set(title="Effective step size, median", ylabel="Parameter² per nat")

    shares = [{"share": found.clipped} for found in inspections]
    if shares[-1]["share"] is None:
        _say(clipped, "clipping by value is off")
    else:
        _curves(clipped, steps, shares, legend=False, percent=True)
    clipped.set(title="Clipped entries of the gradient", ylabel="Share of the entries (%)")

    for ax in panels.flat[:5]:
        ax.set(xlabel="Training step", xscale="log", xlim=(min(steps) * 0.8, max(max(steps), 2) * 1.25))
        ax.grid(axis="y")
    key.set_axis_off()
    lines = ratio.get_lines()
    key.legend(handles=lines, loc="center left", frameon=False, ncols=2 if len(lines) > 6 else 1, title="Tensors")
    headline(figure, _finding(inspections[0], inspections[-1]))
    return figure


def _say(ax: Axes, text: str) -> None:
    """Say why a panel is empty."""
    ax.text(0.5, 0.5, text, ha="center", color=GREY, transform=ax.transAxes)
    ax.set_yticks([])


def _saturation(found: Inspection) -> dict[str, float | None]:
    shares: dict[str, float | None] = dict(found.dynamics.saturated)
    for name, gate in found.dynamics.gates.items():
        shares |= {f"{name} < 0.1": gate.left, f"{name} > 0.9": gate.right}
    return shares


def _finding(first: Inspection, last: Inspection) -> str:
    """The spectral radius of W, or of its largest block, at the first step and at the last."""
    radii = [
        max((radius for radius in found.dynamics.spectral_radius.values() if radius is not None), default=math.nan)
        for found in (first, last)
    ]
    saturated = max(last.dynamics.saturated.values())
    change = f"{radii[0]:.2g} → {radii[1]:.2g}" if first is not last else f"{radii[1]:.2g}"
    return f"Spectral radius of W: {change}; saturated units at the end: {saturated:.0%}"


def _curves(
    ax: Axes,
    steps: Sequence[int],
    found: Sequence[Mapping[str, float | None]],
    *,
    legend: bool = True,
    percent: bool = False,
) -> None:
    """A curve for each name, in the colour of its tensor or gate."""
    names = _shown(list(found[-1]), 16)
    kinds = list(dict.fromkeys(map(_kind, names)))
    for name in names:
        place = kinds.index(_kind(name))
        marker = "<" if " < " in name else ">" if " > " in name else _MARKERS[place % len(_MARKERS)]
        values = _numbers([each.get(name) for each in found]) * (100 if percent else 1)
        line = "--" if name.startswith("layer") else "-"
        color = PALETTE[place % len(PALETTE)]
        ax.plot(steps, values, label=name, color=color, linestyle=line, marker=marker, markersize=4, linewidth=1.6)
    if percent:
        ax.set_ylim(0, max(1.0, 1.1 * ax.get_ylim()[1]))
    if legend and len(names) > 1:
        ax.legend(fontsize=SMALL, ncols=2 if len(names) > 4 else 1, framealpha=0.8, edgecolor="none")


def _kind(name: str) -> str:
    """What a curve's colour stands for: a tensor or a gate, whatever its layer.

    >>> [_kind(name) for name in ("layer1.W", "W_r", "layer1.z < 0.1")]
    ['W', 'W_r', 'z']
    """
    return name.partition(" ")[0].rpartition(".")[2]


def _shown(names: list[str], most: int) -> list[str]:
    """The names to draw: all, or those of the lowest and the highest layer where there are more than `most`."""
    if len(names) <= most:
        return names
    layers = [name.partition(".")[0] if name.startswith("layer") else "" for name in names]
    highest = max(layers, key=lambda layer: int(layer.removeprefix("layer") or 0))
    return [name for name, layer in zip(names, layers, strict=True) if layer in ("", highest)]


def _numbers(values: Sequence[float | None]) -> Vector:
    """The values as floats; None is NaN, which is not drawn."""
    return np.array([math.nan if value is None else value for value in values])


def _positive(values: Sequence[float | None]) -> Vector:
    """The values as floats; NaN where there is none that a logarithmic axis has."""
    numbers = _numbers(values)
    return np.where(numbers > 0, numbers, math.nan)


def _nothing() -> Figure:
    figure = Figure((WIDTH, 1.2), layout="constrained")
    figure.text(0.012, 0.5, "Nothing was inspected: train.inspect_every is 0.", color=GREY, va="center")
    return figure
