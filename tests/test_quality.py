"""The quality of a generated text, on texts short enough to count by hand."""

import pytest

from charloom.core.text.quality import quality

TRAINING = "The cat sat on the mat. It's late."


def test_sizes_are_counted() -> None:
    figures = quality("the cat the", TRAINING)
    assert figures.characters == 11
    assert figures.distinct_characters == 6  # t h e space c a
    assert figures.words == 3
    assert figures.distinct_words == 2


@pytest.mark.parametrize(
    ("text", "fraction"),
    [
        ("the cat", 1.0),
        ("THE Cat", 1.0),
        ("the dog", 0.5),
        ("ca sa ma he", 0.0),  # parts of words are not words
        ("it's late", 1.0),
        ("1 2 3", 0.0),
        ("", 0.0),
    ],
)
def test_known_words_are_those_of_the_training_text_in_any_case(text: str, fraction: float) -> None:
    assert quality(text, TRAINING).known_word_fraction == fraction


@pytest.mark.parametrize(
    ("text", "length"),
    [
        (TRAINING, len(TRAINING)),
        ("zzcat satzz", 7),
        ("zzz", 0),
        ("", 0),
        ("on the dog sat on the log", 12),  # " sat on the "
        ("Zt", 1),
    ],
)
def test_the_longest_copy_is_the_longest_passage_that_the_training_text_has(text: str, length: int) -> None:
    assert quality(text, TRAINING).longest_copy == length
