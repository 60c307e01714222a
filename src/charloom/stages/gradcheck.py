"""gradcheck: a gate. No training on a gradient that is not the gradient of the loss."""

import math
import multiprocessing
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from charloom.adapters.command import WORKER_MEMORY, blas_threads, require_memory, stage_main, start_worker
from charloom.adapters.configuration import Config
from charloom.adapters.files import artifacts, corpus
from charloom.core import gradcheck
from charloom.core.common.errors import DataError, GradientError
from charloom.core.common.records import ErrorRow, GradientErrors, MethodErrors
from charloom.core.common.types import Ids
from charloom.core.network import Network


def run(config: Config, inp: Path, out: Path) -> None:
    """Check every entry at the initial weights, and at large ones with biases; write the errors and tables to `out`.

    Raises GradientError, after the table has been printed and written, if an entry is outside its bound.
    """
    options = config.gradcheck
    text = corpus.load(inp)
    rng = np.random.default_rng(config.seed)
    network = _network(config, len(text.vocabulary))
    window = _window(network, text.train_ids, options.seq_length, options.batch_size, rng)
    with blas_threads(1), _pool_map(options.workers) as map:
        network.initialize(config.model.init_scale, rng=rng)
        initial = gradcheck.check(network, window, options.step, options.threshold, map=map)
        sweep = gradcheck.step_sweep(network, window, rng=rng, map=map)
        scale = options.large_scale * math.sqrt(100 / network.hidden_size)
        network.initialize(scale, rng=rng)
        for array in network.parameters.values():
            if array.ndim == 1:  # at zero biases, a fault in what they are part of would pass
                array += rng.normal(0.0, scale, array.shape)
        large = gradcheck.check(network, window, options.step, options.threshold, map=map)

    checks = {"initial": initial, "large": large}
    problems = [f"at {weights} weights {problem}" for weights, check in checks.items() for problem in check.problems]
    errors = {weights: check.errors for weights, check in checks.items()}
    found = GradientErrors(
        not problems, options.step, options.threshold, **vars(initial.errors), large_weights=large.errors
    )
    artifacts.ERRORS.write(out, found)
    artifacts.ERROR_TABLE.write(out, list(_rows(errors)))
    artifacts.STEP_SWEEP.write(out, sweep)
    print(gradcheck.table(errors))
    if problems:
        raise GradientError("the gradient is wrong: " + "; ".join(problems))
    print("The gradient is the gradient of the loss: every entry is within its bound.")


def _network(config: Config, vocabulary_size: int) -> Network:
    options = config.gradcheck
    hidden_size = options.hidden_size or config.model.hidden_size
    sizes = config.model.model_dump(include={"cell", "layers"})
    sizes |= {"vocabulary_size": vocabulary_size, "hidden_size": hidden_size}
    T, B = options.seq_length, options.batch_size
    bytes_per_worker = Network.memory(T, B, **sizes, dtype=np.complex128) + WORKER_MEMORY
    advice = (
        f"check a smaller network or window of the same kind: lower gradcheck.hidden_size ({hidden_size}), "
        f"gradcheck.seq_length ({T}), gradcheck.batch_size ({B}) or gradcheck.workers ({options.workers})"
    )
    require_memory(options.workers * bytes_per_worker, "the gradient check", advice)
    return Network(**sizes, dtype=np.float64)


def _window(network: Network, ids: Ids, T: int, B: int, rng: np.random.Generator) -> gradcheck.Window:
    if len(ids) < T * B + 1:
        raise DataError(
            f"the training text must have {T * B + 1} characters or more to check the gradient on {B} windows of {T}, "
            f"got {len(ids)}; give a longer text or lower gradcheck.seq_length"
        )
    streams = np.stack([ids[b * T : b * T + T + 1] for b in range(B)], axis=1)  # (T + 1, B)
    state = rng.uniform(-0.5, 0.5, network.zero_state(B).shape)
    return gradcheck.Window(streams[:-1], streams[1:], state)


@contextmanager
def _pool_map(workers: int) -> Iterator[gradcheck.Map]:
    """A `map` over a pool of processes, or the plain one for a single worker."""
    if workers == 1:
        yield map
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=start_worker) as pool:
        yield pool.map


def _rows(errors: Mapping[str, MethodErrors]) -> Iterator[ErrorRow]:
    for weights, methods in errors.items():
        for method, tensors in vars(methods).items():
            for tensor, found in tensors.items():
                figures = {key: value for key, value in asdict(found).items() if key != "worst"}
                yield ErrorRow(weights, method, tensor, **figures)


if __name__ == "__main__":
    stage_main(run)
