"""The quality of sampled passages: what stands in the training text, and how sure the figures are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charloom.adapters.files import artifacts
from charloom.core.common.quality_records import Estimate, PassageQuality
from charloom.core.text import passage_quality
from charloom.core.text.matches import match_lengths
from tests.project import Project

TRAINING = "the cat sat on the mat. it sat there."
few_letters = st.text("ab \U0001f600", max_size=30)


@given(passages=st.lists(few_letters, max_size=4), text=few_letters)
def test_every_match_is_the_longest_substring_of_the_passage_that_stands_in_the_text(
    passages: list[str], text: str
) -> None:
    for passage, lengths in zip(passages, match_lengths(passages, text), strict=True):
        assert len(lengths) == len(passage)
        for start, length in enumerate(lengths.tolist()):
            assert passage[start : start + length] in text
            rest = passage[start : start + length + 1]
            assert len(rest) == length or rest not in text


def measured(*passages: str, training: str = TRAINING, temperature: float | None = 1.0) -> PassageQuality:
    (found,) = passage_quality([(temperature, passages)], training, rng=np.random.default_rng(1))
    return found


def test_words_that_touch_an_end_of_their_passage_are_left_out() -> None:
    found = measured("xthe cat dog sax", "the Cat.")
    assert found.words == 3  # cat dog, Cat
    assert found.known_words is not None
    assert found.known_words.value == pytest.approx(2 / 3)


def test_a_text_without_words_has_no_share_of_known_ones() -> None:
    assert measured("1234 5678").known_words is None


def test_the_longest_copy_is_given_with_its_text_and_its_mean_over_passages() -> None:
    found = measured("zz cat sat oz", "zzzzz", "zthe mzz")
    assert (found.longest_copy, found.copied) == (10, " cat sat o")
    assert found.mean_longest_copy.value == pytest.approx((10 + 0 + 5) / 3)


def test_ngrams_are_new_where_the_training_text_lacks_them_and_distinct_within_their_passage() -> None:
    four, *others = measured("the the ", "on the c").ngrams
    assert four.n == 4
    # "the ", "he t", "e th", " the", "the " and "on t", "n th", " the", "the ", "he c"
    assert four.new.value == pytest.approx(2 / 10)  # "he t" and "e th"
    assert four.distinct.value == pytest.approx(9 / 10)
    assert [other.n for other in others] == [8]  # no passage has twelve characters


def test_a_passage_of_the_training_text_itself_has_nothing_new() -> None:
    found = measured(TRAINING[3:30])
    assert [ngram.new.value for ngram in found.ngrams] == [0, 0, 0]
    assert found.longest_copy == 27


def test_an_interval_is_that_of_the_bootstrap_over_passages() -> None:
    rng = np.random.default_rng(5)
    passages = [" ".join(["", *rng.choice(["cat", "dog"], 20), ""]) for _ in range(50)]
    found = measured(*passages)
    assert found.known_words is not None
    shares = np.array([passage.count("cat") / 20 for passage in passages])
    error = shares.std() / np.sqrt(50)
    assert found.known_words.value == pytest.approx(shares.mean())
    assert found.known_words.low == pytest.approx(shares.mean() - 1.96 * error, abs=0.3 * error)
    assert found.known_words.high == pytest.approx(shares.mean() + 1.96 * error, abs=0.3 * error)


def test_equal_passages_leave_no_doubt() -> None:
    found = measured(*["a cat dog."] * 8)
    assert found.known_words == Estimate(0.5, 0.5, 0.5)


def test_groups_are_measured_each_by_itself_and_empty_ones_left_out() -> None:
    groups = [(0.5, ["zz the cat zz"] * 3), (None, []), (1.0, ["zz dog zz"] * 2)]
    cold, warm = passage_quality(groups, TRAINING, rng=np.random.default_rng(1))
    assert (cold.temperature, cold.passages, cold.longest_copy) == (0.5, 3, 8)
    assert (warm.temperature, warm.passages, warm.words) == (1.0, 2, 2)


@pytest.mark.parametrize("passages", [[""], ["a"], ["", "the cat"]])
def test_the_shortest_passages_are_measured(passages: list[str]) -> None:
    assert measured(*passages).characters == sum(map(len, passages))


def test_without_a_training_text_everything_is_new() -> None:
    found = measured("zz the cat sat zz", training="")
    assert [ngram.new.value for ngram in found.ngrams] == [1, 1, 1]
    assert (found.longest_copy, found.copied) == (0, "")


def test_the_stage_measures_each_temperature_on_the_length_asked_for(trained: Project) -> None:
    options = ("preset=smoke", "synthesize.length=10", "synthesize.temperature=0.9")
    trained.stage("synthesize", *options, "synthesize.quality_length=1200", "out=artifacts/synthesize")
    found = artifacts.TEXT_QUALITY.read(trained.root / "artifacts")
    assert [each.temperature for each in found.sampled] == [0.5, 0.75, 0.9, 1.0, 1.25]
    assert {(each.passages, each.characters) for each in found.sampled} == {(2, 1200)}
    assert found.held_out is not None
    assert found.held_out.characters <= 1200
    before = trained.files("artifacts")
    trained.stage("synthesize", *options, "synthesize.quality_length=0", "out=artifacts/synthesize")
    after = trained.files("artifacts")
    assert artifacts.TEXT_QUALITY.read(trained.root / "artifacts").sampled == []
    assert after["synthesize/sample.txt"] == before["synthesize/sample.txt"]
