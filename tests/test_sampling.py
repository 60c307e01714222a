"""What is drawn, from how many, and that it can be drawn again."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import charloom
from charloom import Model
from charloom.adapters.files import models
from charloom.core.cells import CELLS
from charloom.core.common.errors import DataError
from charloom.core.common.types import Array
from charloom.core.network import sampling as synthesis
from charloom.core.network.network import Network
from charloom.core.network.sampling import likeliest, read, sample
from charloom.core.text.vocabulary import Vocabulary

CHARACTERS = "\n abcdé"
K = len(CHARACTERS)

every_cell = pytest.mark.parametrize("cell", sorted(CELLS))


def a_network(cell: str = "rnn", layers: int = 1, dtype: Any = np.float64) -> Network:
    network = Network(vocabulary_size=K, hidden_size=6, cell=cell, layers=layers, dtype=dtype)
    network.parameters.vector[:] = np.random.default_rng(1).normal(0, 0.8, network.parameters.vector.size)
    return network


def one_that_predicts(o: list[float]) -> Network:
    """A network whose outputs are `o`, whatever it reads."""
    network = Network(vocabulary_size=len(o), hidden_size=1, dtype=np.float64)
    network.parameters["c"][...] = o
    return network


def drawn(network: Network, length: int, *, seed: int = 1, **options: Any) -> list[int]:
    rng = np.random.default_rng(seed)
    return [int(ids[0]) for ids in islice(sample(network, [0], network.zero_state(1), rng=rng, **options), length)]


@pytest.fixture
def model() -> Model:
    return Model(a_network(), Vocabulary(CHARACTERS))


@every_cell
def test_temperature_zero_takes_the_most_likely_character_each_time(cell: str) -> None:
    network = a_network(cell)
    expected, state, i = [], network.zero_state(1), 0
    for _ in range(300):
        o, state = network.logits(np.array([[i]]), state)
        i = int(o.argmax())
        expected.append(i)
    assert drawn(network, 300, temperature=0.0) == expected


def test_temperature_zero_does_not_depend_on_the_seed() -> None:
    network = a_network()
    assert drawn(network, 100, temperature=0.0, seed=1) == drawn(network, 100, temperature=0.0, seed=2)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_characters_are_drawn_as_often_as_softmax_of_the_outputs_over_the_temperature_says(temperature: float) -> None:
    o, draws = np.array([1.0, 0.0, -1.0, 2.0, 0.5]), 20_000
    counts = np.bincount(drawn(one_that_predicts(o.tolist()), draws, temperature=temperature), minlength=5)
    p = np.exp(o / temperature) / np.exp(o / temperature).sum()
    chi_square = ((counts - draws * p) ** 2 / (draws * p)).sum()
    assert chi_square < 18.5  # exceeded by 1 of 1,000 seeds at 4 degrees of freedom; the seed is fixed


def test_frequencies_of_another_temperature_would_be_caught() -> None:
    o, draws = np.array([1.0, 0.0, -1.0, 2.0, 0.5]), 20_000
    counts = np.bincount(drawn(one_that_predicts(o.tolist()), draws, temperature=1.1), minlength=5)
    p = np.exp(o) / np.exp(o).sum()
    assert ((counts - draws * p) ** 2 / (draws * p)).sum() > 18.5


def test_each_character_is_drawn_from_what_the_ones_before_it_predict() -> None:
    network = Network(vocabulary_size=4, hidden_size=4, dtype=np.float64)
    network.parameters["U"][...] = 9 * np.eye(4)
    network.parameters["V"][...] = 9 * np.roll(np.eye(4), 1, axis=0)  # after i comes i + 1
    assert drawn(network, 9, temperature=0.1) == [1, 2, 3, 0, 1, 2, 3, 0, 1]


@every_cell
def test_each_of_many_streams_goes_on_from_its_own_character_and_state(cell: str) -> None:
    network = a_network(cell, layers=2)
    first = np.array([0, 3, 5])
    state = np.random.default_rng(2).uniform(-0.9, 0.9, network.zero_state(3).shape)
    rng = np.random.default_rng(1)
    together = [ids.tolist() for ids in islice(sample(network, first, state, rng=rng, temperature=0.0), 50)]
    for s in range(3):
        alone = sample(network, first[[s]], state[:, :, [s]], rng=rng, temperature=0.0)
        assert [ids[s] for ids in together] == [int(i) for (i,) in islice(alone, 50)]


def test_streams_are_drawn_independently() -> None:
    network, draws = one_that_predicts([0.0, 0.0]), 4000
    stream = sample(network, [0, 0], network.zero_state(2), rng=np.random.default_rng(1))
    pairs = np.array([ids.tolist() for ids in islice(stream, draws)])
    assert (pairs[:, 0] == pairs[:, 1]).mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_p": 0.01}])
def test_each_stream_is_cut_to_its_own_likeliest_characters(options: dict[str, Any]) -> None:
    network = Network(vocabulary_size=4, hidden_size=4, dtype=np.float64)
    network.parameters["U"][...] = 9 * np.eye(4)
    network.parameters["V"][...] = np.roll(np.eye(4), 1, axis=0)
    stream = sample(network, [0, 2], network.zero_state(2), rng=np.random.default_rng(1), **options)
    assert [ids.tolist() for ids in islice(stream, 3)] == [[1, 3], [2, 0], [3, 1]]


def kept(o: Array) -> set[int]:
    return set(np.flatnonzero(np.isfinite(o)).tolist())


@settings(deadline=None)
@given(
    o=st.lists(st.floats(-20, 20), min_size=1, max_size=12).map(np.array),
    top_k=st.integers(1, 15),
    temperature=st.floats(0, 3),
)
def test_top_k_keeps_the_k_largest_outputs_unchanged(o: Array, top_k: int, temperature: float) -> None:
    found = likeliest(o, temperature, top_k, 1.0)
    assert len(kept(found)) == min(top_k, len(o))
    assert sorted(found[np.isfinite(found)]) == sorted(o)[-top_k:]
    assert all(found[i] == o[i] for i in kept(found))


@settings(deadline=None)
@given(
    o=st.lists(st.floats(-8, 8), min_size=1, max_size=12).map(np.array),
    top_p=st.floats(0.01, 0.99),
    temperature=st.floats(0.2, 3),
)
def test_top_p_keeps_the_smallest_set_of_likeliest_characters_that_reaches_p(
    o: Array, top_p: float, temperature: float
) -> None:
    p = np.exp(o / temperature) / np.exp(o / temperature).sum()
    inside = kept(likeliest(o, temperature, 0, top_p))
    outside = set(range(len(o))) - inside
    assert p[list(inside)].sum() >= top_p - 1e-9
    assert p[list(inside)].sum() - p[list(inside)].min() < top_p + 1e-9  # without the last of them it would not
    assert not outside or p[list(inside)].min() >= p[list(outside)].max()


@pytest.mark.parametrize(
    ("top_k", "top_p", "expected"),
    [
        (0, 1.0, {0, 1, 2, 3}),
        (1, 1.0, {1}),
        (2, 1.0, {1, 3}),
        (9, 1.0, {0, 1, 2, 3}),
        (0, 0.39, {1}),
        (0, 0.4, {1}),  # exactly p is enough
        (0, 0.41, {1, 3}),
        (0, 0.71, {0, 1, 3}),
        (0, 0.95, {0, 1, 2, 3}),
        (2, 0.56, {1}),  # of the two that top_k leaves, the first has 4/7
        (2, 0.58, {1, 3}),
    ],
)
def test_top_k_and_top_p_keep_exactly_the_right_characters(top_k: int, top_p: float, expected: set[int]) -> None:
    o = np.log([0.2, 0.4, 0.1, 0.3])
    assert kept(likeliest(o, 1.0, top_k, top_p)) == expected


def test_a_lower_temperature_needs_fewer_characters_for_top_p() -> None:
    o = np.log([0.2, 0.4, 0.1, 0.3])
    assert kept(likeliest(o, 0.25, 0, 0.7)) == {1}  # p is 0.72, 0.23, 0.05 and less


def test_of_equal_outputs_top_k_keeps_just_k() -> None:
    assert kept(likeliest(np.zeros(5), 1.0, 2, 1.0)) == {0, 1}


@pytest.mark.parametrize(("options", "expected"), [({"top_k": 2}, {1, 3}), ({"top_p": 0.71}, {0, 1, 3})])
def test_only_what_is_kept_is_drawn(options: dict[str, Any], expected: set[int]) -> None:
    network = one_that_predicts(np.log([0.2, 0.4, 0.1, 0.3]).tolist())
    assert set(drawn(network, 2000, **options)) == expected


@every_cell
@pytest.mark.parametrize("cut", [0, 1, 255, 256, 257, 600])
def test_reading_in_pieces_gives_the_state_of_reading_in_one_go(cell: str, cut: int) -> None:
    network = a_network(cell, layers=2)
    ids = np.random.default_rng(2).integers(0, K, 600)
    whole = network.logits(ids[:, None], network.zero_state(1))[1]
    pieces = read(network, ids[cut:], read(network, ids[:cut], network.zero_state(1)))
    np.testing.assert_allclose(pieces, whole, rtol=1e-12, atol=1e-14)


def test_what_is_drawn_does_not_depend_on_the_size_of_a_block_of_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = drawn(a_network(), 600)
    monkeypatch.setattr(synthesis, "_BLOCK", 7)
    assert drawn(a_network(), 600) == expected


def test_generate_gives_the_prompt_and_as_many_characters_as_asked_for(model: Model) -> None:
    text = model.generate(50, prime="abé")
    assert text.startswith("abé")
    assert len(text) == 53
    assert set(text) <= set(CHARACTERS)


def test_generate_goes_on_from_the_state_after_the_prompt(model: Model) -> None:
    network, ids = model.network, model.vocabulary.encode("dab a")
    state = read(network, ids[:-1], network.zero_state(1))
    rng = np.random.default_rng(4)
    expected = model.vocabulary.decode(int(i) for (i,) in islice(sample(network, ids[-1:], state, rng=rng), 80))
    assert model.generate(80, prime="dab a", seed=4) == "dab a" + expected


def test_without_a_prompt_the_network_starts_as_after_a_line_break(model: Model) -> None:
    assert "\n" + model.generate(80) == model.generate(80, prime="\n")


def test_without_a_line_break_in_the_vocabulary_it_starts_after_its_first_character() -> None:
    model = Model(a_network(), Vocabulary("abcdefg"))
    assert "a" + model.generate(80) == model.generate(80, prime="a")


def test_characters_of_the_prompt_outside_the_vocabulary_are_listed(model: Model) -> None:
    with pytest.raises(DataError, match=r"^the prompt has 'x', '€',? .*not among the vocabulary's 7 characters$"):
        model.generate(10, prime="a€bx€")


def test_of_many_unknown_characters_ten_are_listed(model: Model) -> None:
    with pytest.raises(DataError, match=r"'0', '1', '2', '3', '4', '5', '6', '7', '8', '9' … not among"):
        model.generate(10, prime="0123456789xyz")


def test_unknown_characters_of_the_prompt_are_skipped_if_asked_for(model: Model) -> None:
    skipped = model.generate(80, prime="a€bx", on_unknown="skip")
    assert skipped.removeprefix("a€bx") == model.generate(80, prime="ab").removeprefix("ab")


def test_a_prompt_of_unknown_characters_only_is_like_none(model: Model) -> None:
    assert model.generate(80, prime="€", on_unknown="skip") == "€" + model.generate(80)


@every_cell
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_loaded_model_writes_what_the_saved_one_does(tmp_path: Path, cell: str, dtype: Any) -> None:
    model = Model(a_network(cell, 2, dtype), Vocabulary(CHARACTERS))
    models.save(model, tmp_path / "model.npz")
    assert charloom.load(tmp_path / "model.npz").generate(200, prime="ab") == model.generate(200, prime="ab")


def test_the_same_seed_writes_the_same_text_and_another_one_another(tmp_path: Path, model: Model) -> None:
    models.save(model, tmp_path / "model.npz")
    loaded = charloom.load(str(tmp_path / "model.npz"))
    first = loaded.generate(200, seed=7)
    assert loaded.generate(200, seed=7) == first
    assert loaded.generate(200, seed=8) != first


def test_more_characters_of_the_same_seed_begin_with_fewer(model: Model) -> None:
    assert model.generate(700).startswith(model.generate(300))
