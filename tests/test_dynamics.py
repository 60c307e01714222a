"""How far back the gradient reaches, spectral radii and saturation, compared with what can be computed otherwise."""

import numpy as np
import pytest

from charloom.core.cells import CELLS
from charloom.core.common.errors import DataError
from charloom.core.common.records import GateSaturation
from charloom.core.common.types import Array, Masks
from charloom.core.network import Network
from charloom.core.network.dynamics import dynamics, spectral_radii

K, M, T = 5, 4, 6
IDS = np.random.default_rng(3).integers(0, K, 2 * T + 1).astype(np.uint8)  # room for one window alone
TINY = 1e-20


def a_network(cell: str, layers: int = 1, scale: float = 0.7) -> Network:
    network = Network(vocabulary_size=K, hidden_size=M, cell=cell, layers=layers, dtype=np.float64)
    network.initialize(scale, rng=np.random.default_rng(1))
    return network


def last_loss(network: Network, start: int, state: Array, masks: Masks = ()) -> complex:
    """The loss of the last character, read from `start` on."""
    inputs, targets = IDS[start:-1, None], IDS[start + 1 :, None]
    network.forward(inputs, targets, state, masks)
    return complex(network.window(inputs.shape).losses[-1])


def norm_by_complex_steps(network: Network, lag: int, layer: int, name: str) -> float:
    """|∂L_T/∂h_{T-lag}| or |∂L_T/∂c_{T-lag}| of the last loss: each unit is stepped by itself, as the next time step
    reads it, and as the layer above does. With c, h = o tanh(c) is stepped, too.
    """
    network = network.astype(np.complex128)
    _, before = network.logits(IDS[: 2 * T - lag - 1, None], network.zero_state(1))
    _, state = network.logits(IDS[2 * T - lag - 1 : 2 * T - lag, None], before)
    gradient = np.empty(M)
    for unit in range(M):
        stepped, h, step = state.copy(), state[layer, 0, 0, unit], TINY * 1j
        if name == "c":
            stepped[layer, 1, 0, unit] += step
            tanh_c = np.tanh(state[layer, 1, 0, unit])
            step *= h / tanh_c * (1 - tanh_c**2)
        stepped[layer, 0, 0, unit] += step
        gradient[unit] = last_loss(network, 2 * T - lag, stepped).imag / TINY
        if layer < network.layers - 1:
            mask = np.ones((lag + 1, M), np.complex128)
            mask[0, unit] += step / h
            masks = [mask if place == layer else None for place in range(network.layers)]
            gradient[unit] += last_loss(network, 2 * T - lag - 1, before, masks).imag / TINY
    return float(np.linalg.norm(gradient))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", sorted(CELLS))
def test_the_norms_are_those_of_the_gradient_of_the_last_loss_at_every_lag(cell: str, layers: int) -> None:
    network = a_network(cell, layers)
    found = dynamics(network, IDS, time_steps=T, windows=1).gradient_norms
    states = "hc" if cell == "lstm" else "h"
    assert list(found) == [f"layer{layer}.{name}".removeprefix("layer0.") for layer in range(layers) for name in states]
    for name, norms in found.items():
        prefix, _, state = name.rpartition(".")
        layer = 1 if prefix else 0
        assert len(norms.median) == T
        expected = [norm_by_complex_steps(network, lag, layer, state) for lag in range(1, T)]
        np.testing.assert_allclose(np.array(norms.median[1:], float), expected, rtol=1e-4)  # five digits are kept
        assert norms.low == norms.median == norms.high


def test_the_loss_reaches_the_last_state_through_v_alone() -> None:
    network = a_network("rnn")
    o, _ = network.logits(IDS[:-1, None], network.zero_state(1))
    p = np.exp(o[-1, 0]) / np.exp(o[-1, 0]).sum()
    p[IDS[-1]] -= 1
    (norm, *_) = dynamics(network, IDS, time_steps=T, windows=1).gradient_norms["h"].median
    assert norm == pytest.approx(np.linalg.norm(network.parameters["V"].T @ p), rel=1e-4)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_windows_read_side_by_side_are_those_read_one_by_one(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = np.random.default_rng(4).integers(0, K, 300).astype(np.uint8)
    side_by_side = dynamics(a_network(cell), text, time_steps=T, windows=8)
    monkeypatch.setattr("charloom.core.network.dynamics._MOST_ELEMENTS", 1)
    one_by_one = dynamics(a_network(cell), text, time_steps=T, windows=8)
    assert one_by_one.saturated == side_by_side.saturated
    assert one_by_one.gates == side_by_side.gates
    for name, norms in side_by_side.gradient_norms.items():
        for quartile in ("low", "median", "high"):
            found, expected = (np.array(getattr(each, quartile)) for each in (one_by_one.gradient_norms[name], norms))
            np.testing.assert_allclose(found, expected, rtol=1e-4)
        assert norms.low != norms.high


def test_quartiles_are_over_windows() -> None:
    norms = dynamics(a_network("rnn"), np.tile(IDS, 30), time_steps=T, windows=8).gradient_norms["h"]
    for low, median, high in zip(norms.low, norms.median, norms.high, strict=True):
        assert low is not None
        assert median is not None
        assert high is not None
        assert low < median < high


def test_a_gradient_too_small_for_its_square_has_a_norm() -> None:
    network = a_network("rnn")
    network.parameters["W"][...] = 1e-60 * np.eye(M)
    norms = dynamics(network, IDS, time_steps=T, windows=1).gradient_norms["h"].median
    assert [round(np.log10(float(norm or 0)) / 60) for norm in norms[:6]] == [0, -1, -2, -3, -4, -5]


def test_what_is_not_finite_is_none() -> None:
    network = a_network("rnn")
    network.parameters["W"][...] = np.nan
    found = dynamics(network, IDS, time_steps=T, windows=2)
    assert found.gradient_norms["h"].median[-1] is None
    assert found.spectral_radius == {"W": None}


def test_the_spectral_radius_is_that_of_each_gates_own_block() -> None:
    network = a_network("gru", layers=2)
    rotation: Array = np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 0]])
    network.parameters["W"][...] = np.concatenate([2 * rotation, 3 * rotation, 4 * rotation])
    network.parameters["layer1.W"][...] = 0
    upper = {"layer1.W_r": 0.0, "layer1.W_z": 0.0, "layer1.W_n": 0.0}
    assert spectral_radii(network) == {"W_r": 2.0, "W_z": 3.0, "W_n": 4.0, **upper}


def test_units_are_saturated_where_their_bias_says_so() -> None:
    network = a_network("rnn", scale=0.01)
    network.parameters["b"][...] = [9, -9, 0, 0]
    assert dynamics(network, IDS).saturated == {"h": 0.5}


@pytest.mark.parametrize(("cell", "names"), [("gru", "rz"), ("lstm", "oif"), ("rnn", "")])
def test_gates_are_open_or_closed_where_their_bias_says_so(cell: str, names: str) -> None:
    network = a_network(cell, scale=0.01)
    for place in range(len(names)):
        network.parameters["b"][place * M : place * M + 2 + place] = 9 if place % 2 else -9
        network.parameters["b"][place * M + 2 + place : (place + 1) * M] = 0
    shares = [GateSaturation(0.5, 0.0), GateSaturation(0.0, 0.75), GateSaturation(1.0, 0.0)]
    assert dynamics(network, IDS).gates == dict(zip(names, shares, strict=False))


def test_nothing_of_the_network_changes() -> None:
    network = a_network("lstm")
    network.forward(IDS[:-1, None], IDS[1:, None], network.zero_state(1))
    gradient = network.backward(IDS[:-1, None]).vector.copy()
    params = network.parameters.vector.copy()
    dynamics(network, IDS)
    np.testing.assert_array_equal(network.parameters.vector, params)
    np.testing.assert_array_equal(network.gradients.vector, gradient)


@pytest.mark.parametrize(("characters", "lags"), [(2, 1), (3, 1), (5, 2), (9, 4), (400, 100)])
def test_a_short_text_has_fewer_lags(characters: int, lags: int) -> None:
    found = dynamics(a_network("rnn"), np.resize(IDS, characters))
    assert len(found.gradient_norms["h"].median) == lags


def test_a_text_of_one_character_is_refused() -> None:
    with pytest.raises(DataError, match="must have two characters or more, got 1"):
        dynamics(a_network("rnn"), IDS[:1])
