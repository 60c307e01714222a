"""Evaluation of a text: by both protocols, by position, by kind of character and by character."""

import math
from typing import Any

import numpy as np
import pytest

from charloom.core.cells import CELLS
from charloom.core.common.errors import DataError, StateError
from charloom.core.common.records import Score
from charloom.core.common.types import Array
from charloom.core.network import Network, evaluate, evaluate_text
from charloom.core.network import evaluation as evaluation_module
from charloom.core.text import Vocabulary, kind

CHARACTERS = "\n ,1Aab"
K = len(CHARACTERS)
VOCABULARY = Vocabulary(CHARACTERS)

every_cell = pytest.mark.parametrize("cell", sorted(CELLS))


def some_ids(length: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, K, length).astype(np.uint8)


def a_network(cell: str = "gru", *, layers: int = 1) -> Network:
    """One whose state matters: with small weights every window would have the same loss."""
    network = Network(vocabulary_size=K, hidden_size=5, cell=cell, layers=layers, dtype=np.float64)
    network.initialize(0.8, rng=np.random.default_rng(2))
    return network


def losses_one_by_one(network: Network, ids: Any, window: int) -> list[list[float]]:
    """The loss of each character, window by window, each from a zero state, from the probabilities of one at a time."""
    found = []
    for start in range(0, len(ids) - 1, window):
        state, losses = network.zero_state(1), list[float]()
        for read, target in zip(ids[start : start + window], ids[start + 1 : start + window + 1], strict=False):
            o, state = network.logits(np.array([[read]]), state)
            losses.append(float(np.log(np.exp(o).sum()) - o[0, 0, target]))
        found.append(losses)
    return found


def scored(found: Score | None) -> Score:
    assert found is not None
    return found


@every_cell
def test_the_carried_loss_is_the_mean_of_the_text_read_in_one_go(cell: str) -> None:
    ids, network = some_ids(300), a_network(cell, layers=2)
    loss, _ = network.forward(ids[:-1, None], ids[1:, None], network.zero_state(1))
    assert evaluate(network, ids) == pytest.approx(loss / 299, rel=1e-13)


@pytest.mark.parametrize("piece", [1, 7, 299, 300, 1000])
def test_no_loss_depends_on_how_much_is_read_at_once(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    ids, network = some_ids(300), a_network()
    before = evaluate_text(network, VOCABULARY, ids, window=50)
    monkeypatch.setattr(evaluation_module, "_PIECE", piece)
    monkeypatch.setattr(evaluation_module, "_STREAMS", 1 + piece % 4)
    after = evaluate_text(network, VOCABULARY, ids, window=50)
    assert evaluate(network, ids) == pytest.approx(scored(before.carried).nats_per_char, rel=1e-13)
    assert scored(after.windows).nats_per_char == pytest.approx(scored(before.windows).nats_per_char, rel=1e-13)
    assert [group.characters for group in after.by_position] == [group.characters for group in before.by_position]


def test_the_carried_loss_of_two_characters_is_the_loss_of_the_second() -> None:
    network = a_network()
    loss, _ = network.forward(np.array([[3]]), np.array([[4]]), network.zero_state(1))
    assert evaluate(network, np.array([3, 4], np.uint8)) == loss


@pytest.mark.parametrize("length", [0, 1])
def test_a_text_of_fewer_than_two_characters_is_refused(length: int) -> None:
    with pytest.raises(DataError, match=f"two characters or more, got {length}"):
        evaluate(a_network(), some_ids(length))
    with pytest.raises(DataError, match=f"two characters or more, got {length}"):
        evaluate_text(a_network(), VOCABULARY, some_ids(length), window=256)


@every_cell
def test_an_evaluation_has_the_carried_loss_to_the_last_bit(cell: str) -> None:
    ids, network = some_ids(700), a_network(cell).astype(np.float32)
    assert scored(evaluate_text(network, VOCABULARY, ids, window=256).carried).nats_per_char == evaluate(network, ids)


@every_cell
@pytest.mark.parametrize("length", [2, 20, 21, 22, 700])
def test_windows_begin_at_a_zero_state_and_weigh_by_their_characters(cell: str, length: int) -> None:
    ids, network = some_ids(length), a_network(cell, layers=2)
    losses = np.concatenate(losses_one_by_one(network, ids, 20))
    assert len(losses) == length - 1
    found = scored(evaluate_text(network, VOCABULARY, ids, window=20).windows).nats_per_char
    assert found == pytest.approx(losses.mean(), rel=1e-13)


def test_in_a_window_longer_than_the_text_both_protocols_agree() -> None:
    found = evaluate_text(a_network(), VOCABULARY, some_ids(300), window=1000)
    assert scored(found.windows).nats_per_char == pytest.approx(scored(found.carried).nats_per_char, rel=1e-13)


def test_a_score_is_the_same_loss_in_three_units() -> None:
    score = scored(evaluate_text(a_network(), VOCABULARY, some_ids(300), window=256).carried)
    assert score.bits_per_char == pytest.approx(score.nats_per_char / math.log(2))
    assert score.perplexity == pytest.approx(math.e**score.nats_per_char)


@pytest.mark.parametrize(
    ("window", "names"),
    [
        (1, ["1"]),
        (2, ["1", "2"]),
        (3, ["1", "2", "3"]),
        (8, ["1", "2", "3–4", "5–8"]),
        (11, ["1", "2", "3–4", "5–8", "9–11"]),
    ],
)
def test_the_losses_by_position_are_means_over_the_windows(window: int, names: list[str]) -> None:
    ids, network = some_ids(101), a_network()
    losses = losses_one_by_one(network, ids, window)
    found = evaluate_text(network, VOCABULARY, ids, window=window).by_position
    assert [group.name for group in found] == names
    for group in found:
        first, _, last = group.name.partition("–")
        expected = [loss for row in losses for loss in row[int(first) - 1 : int(last or first)]]
        assert group.characters == len(expected)
        assert group.nats_per_char == pytest.approx(np.mean(expected), rel=1e-13)


def test_positions_that_a_short_text_does_not_reach_are_left_out() -> None:
    found = evaluate_text(a_network(), VOCABULARY, some_ids(4), window=256).by_position
    assert [(group.name, group.characters) for group in found] == [("1", 1), ("2", 1), ("3–4", 1)]


def by_character() -> tuple[Array, Array]:
    """The targets of a text and their losses with carried state."""
    ids = some_ids(500)
    return ids[1:], np.concatenate(losses_one_by_one(a_network(), ids, 500))


def test_the_losses_by_kind_are_means_over_the_characters_of_a_kind() -> None:
    targets, losses = by_character()
    found = {group.name: group for group in evaluate_text(a_network(), VOCABULARY, some_ids(500), window=256).by_kind}
    assert set(found) == {"line break", "space", "punctuation", "digit", "upper-case letter", "lower-case letter"}
    for name, group in found.items():
        is_kind = np.isin(targets, [i for i, character in enumerate(CHARACTERS) if kind(character) == name])
        assert group.characters == is_kind.sum()
        assert group.nats_per_char == pytest.approx(losses[is_kind].mean(), rel=1e-12)
        assert group.share == pytest.approx(losses[is_kind].sum() / losses.sum(), rel=1e-12)


def test_the_costliest_characters_come_in_the_order_of_their_share_of_the_loss() -> None:
    targets, losses = by_character()
    found = evaluate_text(a_network(), VOCABULARY, some_ids(500), window=256).costliest
    shares = {character: losses[targets == i].sum() / losses.sum() for i, character in enumerate(CHARACTERS)}
    assert [group.name for group in found] == sorted(shares, key=lambda character: -shares[character])
    assert [group.share for group in found] == pytest.approx(sorted(shares.values(), reverse=True), rel=1e-12)
    assert sum(group.characters for group in found) == 499


def test_a_character_that_is_nowhere_predicted_costs_nothing() -> None:
    found = evaluate_text(a_network(), VOCABULARY, np.array([0, 1, 1], np.uint8), window=256)
    assert [group.name for group in found.costliest] == [" "]
    assert [group.name for group in found.by_kind] == ["space"]


@pytest.mark.parametrize("value", [np.nan, 1e300, 1e4])
def test_a_loss_that_is_not_finite_is_refused(value: float) -> None:
    network = a_network()
    network.parameters["c"][0] = value
    with np.errstate(all="ignore"), pytest.raises(StateError, match=r"^the loss must be finite, and e to it too, got"):
        evaluate_text(network, VOCABULARY, some_ids(300), window=256)


@pytest.mark.parametrize(
    ("characters", "name"),
    [
        ("aßà", "lower-case letter"),
        ("AÀǅ", "upper-case letter"),
        ("漢אʰª", "other letter"),
        ("0٣", "digit"),
        (" \t\u00a0\u2003", "space"),
        ("\n\r\v\f\x85\u2028\u2029", "line break"),
        (".-—'’\"_(", "punctuation"),
        ("€+½\u0301\x00", "other"),
    ],
)
def test_a_character_has_the_kind_of_its_unicode_category(characters: str, name: str) -> None:
    assert {kind(character) for character in characters} == {name}
