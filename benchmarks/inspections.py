"""What part of the processor time of a training its looks inside take.

    python benchmarks/inspections.py

At the reference settings with each cell (m = 100, T = 25, one stream, float64), after a few updates; a look at every
10,000th update is the default (train.inspect_every). The figures depend on the sizes, not on the text.
"""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from charloom.core.network import Network
from charloom.core.training import OPTIMIZERS, Training
from charloom.core.training.inspection import inspect

K, M, T, EVERY = 71, 100, 25, 10_000
UPDATES, LOOKS = 400, 5


def main() -> None:
    """Print the time of an update and of a look, and the percentage that one look in `EVERY` updates takes."""
    rng = np.random.default_rng(1)
    ids = rng.integers(0, K, 130_000).astype(np.uint8)
    for cell in ("rnn", "gru", "lstm"):
        network = Network(vocabulary_size=K, hidden_size=M, cell=cell, dtype=np.float64)
        network.initialize(0.1, rng=rng)
        size = network.parameters.vector.size
        optimizer = OPTIMIZERS["adagrad"](size, "float64", learning_rate=0.01, epsilon=1e-8, clip_value=5.0)
        training = Training(network, optimizer, ids, seq_length=T, batch_size=1, smoothing=0.999)
        updates = training.updates()
        next(updates)
        start = time.process_time()
        for _ in range(UPDATES):
            next(updates)
        update = (time.process_time() - start) / UPDATES
        looks = []
        for _ in range(LOOKS):
            start = time.process_time()
            inspect(training, ids)
            looks.append(time.process_time() - start)
        look = min(looks)
        share = look / (look + EVERY * update)
        print(f"{cell:5} {1e3 * update:.2f} ms for an update, {1e3 * look:.0f} ms for a look: {share:.1%} of the time")


if __name__ == "__main__":
    main()
