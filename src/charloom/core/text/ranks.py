"""The ranks of numbers among the distinct ones."""

import numpy as np
from numpy.typing import NDArray


def distinct_and_ranks(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct values in their order, and the rank of each value among them, from 0, (n,).

    As `np.unique` with `return_inverse` finds them. That takes an unstable sort, whose AVX2 instructions end in a
    segmentation fault on a CPU that QEMU 7.2 emulates, where the results of other CPUs are reproduced.

    >>> [found.tolist() for found in distinct_and_ranks(np.array([7, 3, 7, 5]))]
    [[3, 5, 7], [2, 0, 2, 1]]
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.concatenate(([True], ordered[1:] != ordered[:-1]))[: len(values)]  # of each distinct value
    ranks = np.empty(len(values), np.int64)
    ranks[order] = np.cumsum(first) - 1
    return ordered[first], ranks
