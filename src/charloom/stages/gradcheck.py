"""gradcheck: a gate. No training on a gradient that is not the gradient of the loss."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from charloom.adapters.command import require_memory, stage_main, start_worker
from charloom.adapters.configuration import Config
from charloom.adapters.files import artifacts, corpus
from charloom.core import gradcheck
from charloom.core.common.errors import DataError, GradientError
from charloom.core.common.records import ErrorRow, GradientErrors, MethodErrors, StepSizeError
from charloom.core.common.types import Vector
from charloom.core.network.network import Network


def run(config: Config, inp: Path, out: Path) -> None:
    """Check every entry at the initial and at large weights; write errors.json, errors.csv, step_sweep.csv into `out`.

    Raises GradientError, after the table has been printed and written, if an entry is outside its bound.
    """
    options = config.gradcheck
    text = corpus.load(inp / "prepare")
    rng = np.random.default_rng(config.seed)
    sizes: dict[str, Any] = {
        "vocabulary_size": len(text.vocabulary),
        "hidden_size": options.hidden_size or config.model.hidden_size,
        "cell": config.model.cell,
        "layers": config.model.layers,
    }
    of_worker = Network.memory(**sizes, dtype=np.complex128, T=options.seq_length, B=options.batch_size)
    require_memory(
        options.workers * of_worker,
        "the gradient check",
        f"check a smaller network of the same kind: lower gradcheck.hidden_size ({sizes['hidden_size']})",
    )
    network = Network(**sizes, dtype=np.float64)
    window = _window(network, text.train_ids, options.seq_length, options.batch_size, rng)
    with threadpool_limits(1), _shared_out(options.workers) as map:
        network.initialize(config.model.init_scale, rng=rng)
        initial = gradcheck.check(network, window, options.step, options.threshold, map=map)
        sweep = gradcheck.step_sweep(network, window, rng=rng, map=map)
        network.initialize(options.large_scale, rng=rng)
        large = gradcheck.check(network, window, options.step, options.threshold, map=map)

    checks = {"initial": initial, "large": large}
    _write(out, checks, sweep, options.step, options.threshold)
    print(gradcheck.table(checks))
    if problems := [
        f"at {weights} weights {problem}" for weights, check in checks.items() for problem in check.problems
    ]:
        raise GradientError("the gradient is wrong: " + "; ".join(problems))
    print("The gradient is the gradient of the loss: every entry is within its bound.")


@contextmanager
def _shared_out(workers: int) -> Iterator[Callable[..., Iterable[Vector]]]:
    """A `map` that shares its work among processes, or the plain one for a single worker."""
    if workers == 1:
        yield map
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=start_worker) as pool:
        yield pool.map


def _window(network: Network, ids: np.ndarray, T: int, B: int, rng: np.random.Generator) -> gradcheck.Window:
    if len(ids) < T * B + 1:
        raise DataError(
            f"the training text has {len(ids)} characters, and {B} windows of {T} to check the gradient on need "
            f"{T * B + 1}; give a longer text or lower gradcheck.seq_length"
        )
    read = np.stack([ids[b * T : b * T + T + 1] for b in range(B)], axis=1)  # (T + 1, B)
    state = rng.uniform(-0.5, 0.5, network.zero_state(B).shape)
    return gradcheck.Window(read[:-1], read[1:], state)


def _write(
    out: Path, checks: dict[str, gradcheck.Check], sweep: Sequence[StepSizeError], step: float, threshold: float
) -> None:
    artifacts.ERRORS.write(
        out,
        GradientErrors(
            passed=not any(check.problems for check in checks.values()),
            step=step,
            threshold=threshold,
            **checks["initial"].errors,
            large_weights=MethodErrors(**checks["large"].errors),
        ),
    )
    rows = []
    for weights, check in checks.items():
        for method, of_tensor in check.errors.items():
            for tensor, found in of_tensor.items():
                figures = {key: value for key, value in asdict(found).items() if key != "worst"}
                rows.append(ErrorRow(weights, method, tensor, **figures))
    artifacts.ERROR_TABLE.write(out, rows)
    artifacts.STEP_SWEEP.write(out, sweep)


if __name__ == "__main__":
    stage_main(run)
