"""How many right gradients the gradient check refuses: cells, sizes, windows, layers, weights and seeds.

    python benchmarks/right_gradients.py                     # all cases: hours of processor time
    python benchmarks/right_gradients.py --every 11          # a sample of them, over all sizes and seeds
    python benchmarks/right_gradients.py --sizes 16,64,200   # those with so many units; 512 take longest

A few entries of each tensor are checked by both methods, and random directions of all. The gradient is right in all
cases (the tests compare it with other implementations), so that none may be refused. Where the network amplifies
rounding beyond what leaves anything to verify, a shorter window is checked, as the stage does it; the table says how
often. Prints Markdown; the exit code is 1 if a gradient is refused.
"""

import argparse
import itertools
import os
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np

from charloom.adapters.command import process_pool
from charloom.adapters.process.workers import blas_threads
from charloom.adapters.progress import counted
from charloom.core.gradcheck import Window, check, second_window, well_conditioned
from charloom.core.network import Network

K, B, ENTRIES = 20, 2, 3
STEP, THRESHOLD = 1e-5, 1e-9
CELLS = ("rnn", "gru", "lstm")
SIZES = (16, 64, 200, 512)  # m
LENGTHS = (1, 5, 25, 100)  # T
LAYERS = (1, 2, 3)
SCALES = (0.01, 0.1, 0.2, "2/√m", 1.0)
SEEDS = (1, 2, 3, 4, 5)

Case = tuple[str, int, int, int, float | str, int]


def refused(case: Case) -> tuple[list[str], bool]:
    """What is wrong with a right gradient, in words; and whether a shorter window had to be checked."""
    cell, m, T, layers, scale, seed = case
    rng = np.random.default_rng(seed)
    network = Network(vocabulary_size=K, hidden_size=m, cell=cell, layers=layers, dtype=np.float64)
    size = 2 / np.sqrt(m) if isinstance(scale, str) else scale
    network.initialize(size, rng=rng)
    for array in network.parameters.values():
        if array.ndim == 1:
            array += rng.normal(0, size, array.shape)
    inputs, targets = rng.integers(0, K, (2, 2 * T, B))
    whole = Window(inputs, targets, rng.uniform(-0.5, 0.5, network.zero_state(B).shape))
    stable = well_conditioned(network, whole, THRESHOLD, rng=rng)
    window, problems = second_window(network, stable)
    problems += check(network, window, STEP, THRESHOLD, rng=rng, central=ENTRIES, complex_step=ENTRIES).problems
    return problems, len(stable.inputs) < 2 * T


def main(arguments: Sequence[str] | None = None) -> int:
    """Check right gradients, and print how many are refused."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--every", metavar="N", type=int, default=1, help="every N-th case alone")
    parser.add_argument("--start", metavar="N", type=int, default=0, help="leave out the cases before this one")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="units, with commas (default: %(default)s)")
    args = parser.parse_args(arguments)
    sizes = [int(size) for size in args.sizes.split(",")]
    cases = list(itertools.product(CELLS, sizes, LENGTHS, LAYERS, SCALES, SEEDS))[args.start :: args.every]
    counts: dict[tuple[str, int], Counter[str]] = {key: Counter() for key in itertools.product(CELLS, sizes)}
    with blas_threads(1), process_pool(os.cpu_count() or 1) as pool_map, counted(pool_map, "cases") as counted_map:
        for case, (problems, shorter) in zip(cases, counted_map(refused, cases), strict=True):
            counts[case[:2]] += Counter(cases=1, shorter=int(shorter), refused=int(bool(problems)))
            if problems:
                print(f"{case}: {'; '.join(problems)}", file=sys.stderr)
    print("| cell | units | right gradients | checked in a shorter window | refused |\n|---|---|---|---|---|")
    for (cell, m), count in counts.items():
        print(f"| {cell} | {m} | {count['cases']} | {count['shorter']} | {count['refused']} |")
    return int(any(count["refused"] for count in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
