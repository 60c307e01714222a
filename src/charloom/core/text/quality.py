"""The quality of a generated text, compared with the training text. Knows nothing about networks."""

import re

from charloom.core.common.records import Quality

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


def quality(text: str, training_text: str) -> Quality:
    """The size of a text, how many of its words the training text has, and how much of it is copied from there.

    A word is a run of letters, with apostrophes inside; upper and lower case are the same.

    >>> quality("the cat zat", "on the cat sat the dog").known_word_fraction
    0.6666666666666666
    >>> quality("the cat zat", "on the cat sat the dog").longest_copy
    8
    """
    words = [word.lower() for word in _WORD.findall(text)]
    known = {word.lower() for word in _WORD.findall(training_text)}
    return Quality(
        characters=len(text),
        distinct_characters=len(set(text)),
        words=len(words),
        distinct_words=len(set(words)),
        known_word_fraction=sum(word in known for word in words) / len(words) if words else 0.0,
        longest_copy=_longest_copy(text, training_text),
    )


def _longest_copy(text: str, training_text: str) -> int:
    longest = 0
    for start in range(len(text)):
        while start + longest < len(text) and text[start : start + longest + 1] in training_text:
            longest += 1
    return longest
