"""Which faults the gradient check finds: which method names which tensor, with every entry, with a few, and otherwise.

    python -m tests.gate_score                   # every fault; some minutes on two cores
    python -m tests.gate_score --only "GRU: da"  # those with this text in their names

Beside the check stands the way in which such a gradient is often checked: at the initial weights with biases of 0, one
stream, no dropout, a central difference for the first 20 entries of each tensor, after the gradient has been clipped to
±5. Prints Markdown. The exit code is 1 if a fault that makes the gradient wrong passes the full check.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from charloom.core.cells import CELLS
from charloom.core.gradcheck import Window, check, second_window, well_conditioned
from charloom.core.gradcheck.numerical import analytic_gradient, numerical_gradient
from charloom.core.network import Network
from tests.faults import FAULTS, GRADIENT_FAULTS, Edits
from tests.mutations import PROCESSES, ROOT, run_planted

WAYS = ("full", "fast", "first 20")
STEP, THRESHOLD = 1e-5, 1e-9
K, m, T, B = 7, 8, 20, 2
FAST_ENTRIES = 5
FIRST, CLIP, RELATIVE = 20, 5.0, 1e-4  # 20 times the largest relative error that such a check usually reports

Found = dict[str, list[str]]
"""By way, what names the fault: "central W", "complex_step b", "windows"."""


def probe(cells: Iterable[str], layers: Iterable[int] = (1, 2)) -> Found:
    """What each way finds with the source as it is imported."""
    found: dict[str, set[str]] = {way: set() for way in WAYS}
    for cell in cells:
        for count in layers:
            network = Network(vocabulary_size=K, hidden_size=m, cell=cell, layers=count, dtype=np.float64)
            for way, entries in (("full", None), ("fast", FAST_ENTRIES)):
                rng = np.random.default_rng(1)
                network.initialize(0.7, rng=rng)
                network.parameters.vector += rng.normal(0, 0.1, network.parameters.vector.size)
                stable = well_conditioned(network, _window(network, rng), THRESHOLD, rng=rng)
                second, problems = second_window(network, stable)
                checked = check(network, second, STEP, THRESHOLD, rng=rng, central=entries, complex_step=entries)
                problems += checked.problems
                found[way] |= {_name(problem) for problem in problems}
        found["first 20"] |= _first_entries(cell)
    return {way: sorted(names) for way, names in found.items()}


def _window(network: Network, rng: np.random.Generator) -> Window:
    inputs, targets = rng.integers(0, K - 1, (2, 2 * T, B))
    masks = [(rng.random((2 * T * B, m)) >= 0.3) / 0.7 for _ in range(network.layers)]
    return Window(inputs, targets, rng.uniform(-0.8, 0.8, network.zero_state(B).shape), masks)


def _name(problem: str) -> str:
    named = re.match(r"(\w+) finds (?:along a random direction of )?([\w.]+)", problem)
    return f"{named[1]} {named[2]}" if named else "windows"


def _first_entries(cell: str) -> set[str]:
    network, rng = Network(vocabulary_size=K, hidden_size=m, cell=cell, dtype=np.float64), np.random.default_rng(1)
    network.initialize(0.1, rng=rng)
    inputs, targets = rng.integers(0, K - 1, (2, T, 1))
    window = Window(inputs, targets, network.zero_state(1))
    clipped = np.clip(analytic_gradient(network, window)[1], -CLIP, CLIP)
    found = set()
    for name, part in network.parameters.slices.items():
        indices = range(part.start, min(part.start + FIRST, part.stop))
        g_n = np.clip(numerical_gradient(network, window, "central", STEP, indices=indices), -CLIP, CLIP)
        g_a = clipped[part][:FIRST]
        if not (np.abs(g_a - g_n) <= RELATIVE * np.maximum(np.abs(g_a), np.abs(g_n)) + 1e-8).all():
            found.add(f"central {name}")
    return found


def score(edits: Edits, *cells: str) -> Found:
    """What each way finds with these edits in place, in networks of all cells or of some."""
    done = run_planted(edits, "-m", "tests.gate_score", "--probe", *(cells or sorted(CELLS)))
    if done.returncode:
        return {way: ["stops"] for way in WAYS}  # with a traceback; a source that cannot be imported, too
    result: Found = json.loads(done.stdout)
    return result


def makes_the_gradient_wrong(name: str) -> bool:
    """Whether forward and backward pass disagree, as `docs/mutations.md` records it for the faults of the source."""
    page = (ROOT / "docs" / "mutations.md").read_text(encoding="utf-8")
    return name in GRADIENT_FAULTS or f"| {name} | finds it |" in page


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant faults in a copy of the source, and print what finds each."""
    parser = argparse.ArgumentParser(prog="python -m tests.gate_score", description=main.__doc__)
    parser.add_argument("--only", metavar="TEXT", default="", help="the faults with this text in their names")
    parser.add_argument("--probe", nargs="+", metavar="CELL", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.probe:
        with np.errstate(all="ignore"):
            print(json.dumps(probe(args.probe)))
        return 0
    faults = {name: edits for name, edits in (FAULTS | GRADIENT_FAULTS).items() if args.only in name}
    print("| fault | every entry | a few and random directions | the first 20, clipped |\n|---|---|---|---|")
    counts = dict.fromkeys(WAYS, 0)
    wrong_gradients = [name for name in faults if makes_the_gradient_wrong(name)]
    with ThreadPoolExecutor(PROCESSES) as pool:
        for name, found in zip(faults, pool.map(score, faults.values()), strict=True):
            print(f"| {name} | " + " | ".join(_cell(found[way]) for way in WAYS) + " |", flush=True)
            if name in wrong_gradients:
                counts = {way: counts[way] + bool(found[way]) for way in WAYS}
    wrong = len(wrong_gradients)
    print(f"\nOf {wrong} that make the gradient wrong: " + ", ".join(f"{way} {counts[way]}" for way in WAYS))
    return int(counts["full"] < wrong)


def _cell(names: list[str]) -> str:
    """The tensors by method, in short."""
    by_method: dict[str, list[str]] = {}
    for name in names:
        method, _, tensor = name.partition(" ")
        by_method.setdefault(method.replace("complex_step", "complex"), []).append(tensor)
    return "; ".join(f"{method} {' '.join(tensors)}".strip() for method, tensors in by_method.items()) or "–"


if __name__ == "__main__":
    sys.exit(main())
