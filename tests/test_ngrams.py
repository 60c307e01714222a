"""The n-gram models: what they compute is what the formula says, counted with dictionaries."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charloom.adapters.files import artifacts
from charloom.core.common.errors import DataError
from charloom.core.common.formatting import standing
from charloom.core.common.records import BaselineScore
from charloom.core.network import Network, evaluate
from charloom.core.text import NGrams, baselines
from charloom.stages import baseline
from tests.results import make_config, prepare

ABRACADABRA = [0, 1, 4, 0, 2, 0, 3, 0, 1, 4, 0]  # K = 5


class Textbook:
    """p_n(y | h) by the formula, one character at a time."""

    def __init__(self, ids: Sequence[int], vocabulary_size: int, order: int) -> None:
        self.vocabulary_size, self.order = vocabulary_size, order
        self.times: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for n in range(1, order + 1):
            for end in range(n, len(ids) + 1):
                *context, character = ids[end - n : end]
                self.times[tuple(context)][character] += 1

    def probability(self, character: int, context: Sequence[int], n: int) -> float:
        if n == 0:
            return 1 / self.vocabulary_size
        lower = self.probability(character, context, n - 1)
        if len(context) < n - 1:
            return lower
        times = self.times.get(tuple(context[len(context) - (n - 1) :]), Counter())
        if not times:
            return lower
        return (times[character] + len(times) * lower) / (times.total() + len(times))

    def losses(self, ids: Sequence[int], n: int) -> list[float]:
        return [-math.log(self.probability(ids[at], ids[:at], n)) for at in range(1, len(ids))]


@st.composite
def texts(draw: st.DrawFn) -> tuple[int, int, list[int], list[int]]:
    """A vocabulary size, an order, a training text that has n-grams of it, and another text."""
    vocabulary_size = draw(st.integers(1, 5) | st.integers(200, 70_000))
    order = draw(st.integers(0, 8))
    few = st.integers(0, vocabulary_size - 1) | st.integers(0, min(2, vocabulary_size - 1))
    training = draw(st.lists(few, min_size=max(order, 1), max_size=60))
    return vocabulary_size, order, training, draw(st.lists(few | st.sampled_from(training), min_size=2, max_size=30))


@given(texts())
def test_the_losses_of_every_order_are_those_of_the_formula(given_: tuple[int, int, list[int], list[int]]) -> None:
    vocabulary_size, order, training, text = given_
    model = NGrams(np.array(training), vocabulary_size=vocabulary_size, order=order)
    textbook = Textbook(training, vocabulary_size, order)
    losses = list(model.losses_by_order(np.array(text)))
    assert len(losses) == order + 1
    for n, found in enumerate(losses):
        np.testing.assert_allclose(found, textbook.losses(text, n), rtol=1e-12, atol=1e-15)
    assert model.losses(np.array(text)).tolist() == losses[-1].tolist()


@given(texts())
def test_the_probabilities_of_all_characters_are_positive_and_sum_to_1(
    given_: tuple[int, int, list[int], list[int]],
) -> None:
    vocabulary_size, order, training, text = given_
    model = NGrams(np.array(training), vocabulary_size=vocabulary_size, order=order)
    for context in ([], text[:1], text, training):
        distribution = model.distribution(np.array(context, int))
        assert distribution.shape == (vocabulary_size,)
        assert distribution.min() > 0
        assert distribution.sum() == pytest.approx(1)


@given(texts())
def test_a_loss_is_that_of_the_distribution_after_the_characters_before(
    given_: tuple[int, int, list[int], list[int]],
) -> None:
    vocabulary_size, order, training, text = given_
    ids = np.array(text)
    model = NGrams(np.array(training), vocabulary_size=vocabulary_size, order=order)
    distributions = [model.distribution(ids[:at])[ids[at]] for at in range(1, len(ids))]
    assert model.losses(ids).tolist() == (-np.log(distributions)).tolist()


def test_a_small_example_is_what_it_is_by_hand() -> None:
    model = NGrams(np.array(ABRACADABRA), vocabulary_size=5, order=2)
    unigram = [(5 + 5 / 5) / 16, (2 + 1) / 16, (1 + 1) / 16, (1 + 1) / 16, (2 + 1) / 16]  # a b c d r
    assert NGrams(np.array(ABRACADABRA), vocabulary_size=5, order=1).distribution(np.array([])) == pytest.approx(
        unigram
    )
    after_a = [(times + 3 * p) / (4 + 3) for times, p in zip((0, 2, 1, 1, 0), unigram, strict=True)]
    assert model.distribution(np.array([4, 0])) == pytest.approx(after_a)
    after_b = [(times + 1 * p) / (2 + 1) for times, p in zip((0, 0, 0, 0, 2), unigram, strict=True)]
    assert model.distribution(np.array([1])) == pytest.approx(after_b)


def test_an_unknown_context_leaves_what_the_shorter_one_says() -> None:
    training = np.array(ABRACADABRA)
    short, long = (NGrams(training, vocabulary_size=5, order=order) for order in (2, 4))
    assert long.distribution(np.array([3, 3, 1])).tolist() == short.distribution(np.array([1])).tolist()


def test_the_last_characters_of_the_training_text_are_no_context_if_nothing_follows() -> None:
    model = NGrams(np.array([0, 0, 1]), vocabulary_size=2, order=3)
    assert model.distribution(np.array([0, 1])).tolist() == model.distribution(np.array([])).tolist()


def test_a_character_that_the_training_text_lacks_gets_the_uniform_share() -> None:
    model = NGrams(np.array([0, 1, 0, 0]), vocabulary_size=4, order=1)
    assert model.distribution(np.array([])) == pytest.approx([3.5 / 6, 1.5 / 6, 0.5 / 6, 0.5 / 6])


def test_a_higher_order_predicts_its_own_training_text_better() -> None:
    text = np.frombuffer((Path(__file__).parents[1] / "data/corpus.txt").read_bytes()[:20_000], np.uint8)
    model = NGrams(text, vocabulary_size=256, order=8)
    means = [losses.mean() for losses in model.losses_by_order(text)]
    assert means == sorted(means, reverse=True)
    assert means[0] == pytest.approx(math.log(256))
    assert means[8] < 0.5


def test_codes_of_long_contexts_over_a_large_vocabulary_do_not_overflow() -> None:
    size = 70_000  # to the power of 6, beyond 64 bits
    rng = np.random.default_rng(1)
    phrase = rng.integers(size - 5, size, 400)
    model = NGrams(phrase, vocabulary_size=size, order=6)
    np.testing.assert_allclose(model.losses(phrase), Textbook(phrase.tolist(), size, 6).losses(phrase.tolist(), 6))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_the_type_of_the_ids_makes_no_difference(dtype: type) -> None:
    ids = np.array(ABRACADABRA)
    expected = NGrams(ids, vocabulary_size=5, order=6).losses(ids)
    assert NGrams(ids.astype(dtype), vocabulary_size=5, order=6).losses(ids.astype(dtype)).tolist() == expected.tolist()


def test_a_training_text_without_an_n_gram_is_refused() -> None:
    with pytest.raises(DataError, match="the training text must have 6 characters or more, got 5"):
        NGrams(np.arange(5), vocabulary_size=5, order=6)


def test_the_scores_are_means_over_the_characters_that_a_network_predicts() -> None:
    training, validation = np.array(ABRACADABRA), np.array([1, 0, 0, 4])
    found = baselines(training, validation, vocabulary_size=5, order=3)
    model = NGrams(training, vocabulary_size=5, order=3)
    assert [score.name for score in found.models] == ["uniform", "1-gram", "2-gram", "3-gram"]
    assert [score.order for score in found.models] == [0, 1, 2, 3]
    means = [losses.mean() for losses in model.losses_by_order(validation)]
    assert [score.nats_per_char for score in found.models] == means
    assert [score.bits_per_char for score in found.models] == pytest.approx([mean / math.log(2) for mean in means])
    assert [score.perplexity for score in found.models] == pytest.approx([math.exp(mean) for mean in means])
    network = Network(vocabulary_size=5, hidden_size=2, dtype=np.float64)  # of weights 0, so uniform
    assert evaluate(network, validation) == pytest.approx(found.models[0].nats_per_char)
    assert (found.characters, found.unseen, found.left_out) == (3, 0, [])


def test_characters_that_the_training_text_lacks_are_counted_where_they_are_scored() -> None:
    found = baselines(np.array([0, 1, 1, 0]), np.array([3, 2, 3, 0, 2]), vocabulary_size=4, order=1)
    assert (found.characters, found.unseen) == (4, 3)


@pytest.mark.parametrize("size", [0, 1])
def test_without_a_validation_text_no_model_is_scored_and_the_reason_is_said(size: int) -> None:
    found = baselines(np.array(ABRACADABRA), np.zeros(size, np.uint8), vocabulary_size=5, order=6)
    assert (found.models, found.characters) == ([], 0)
    assert found.left_out == [f"all models: the validation text must have 2 characters or more, got {size}"]


def test_orders_that_the_training_text_is_too_small_for_are_left_out() -> None:
    found = baselines(np.array([0, 1, 0]), np.array([1, 0]), vocabulary_size=2, order=5)
    assert [score.order for score in found.models] == [0, 1, 2, 3]
    assert found.left_out == [
        "4-gram: the training text must have 4 characters or more, got 3",
        "5-gram: the training text must have 5 characters or more, got 3",
    ]


NATS = (4.2, 3.3, 2.5, 2.0, 1.8, 1.6, 1.7)  # of the models of orders 0 to 6


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (4.3, "worse than the uniform model"),
        (4.2, "worse than the uniform model"),
        (3.9, "between the uniform model and the 1-gram"),
        (1.9, "between the 3-gram and the 4-gram"),
        (1.75, "between the 4-gram and the 6-gram"),
        (1.65, "between the 6-gram and the 5-gram"),
        (1.6, "between the 6-gram and the 5-gram"),
        (1.5, "better than all n-gram models"),
    ],
)
def test_a_loss_stands_between_the_models_whose_losses_are_next_to_it(loss: float, expected: str) -> None:
    models = [BaselineScore.at_order(n, nats) for n, nats in enumerate(NATS)]
    assert standing(loss, models) == expected


def test_without_n_gram_models_a_loss_is_compared_with_the_uniform_model() -> None:
    uniform = BaselineScore.at_order(0, 1.0)
    assert standing(0.9, [uniform]) == "better than the uniform model"
    assert standing(0.9, []) == ""


def run_stage(tmp_path: Path, text: str, *, order: int = 6, fraction: float = 0.1) -> None:
    """Prepare a text and run the stage on it, in the results folder `tmp_path`."""
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    prepare(tmp_path / "text.txt", tmp_path, validation_fraction=fraction)
    config = make_config()
    config = config.model_copy(update={"baseline": config.baseline.model_copy(update={"order": order})})
    baseline.run(config, tmp_path, tmp_path / "baseline")


def test_the_stage_prints_a_table_of_what_it_keeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_stage(tmp_path, "abracadabra " * 50, order=2)
    heading, *rows, note = capsys.readouterr().out.splitlines()
    assert heading.split() == ["nats", "per", "character", "bits", "per", "character", "perplexity"]
    assert [row.split() for row in rows] == [
        [score.name, f"{score.nats_per_char:.4f}", f"{score.bits_per_char:.4f}", f"{score.perplexity:.2f}"]
        for score in artifacts.BASELINES.read(tmp_path).models
    ]
    assert note == "59 characters of the validation text, from the second on"
    assert artifacts.PARAMETERS["baseline"].read(tmp_path)["baseline.order"] == 2


def test_the_stage_says_which_characters_the_training_text_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_stage(tmp_path, "a" * 50 + "b" * 40 + "xa€\n€aaaaa")
    assert capsys.readouterr().err == (
        "3 of the 9 validation characters are not in the training text ('\\n', '€'); "
        "the n-gram models give each the uniform model's share\n"
    )
    assert artifacts.BASELINES.read(tmp_path).unseen == 3


def test_the_table_of_the_bundled_story_in_the_documentation_is_what_the_stage_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(__file__).parents[1]
    run_stage(tmp_path, (root / "data/corpus.txt").read_text(encoding="utf-8"))
    assert f"```\n{capsys.readouterr().out}```\n" in (root / "docs/baselines.md").read_text(encoding="utf-8")


def test_the_stage_passes_without_a_validation_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_stage(tmp_path, "abracadabra", fraction=0.0)
    assert (
        capsys.readouterr().out == "left out: all models: the validation text must have 2 characters or more, got 0\n"
    )
    assert artifacts.BASELINES.read(tmp_path).models == []
