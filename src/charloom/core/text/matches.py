"""How much of a text stands in another one to the letter, from every position at once.

The substrings of 1, 2, 4, 8, … characters of all texts together are ranked: two ranks are equal where the substrings
are, and in their order (prefix doubling: Manber and Myers, Suffix arrays, SIAM Journal on Computing 22, 1993). In the
order of the ranks, the longest match of a position is with one of its neighbours in the other text. No loop over
characters, and exact.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from charloom.core.common.types import IntArray
from charloom.core.text.ranks import distinct_and_ranks
from charloom.core.text.vocabulary import code_points


def match_lengths(passages: Sequence[str], text: str) -> list[IntArray]:
    """For each passage, the length of the longest substring from each of its positions that stands in `text`, (len,).

    Time and memory grow like (n log n) of all characters; 1 MB takes about two seconds.

    >>> [lengths.tolist() for lengths in match_lengths(["zcat", "sat"], "the cat sat")]
    [[0, 3, 2, 1], [3, 2, 1]]
    """
    # A sign of its own ends the text and each passage, so that no match goes beyond.
    codes = [code_points(text).astype(np.int64), *(code_points(passage).astype(np.int64) for passage in passages)]
    end = 1 + max((int(code.max()) for code in codes if code.size), default=0)
    joined = np.concatenate([np.append(code, end + number) for number, code in enumerate(codes)])
    ranks = _ranks(joined, max(map(len, passages), default=0))
    order = np.argsort(ranks[-1], kind="stable")
    in_text = order < len(text)
    places = np.arange(len(order))
    before = np.maximum.accumulate(np.where(in_text, places, -1))
    after = np.minimum.accumulate(np.where(in_text, places, len(order))[::-1])[::-1]
    own, found = order[~in_text], np.zeros(len(joined), np.int64)
    for neighbour in (before[~in_text], after[~in_text]):
        known = (neighbour >= 0) & (neighbour < len(order))
        found[own[known]] = np.maximum(found[own[known]], _common(ranks, own[known], order[neighbour[known]]))
    starts = np.cumsum([0, *(len(code) + 1 for code in codes)])
    return [found[start : start + len(code)] for start, code in zip(starts[1:-1], codes[1:], strict=True)]


def _ranks(codes: NDArray[np.int64], longest: int) -> list[IntArray]:
    """The ranks of the substrings of 1, 2, 4, … characters up to `longest`, (n,) each; shorter ones at the end."""
    ranks: list[IntArray] = [distinct_and_ranks(codes)[1].astype(np.int32)]
    length = 1
    while 2 * length <= longest:
        last = ranks[-1].astype(np.int64)
        second = np.zeros_like(last)  # 0: nothing there, which is before everything
        second[:-length] = last[length:] + 1
        ranks.append(distinct_and_ranks(last * (len(codes) + 1) + second)[1].astype(np.int32))
        length *= 2
    return ranks


def _common(ranks: Sequence[IntArray], i: IntArray, j: IntArray) -> IntArray:
    """The lengths of the common prefixes of the substrings at the positions i and j, (n,)."""
    i, j, size = i.copy(), j.copy(), len(ranks[0])
    found = np.zeros(len(i), np.int64)
    for level in reversed(range(len(ranks))):
        inside = (i < size) & (j < size)
        equal = inside & (ranks[level][np.minimum(i, size - 1)] == ranks[level][np.minimum(j, size - 1)])
        step = np.where(equal, 1 << level, 0)
        i, j, found = i + step, j + step, found + step
    return found
