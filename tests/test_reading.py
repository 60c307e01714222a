"""What a model shows of its inside while it reads a text."""

from typing import Any

import numpy as np
import pytest

from charloom.core.cells import CELLS
from charloom.core.common.errors import DataError
from charloom.core.network import Network
from charloom.core.network.reading import inspect

K, m = 6, 5
VECTORS = {"rnn": {"h"}, "gru": {"h", "r", "z", "n"}, "lstm": {"h", "c", "o", "i", "f", "g"}}

every_cell = pytest.mark.parametrize("cell", sorted(CELLS))


def a_network(cell: str = "gru", layers: int = 2) -> Network:
    network = Network(vocabulary_size=K, hidden_size=m, cell=cell, layers=layers, dtype=np.float64)
    network.initialize(0.7, rng=np.random.default_rng(5))
    return network


def some_ids(length: int = 12) -> Any:
    return np.random.default_rng(1).integers(0, K, length).astype(np.uint8)


@every_cell
def test_the_surprise_is_that_of_the_probabilities(cell: str) -> None:
    ids = some_ids()
    found = inspect(a_network(cell), ids)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(found.losses, -np.log(found.probabilities[np.arange(11), ids[1:]]), rtol=1e-12)


@every_cell
def test_the_states_are_those_after_each_character(cell: str) -> None:
    network, ids = a_network(cell), some_ids()
    found = inspect(network, ids).vectors
    assert {(layer, name) for layer in range(2) for name in VECTORS[cell]} == set(found)
    state = network.zero_state(1)
    for t, i in enumerate(ids):
        _, state = network.logits(np.array([[i]]), state)
        for layer in range(2):
            for number, name in enumerate(["h", "c"][: len(state[layer])]):
                np.testing.assert_allclose(found[layer, name][t], state[layer, number, 0], rtol=1e-12)


@every_cell
def test_the_gates_give_the_states_that_stand_beside_them(cell: str) -> None:
    found = {name: values for (layer, name), values in inspect(a_network(cell), some_ids()).vectors.items() if layer}
    h_prev = np.vstack([np.zeros(m), found["h"][:-1]])
    if cell == "gru":
        np.testing.assert_allclose(found["h"], (1 - found["z"]) * found["n"] + found["z"] * h_prev, rtol=1e-12)
    if cell == "lstm":
        c_prev = np.vstack([np.zeros(m), found["c"][:-1]])
        np.testing.assert_allclose(found["c"], found["f"] * c_prev + found["i"] * found["g"], rtol=1e-12)
        np.testing.assert_allclose(found["h"], found["o"] * np.tanh(found["c"]), rtol=1e-12)


@every_cell
@pytest.mark.parametrize(("at", "index"), [(-1, 11), (5, 5), (1, 1), (-11, 1)])
def test_the_gradient_is_that_of_the_loss_of_one_character(cell: str, at: int, index: int) -> None:
    """Against the complex step: a character of its own for each place lets x_s be any vector."""
    network, ids = a_network(cell), some_ids()
    found = inspect(network, ids, at)
    assert (found.at, found.gradient.shape) == (index, (index, K))
    wide = Network(**{**network.sizes, "vocabulary_size": K + index, "dtype": np.complex128})
    for name, array in network.parameters.items():
        wide.parameters[name][tuple(slice(size) for size in array.shape)] = array
    wide.parameters["c"][K:] = -1e9  # never predicted
    places = np.arange(K, K + index)
    for s in range(index):
        for k in range(K):
            wide.parameters["U"][:, K:] = network.parameters["U"][:, ids[:index]]
            wide.parameters["U"][:, K + s] += 1e-20j * network.parameters["U"][:, k]
            wide.forward(places[:, None], ids[1 : index + 1, None], wide.zero_state(1))
            loss = wide.window((index, 1)).losses[-1]
            assert found.gradient[s, k] == pytest.approx(loss.imag / 1e-20, rel=1e-9, abs=1e-15)


def test_inspecting_leaves_the_network_and_its_gradients_as_they_were() -> None:
    network = a_network()
    network.gradients.vector[:] = 7
    before = network.parameters.vector.copy()
    inspect(network, some_ids())
    np.testing.assert_array_equal(network.parameters.vector, before)
    assert (network.gradients.vector == 7).all()


@pytest.mark.parametrize("length", [0, 1, 10_001])
def test_a_text_too_short_or_too_long_is_refused(length: int) -> None:
    with pytest.raises(DataError, match=f"must have 2 to 10,000 characters, got {length:,}"):
        inspect(a_network(), some_ids(length))


@pytest.mark.parametrize("at", [0, 12, -12, -13])
def test_an_index_of_no_predicted_character_is_refused(at: int) -> None:
    with pytest.raises(DataError, match=f"must be 1 to 11, or -1 to -11, got {at}$"):
        inspect(a_network(), some_ids(), at)
