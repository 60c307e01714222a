"""What units follow: the features of a text, and the correlations with them."""

import numpy as np
import pytest

from charloom.core.cells import CELLS
from charloom.core.network import Network
from charloom.core.network.units import compare, vectors
from charloom.core.text import features

TEXT = 'One (of 2) says:\n"Two," he said, “or ten” (or so.\n\n"I am\n\nÁgota\'s 3rd; x\n'


def marks(name: str, text: str = TEXT) -> str:
    """The characters at which a feature is not 0."""
    return "".join(character for character, value in zip(text, features(text)[name], strict=True) if value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("inside quotation marks", '"Two,“or ten"I am\n'),
        ("inside parentheses", "(of 2(or so.\n"),
        ("after a line break", "\n\n\n\n\n\n"),
        ("first letter of a word", "OosThsotosIaÁsrx"),
        ("capital letter", "OTIÁ"),
        ("vowel", "OeoaoeaioeooIaÁoa"),
        ("digit", "23"),
        ("punctuation", '():",",“”(."\';'),
    ],
)
def test_a_feature_is_1_where_its_name_says_so(name: str, expected: str) -> None:
    assert marks(name) == expected


def test_counts_begin_anew_where_a_line_or_a_word_ends() -> None:
    text = "ab c\nde"
    assert features(text)["position in the line"].tolist() == [1, 2, 3, 4, 0, 1, 2]
    assert features(text)["letters of the word so far"].tolist() == [1, 2, 0, 1, 0, 1, 2]


def test_a_feature_knows_nothing_of_what_follows() -> None:
    for length in range(1, len(TEXT)):
        whole, part = features(TEXT), features(TEXT[:length])
        for name, values in part.items():
            assert values.tolist() == whole[name][:length].tolist(), (name, length)


def make_network(cell: str, layers: int = 1) -> Network:
    network = Network(vocabulary_size=4, hidden_size=5, cell=cell, layers=layers, dtype=np.float64)
    network.initialize(0.5, rng=np.random.default_rng(1))
    return network


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_the_vectors_of_a_cell_follow_its_equations(cell: str) -> None:
    ids = np.random.default_rng(2).integers(0, 4, 30)
    found = {name: values for (layer, name), values in vectors(make_network(cell, 2), ids).items() if layer == 1}
    h_prev = np.vstack([np.zeros(5), found["h"][:-1]])
    if cell == "gru":
        np.testing.assert_allclose(found["h"], found["n"] + found["z"] * (h_prev - found["n"]), atol=1e-15)
    if cell == "lstm":
        c_prev = np.vstack([np.zeros(5), found["c"][:-1]])
        np.testing.assert_allclose(found["c"], found["f"] * c_prev + found["i"] * found["g"], atol=1e-15)
        np.testing.assert_allclose(found["h"], found["o"] * np.tanh(found["c"]), atol=1e-15)
    assert set(found) == {"rnn": {"h"}, "gru": set("hrzn"), "lstm": set("hcoifg")}[cell]


def test_a_correlation_is_that_of_the_second_half_and_the_choice_that_of_the_first() -> None:
    rng = np.random.default_rng(3)
    network, ids = make_network("gru"), rng.integers(0, 4, 400)
    table = {
        "is 0": (ids == 0) * 1.0,
        "is 1": (ids == 1) * 1.0,
        "noise": rng.normal(size=400),
        "constant": np.ones(400),
    }
    units = compare(network, ids, table)
    assert len(units.ranked) == 4 * 5
    strengths = [abs(unit.chosen_by) for unit in units.ranked]
    assert strengths == sorted(strengths, reverse=True)
    found = vectors(network, ids)
    for unit in [*units.ranked, *units.by_feature]:
        values, feature = found[unit.layer, unit.vector][:, unit.unit], table[unit.feature]
        assert unit.chosen_by == pytest.approx(np.corrcoef(values[:200], feature[:200])[0, 1])
        assert unit.correlation == pytest.approx(np.corrcoef(values[200:], feature[200:])[0, 1])
    for unit in units.ranked:
        values = found[unit.layer, unit.vector][:200, unit.unit]
        others = [abs(np.corrcoef(values, table[name][:200])[0, 1]) for name in ("is 0", "is 1", "noise")]
        assert abs(unit.chosen_by) == pytest.approx(max(others))
    assert {unit.feature for unit in units.by_feature} == {"is 0", "is 1", "noise"}


def test_by_chance_a_correlation_is_as_large_as_with_noise() -> None:
    rng = np.random.default_rng(4)
    network, ids = make_network("rnn"), rng.integers(0, 4, 2000)
    units = compare(network, ids, {"noise": rng.normal(size=2000), "is 2": (ids == 2) * 1.0})
    by_feature = {unit.feature: abs(unit.chosen_by) for unit in units.by_feature}
    assert by_feature["noise"] < units.by_chance < 0.5 * by_feature["is 2"]


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_text_too_short_to_compare_has_no_units(count: int) -> None:
    units = compare(make_network("lstm"), np.zeros(count, int), {"digit": np.zeros(count)})
    assert (units.ranked, units.by_feature, units.by_chance) == ([], [], 0.0)
