"""The dynamics of a network as it reads a text: how far back the gradient reaches, and what W and the gates do to it.

The gradient that arrives k time steps back is a product of k Jacobians,

    ∂L_T/∂h_{T-k} = ∂L_T/∂h_T · ∂h_T/∂h_{T-1} · … · ∂h_{T-k+1}/∂h_{T-k}

For the plain cell each factor is diag(1 - h_t²) W: it shrinks by the spectral radius of W, roughly, and by saturated
units. It vanishes or explodes exponentially with k. Sources: Hochreiter 1991; Bengio, Simard, Frasconi, Learning
long-term dependencies with gradient descent is difficult, 1994; Pascanu, Mikolov, Bengio, On the difficulty of training
recurrent neural networks, 2013; the bounds of a saturated gate are those of Karpathy, Johnson, Fei-Fei, Visualizing
and understanding recurrent networks, 2015.
"""

from collections.abc import Iterator

import numpy as np

from charloom.core.cells import CELLS
from charloom.core.cells.cell import SATURATED
from charloom.core.common.errors import DataError
from charloom.core.common.records import Dynamics, GateSaturation, GradientNorms, Quartiles
from charloom.core.common.types import Array, Ids, IntArray
from charloom.core.network.network import Network
from charloom.core.network.parameters import layer_prefix
from charloom.core.network.window import Window

TIME_STEPS, WINDOWS = 100, 8
_CLOSED, _OPEN = 0.1, 0.9
_QUARTILES = (0.25, 0.5, 0.75)
_MOST_ELEMENTS = 1 << 22  # in the buffers of the windows that are read side by side


@np.errstate(all="ignore")  # what is not finite is None
def dynamics(network: Network, ids: Ids, *, time_steps: int = TIME_STEPS, windows: int = WINDOWS) -> Dynamics:
    """What happens inside the network as it reads windows of a text, evenly spread over it.

    The state is carried over as many characters before each window. All is computed in float64, whatever the
    network's type, without dropout, and on a copy: nothing of the network changes. The gradient is that of the
    network's own backward pass, exact.

    Arguments:
        network: what is looked into.
        ids: the text, (n,), n >= 2; may be a memory map.
        time_steps: T, how far back, >= 1; fewer where the text is shorter than 2 T + 1.
        windows: how many windows, >= 1; they overlap in a short text.

    Raises DataError for a text of fewer than two characters.

    >>> network = Network(vocabulary_size=2, hidden_size=2, dtype=np.float64)
    >>> network.parameters["W"][...] = [[0, 0.5], [-0.5, 0]]
    >>> network.parameters["V"][...] = np.eye(2)
    >>> found = dynamics(network, np.array([0, 1] * 10), time_steps=4)
    >>> found.gradient_norms["h"].median
    [0.70711, 0.35355, 0.17678, 0.088388]
    >>> found.spectral_radius, found.saturated
    ({'W': 0.5}, {'h': 0.0})
    """
    if len(ids) < 2:
        raise DataError(f"a text to look into a network with must have two characters or more, got {len(ids)}")
    network = network.astype(np.float64)
    T = max(1, min(time_steps, (len(ids) - 1) // 2))
    before = min(T, len(ids) - 1 - T)
    norms: dict[str, list[Array]] = {}
    saturated: dict[str, list[float]] = {}
    gates: dict[str, list[Array]] = {}
    for window in _read(network, ids, T, before, windows):
        for layer, cell in enumerate(window.cells):
            prefix = layer_prefix(layer)
            B = cell.h.shape[1]
            for name, gradient in cell.state_gradients().items():
                norms.setdefault(prefix + name, []).append(B * _norm(gradient)[::-1])  # the loss is the streams' mean
            saturated.setdefault(f"{prefix}h", []).append(float(np.mean(np.abs(cell.h[1:]) > SATURATED)))
            for name in cell.gate_names[:-1]:
                gate = cell.vectors()[name]
                gates.setdefault(prefix + name, []).append(np.array([np.mean(gate < _CLOSED), np.mean(gate > _OPEN)]))
    return Dynamics(
        gradient_norms={name: _by_lag(np.concatenate(found, axis=1)) for name, found in norms.items()},
        spectral_radius=spectral_radii(network),
        saturated={name: rounded(float(np.mean(found))) for name, found in saturated.items()},
        gates={name: GateSaturation(*map(rounded, np.mean(found, axis=0).tolist())) for name, found in gates.items()},
    )


def _read(network: Network, ids: Ids, T: int, before: int, windows: int) -> Iterator[Window]:
    """The windows after the backward pass of the loss at their last time steps, as many side by side as fit.

    Every group is of the same size.
    """
    sizes = {name: size for name, size in network.sizes.items() if name != "dtype"}
    B = 1
    while windows >= 2 * B and windows % (2 * B) == 0 and Window.size(T, 2 * B, **sizes) <= _MOST_ELEMENTS:
        B *= 2
    starts = np.linspace(0, len(ids) - 1 - T - before, windows).astype(np.intp)
    places = np.arange(before + T + 1)
    for start in range(0, windows, B):
        characters: IntArray = ids[starts[start : start + B] + places[:, None]]  # (before + T + 1, B)
        state = network.zero_state(B)
        if before:
            _, state = network.logits(characters[:before], state)
        inputs = characters[before:-1]
        network.forward(inputs, characters[before + 1 :], state)
        network.backward(inputs, since=T - 1)
        yield network.window(inputs.shape)


def spectral_radii(network: Network) -> dict[str, float | None]:
    """The largest |eigenvalue| of each square block of W, in the cell's order of gates; None without convergence."""
    found = {}
    radius: float | None
    m, names = network.hidden_size, CELLS[network.cell].gate_names or ("",)
    for layer, params in enumerate(network.parameters.layers):
        for block, name in zip(params["W"].reshape(-1, m, m), names, strict=True):
            try:
                radius = rounded(float(np.abs(np.linalg.eigvals(block.astype(np.float64))).max()))
            except np.linalg.LinAlgError:
                radius = None
            found[f"{layer_prefix(layer)}W{name and f'_{name}'}"] = radius
    return found


def quartiles(values: Array) -> Quartiles | None:
    """The quartiles of some values (n,); None where there are none, or one is not finite.

    >>> quartiles(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    Quartiles(low=2.0, median=3.0, high=4.0)
    """
    if not values.size or not np.isfinite(values).all():
        return None
    return Quartiles(*map(rounded, np.quantile(values, _QUARTILES).tolist()))


def rounded(value: float) -> float:
    """With five significant digits, more than any figure shows.

    >>> rounded(0.1234567)
    0.12346
    """
    return float(f"{value:.5g}")


def _by_lag(norms: Array) -> GradientNorms:
    """The quartiles over windows of norms (T, windows)."""
    finite = np.all(np.isfinite(norms), axis=1, keepdims=True)
    found = np.quantile(np.where(finite, norms, 0), _QUARTILES, axis=1)
    low, median, high = (
        [rounded(value) if known else None for value, known in zip(values, finite[:, 0], strict=True)]
        for values in found.tolist()
    )
    return GradientNorms(low, median, high)


def _norm(gradient: Array) -> Array:
    """The Euclidean norms (T, B) of vectors (T, B, m); of tiny ones, too, whose squares are 0."""
    largest = np.abs(gradient).max(axis=-1)
    scale = np.where(largest > 0, largest, 1.0)
    norms: Array = scale * np.linalg.norm(gradient / scale[..., None], axis=-1)
    return norms
