"""The quality of a generated text, compared with the training text. Knows nothing about networks.

Intervals are 95 % percentile bootstrap intervals over whole passages, since the characters of one depend on each other
(Efron and Tibshirani, An introduction to the bootstrap, 1993, chapter 13).
"""

import re
from collections.abc import Sequence

import numpy as np

from charloom.core.common.quality_records import Estimate, NgramQuality, PassageQuality
from charloom.core.common.records import Quality
from charloom.core.common.types import IntArray, Vector
from charloom.core.text.matches import match_lengths

ORDERS = (4, 8, 12)  # of the n-grams
_RESAMPLES = 1000
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


def passage_quality(
    groups: Sequence[tuple[float | None, Sequence[str]]], training_text: str, *, rng: np.random.Generator
) -> list[PassageQuality]:
    """The quality of several groups of passages, each with the temperature that it was sampled at.

    Words that touch an end of their passage, which may have cut them, are left out. The longest copy of all has no
    interval: the bootstrap fails for a maximum (Efron and Tibshirani, section 7.4); its mean over passages has one.
    Distinct n-grams are counted within each passage, because their share falls with the length of a text: compare only
    passages of the same length. `rng` draws the bootstrap's samples. A group without passages is left out.

    >>> rng = np.random.default_rng(1)
    >>> (found,) = passage_quality([(1.0, ["a cat sat.", "a cut sat."])], "the cat sat on.", rng=rng)
    >>> found.words, found.known_words, found.longest_copy, found.copied
    (4, Estimate(value=0.75, low=0.5, high=1.0), 8, ' cat sat')
    """
    known = {word.lower() for word in _WORD.findall(training_text)}
    lengths = iter(match_lengths([passage for _, group in groups for passage in group], training_text))
    found = []
    for temperature, passages in groups:
        if not passages:
            continue
        matches = [next(lengths) for _ in passages]
        words = [_whole_words(passage) for passage in passages]
        count = np.array([len(each) for each in words], np.float64)
        hits = np.array([sum(word in known for word in each) for each in words], np.float64)
        copies = np.array([match.max(initial=0) for match in matches], np.float64)
        weights = rng.multinomial(len(passages), np.full(len(passages), 1 / len(passages)), _RESAMPLES)
        source = int(copies.argmax())
        place, length = int(matches[source].argmax()) if matches[source].size else 0, int(copies.max())
        found.append(
            PassageQuality(
                temperature=temperature,
                passages=len(passages),
                characters=sum(map(len, passages)),
                words=int(count.sum()),
                known_words=_ratio(hits, count, weights) if count.any() else None,
                ngrams=[
                    NgramQuality(n, *(_ratio(part, whole, weights) for part in parts))
                    for n, whole, *parts in (_ngrams(n, passages, matches) for n in ORDERS)
                    if whole.any()
                ],
                mean_longest_copy=_ratio(copies, np.ones(len(passages)), weights),
                longest_copy=length,
                copied=passages[source][place : place + length],
            )
        )
    return found


def _ngrams(n: int, passages: Sequence[str], matches: Sequence[IntArray]) -> tuple[int, Vector, Vector, Vector]:
    """n, and by passage how many n-grams there are, how many distinct ones, and how many not in the training text."""
    whole = [max(0, len(passage) - n + 1) for passage in passages]
    distinct = [len({passage[i : i + n] for i in range(size)}) for passage, size in zip(passages, whole, strict=True)]
    new = [int(np.count_nonzero(match[:size] < n)) for match, size in zip(matches, whole, strict=True)]
    return n, *(np.array(counts, np.float64) for counts in (whole, distinct, new))  # type: ignore[return-value]


def _ratio(part: Vector, whole: Vector, weights: IntArray) -> Estimate:
    """The sum of `part` over the sum of `whole`, by passage (S,); `weights` (R, S) are how often each is resampled."""
    sums = weights @ whole
    ratios = (weights @ part)[sums > 0] / sums[sums > 0]
    low, high = np.quantile(ratios, [0.025, 0.975]).tolist()
    return Estimate(float(part.sum() / whole.sum()), low, high)


def _whole_words(passage: str) -> list[str]:
    """The words that touch no end of the passage."""
    return [word[0].lower() for word in _WORD.finditer(passage) if word.start() > 0 and word.end() < len(passage)]
