"""Character n-gram models with Witten–Bell smoothing: what a network's loss is compared with.

An n-gram model predicts a character from the n - 1 characters before it, by counting. Knows nothing about networks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charloom.core.common.errors import DataError
from charloom.core.common.records import Baselines, BaselineScore
from charloom.core.common.types import IntArray, Vector
from charloom.core.text.ranks import distinct_and_ranks

_Numbers = NDArray[np.int64]
BYTES_PER_CHARACTER = 80  # of memory, for each character of the training text, while it is counted


@dataclass(frozen=True)
class _Counts:
    """How often the training text has each n-gram of one order n.

    A context of n - 1 characters is known by its number: its place among the distinct (n - 1)-grams, or -1 where the
    training text does not have it. `ngrams` are the codes of the distinct n-grams, sorted: the context's number times
    K, plus the id of the last character. Numbers are below the text's length, so codes do not overflow whatever n is.
    """

    vocabulary_size: int
    ngrams: _Numbers  # (N,)
    times: _Numbers  # c(h, y) of each n-gram, (N + 1,), and 0 at -1
    totals: _Numbers  # c(h) of each context, (contexts + 1,), and 0 at -1
    followers: _Numbers  # N1+(h) of each context, (contexts + 1,), and 1 where c(h) = 0

    @classmethod
    def of(cls, contexts: _Numbers, ids: IntArray, vocabulary_size: int) -> tuple["_Counts", _Numbers]:
        """The counts of a text's n-grams, from the contexts and the last characters; and the number of each n-gram."""
        ngrams, numbers = distinct_and_ranks(contexts * vocabulary_size + ids)
        times = np.bincount(numbers)
        seen, size = ngrams // vocabulary_size, int(contexts.max()) + 2
        totals = np.bincount(seen, times, size).astype(np.int64)  # exact: a float64 holds counts up to 2^53
        followers = np.maximum(np.bincount(seen, minlength=size), 1)
        return cls(vocabulary_size, ngrams, np.append(times, 0), totals, followers), numbers

    def number(self, contexts: _Numbers, ids: IntArray) -> _Numbers:
        """The numbers of the n-grams that these contexts and characters make, -1 for unknown ones."""
        codes = contexts * self.vocabulary_size + ids
        places = np.searchsorted(self.ngrams, codes)
        known = self.ngrams[np.minimum(places, len(self.ngrams) - 1)] == codes
        return np.where(known, places, -1)

    def interpolate(self, contexts: _Numbers, ids: IntArray, lower: Vector) -> Vector:
        """p_n of these characters after these contexts, from the p_{n-1} of the same."""
        followers = self.followers[contexts]
        times = self.times[self.number(contexts, ids)]
        probabilities: Vector = (times + followers * lower) / (self.totals[contexts] + followers)
        return probabilities


class NGrams:
    """The n-gram models of all orders up to one, of a training text.

    Each order is interpolated with the next lower one, down to the uniform distribution, so that every character has a
    probability above 0:

        p_n(y | h) = (c(h, y) + N1+(h) p_{n-1}(y | h')) / (c(h) + N1+(h))        p_0(y) = 1 / K

    where h is the n - 1 characters before y, h' is h without its first character, c counts occurrences in the training
    text, c(h) = Σ_y c(h, y), and N1+(h) is the number of distinct characters that follow h there. A context that
    the training text does not have, or that has no n - 1 characters, leaves p_n = p_{n-1}.

    Source: Witten and Bell, "The zero-frequency problem", IEEE Trans. Inf. Theory 37(4), 1991, method C; in this
    interpolated form Chen and Goodman, "An empirical study of smoothing techniques for language modeling", TR-10-98,
    Harvard University, 1998.

    >>> model = NGrams(np.array([0, 1, 0, 1]), vocabulary_size=2, order=2)
    >>> model.distribution(np.array([0]))  # 1 followed 0 twice: (2 + 1 · 1/2) / (2 + 1)
    array([0.16666667, 0.83333333])
    """

    def __init__(self, ids: IntArray, *, vocabulary_size: int, order: int) -> None:
        """Count the n-grams of a training text `ids` (n,), K = `vocabulary_size`, up to an `order` of 0 or more.

        Raises DataError if the text has fewer than `order` characters, and so no n-gram.
        """
        if len(ids) < order:
            raise DataError(f"the training text must have {order} characters or more, got {len(ids)}")
        self.vocabulary_size, self.order = vocabulary_size, order
        self._counts: list[_Counts] = []
        contexts = np.zeros(len(ids), np.int64)  # of no characters
        for n in range(1, order + 1):
            counts, numbers = _Counts.of(contexts, ids[n - 1 :], vocabulary_size)
            self._counts.append(counts)
            contexts = numbers[:-1]

    def losses_by_order(self, ids: IntArray) -> Iterator[Vector]:
        """The losses of a text by the uniform model, the 1-gram model, and so on up to the order.

        Each is -log p of the characters of `ids` (n,) from the second on, in nats, shape (n - 1,), as a network that
        starts from a zero state predicts them: the context begins with the text.
        """
        for probabilities in self._probabilities(ids, slice(1, -1), ids[1:]):
            yield -np.log(probabilities)

    def losses(self, ids: IntArray) -> Vector:
        """The losses of a text by the model of the highest order, as in `losses_by_order`.

        >>> NGrams(np.array([0, 1, 0, 1]), vocabulary_size=2, order=2).losses(np.array([0, 1, 1]))
        array([0.18232156, 1.38629436])
        """
        *_, losses = self.losses_by_order(ids)
        return losses

    def distribution(self, context: IntArray) -> Vector:
        """The probabilities of all characters after a context (n,) of any length, shape (K,)."""
        everything: Any = np.arange(self.vocabulary_size)
        *_, probabilities = self._probabilities(context, slice(-1, None), everything)
        return probabilities

    def _probabilities(self, ids: IntArray, at: slice, targets: IntArray) -> Iterator[Vector]:
        """p_0, p_1, … of the targets, each after the characters of `ids` before its place.

        `at` selects the places, of the len(ids) + 1 before, between and behind the characters.
        """
        probabilities = np.full(len(targets), 1 / self.vocabulary_size)
        yield probabilities
        contexts = np.zeros(len(ids) + 1, np.int64)
        for counts in self._counts:
            probabilities = counts.interpolate(contexts[at], targets, probabilities)
            yield probabilities
            contexts = np.append(-1, counts.number(contexts[:-1], ids))  # no character stands before the first


def baselines(training_ids: IntArray, validation_ids: IntArray, *, vocabulary_size: int, order: int) -> Baselines:
    """How well the uniform model and the n-gram models up to an `order` predict a validation text.

    The models count the n-grams of `training_ids` (n,). They predict the characters of `validation_ids` (m,) from the
    second on, as `evaluate` lets a network do. Where these texts are too short for something, `left_out` says so.
    """
    training_size, size = len(training_ids), len(validation_ids)
    scored = max(0, size - 1)
    if not scored:
        reason = f"all models: the validation text must have 2 characters or more, got {size}"
        return Baselines(models=[], characters=0, unseen=0, left_out=[reason])
    highest = min(order, training_size)
    model = NGrams(training_ids, vocabulary_size=vocabulary_size, order=highest)
    scores = [
        BaselineScore.at_order(n, float(losses.mean()))
        for n, losses in enumerate(model.losses_by_order(validation_ids))
    ]
    left_out = [
        f"{n}-gram: the training text must have {n} characters or more, got {training_size}"
        for n in range(highest + 1, order + 1)
    ]
    unseen = np.bincount(training_ids, minlength=vocabulary_size)[validation_ids[1:]] == 0
    return Baselines(models=scores, characters=scored, unseen=int(unseen.sum()), left_out=left_out)
