"""Counting n-grams and scoring a text with them, compared with plain dictionaries in the same run.

    python benchmarks/ngrams.py data/downloads/tinyshakespeare.txt

The first nine tenths of the text are counted, the rest is scored, by the models of orders 0 to 6.
"""

import math
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from charloom.core.text import Vocabulary, baselines  # noqa: E402

ORDER, ROUNDS = 6, 5


def plain_loss(training: str, text: str, vocabulary_size: int) -> float:
    """The mean loss of the text by the model of the highest order, with a dictionary of strings for each order."""
    times = [Counter(training[i : i + n] for i in range(len(training) - n + 1)) for n in range(ORDER + 1)]
    times[0][""] = len(training)
    totals: list[Counter[str]] = [Counter() for _ in range(ORDER)]
    followers: list[Counter[str]] = [Counter() for _ in range(ORDER)]
    for n in range(1, ORDER + 1):
        for ngram, found in times[n].items():
            totals[n - 1][ngram[:-1]] += found
            followers[n - 1][ngram[:-1]] += 1
    loss = 0.0
    for i in range(1, len(text)):
        p = 1 / vocabulary_size
        for n in range(1, min(ORDER, i + 1) + 1):
            context = text[i - n + 1 : i]
            if different := followers[n - 1][context]:
                p = (times[n][context + text[i]] + different * p) / (totals[n - 1][context] + different)
        loss -= math.log(p)
    return loss / (len(text) - 1)


def main() -> None:
    """Print the median time of both, and their ratio; both must find the same loss."""
    path = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "data/corpus.txt"
    text = path.read_text(encoding="utf-8")
    vocabulary, cut = Vocabulary.of(text), len(text) - round(len(text) / 10)
    ids = vocabulary.encode(text)
    seconds: dict[str, list[float]] = {"NumPy": [], "dictionaries": []}
    for _ in range(ROUNDS):
        start = time.perf_counter()
        found = baselines(ids[:cut], ids[cut:], vocabulary_size=len(vocabulary), order=ORDER)
        seconds["NumPy"].append(time.perf_counter() - start)
        start = time.perf_counter()
        expected = plain_loss(text[:cut], text[cut:], len(vocabulary))
        seconds["dictionaries"].append(time.perf_counter() - start)
        if not np.isclose(found.models[-1].nats_per_char, expected, rtol=1e-12):
            raise SystemExit(f"the losses differ: {found.models[-1].nats_per_char} and {expected}")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{len(text):,} characters of {path}, orders 0 to {ORDER}, {ROUNDS} rounds")
    for name, values in seconds.items():
        print(f"{name:12}  {medians[name]:6.2f} s, {min(values):.2f} to {max(values):.2f} s")
    print(f"plain dictionaries take {medians['dictionaries'] / medians['NumPy']:.1f} times as long")


if __name__ == "__main__":
    main()
