"""gradcheck: a gate. No training on a gradient that is not the gradient of the loss."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from charloom.adapters.command import process_pool, require_memory, stage_main
from charloom.adapters.configuration import Config
from charloom.adapters.files import artifacts, corpus, parameters
from charloom.adapters.process.workers import WORKER_MEMORY, blas_threads
from charloom.adapters.progress import counted
from charloom.core import gradcheck
from charloom.core.common.errors import DataError, GradientError
from charloom.core.common.records import ErrorRow, GradientErrors, MethodErrors
from charloom.core.common.reference import reference_errors
from charloom.core.common.types import Ids
from charloom.core.network import Dropout, Network

_LARGEST_FULL_CHECK = 50_000  # parameters; with gradcheck.mode=auto, larger networks are checked in a sample


def run(config: Config, inp: Path, out: Path) -> None:
    """Check the gradient at the initial weights, and at large ones with biases; write the errors and tables to `out`.

    Raises GradientError, after the table has been printed and, where all errors are finite, written, if the gradient is
    wrong.
    """
    options = config.gradcheck
    text = corpus.load(inp)
    rng = np.random.default_rng(options.seed)
    network = _network(config, len(text.vocabulary))
    whole = _window(config, network, text.train_ids, rng)
    checks, problems, notes = {}, [], []
    with (
        blas_threads(1),
        np.errstate(all="ignore"),  # what is not finite is outside every bound
        process_pool(options.workers) as plain_map,
        counted(plain_map, "gradient check") as map,
    ):
        for weights in ("initial", "large"):
            _initialize(config, network, weights, rng)
            window, checks[weights] = _check(config, network, whole, weights, rng=rng, map=map)
            problems += [f"at {weights} weights {problem}" for problem in checks[weights].problems]
            if len(window.inputs) < options.seq_length:
                notes.append(
                    f"At {weights} weights the network amplifies rounding so much that a gradient over "
                    f"{options.seq_length} time steps cannot be verified; {len(window.inputs)} were checked."
                )
            if weights == "initial":
                sweep = gradcheck.step_sweep(network, window, rng=rng, map=map)

    errors = {weights: check.errors for weights, check in checks.items()}
    reference = reference_errors(config.model.cell, config.model.layers)
    print(gradcheck.table(errors, reference), *notes, sep="\n")
    rows = list(_rows(errors))
    if all(math.isfinite(row.max_absolute_error) for row in rows):  # JSON has no other numbers
        initial, large = errors.values()
        found = GradientErrors(not problems, options.step, options.threshold, **vars(initial), large_weights=large)
        artifacts.ERRORS.write(out, found)
        artifacts.ERROR_TABLE.write(out, rows)
        artifacts.STEP_SWEEP.write(out, sweep)
        parameters.write("gradcheck", config.stage_parameters("gradcheck"), inp, out)
        artifacts.seal("gradcheck", out)
    if problems:
        raise GradientError("the gradient is wrong: " + "; ".join(problems))
    checked = "every entry is within its bound."
    if not _is_full(config, network):
        checked = (
            f"up to {options.entries} entries of each tensor, of {network.parameters.vector.size:,} in all, and random "
            "directions are within their bounds; gradcheck.mode=full checks every entry."
        )
    print(f"The gradient is the gradient of the loss: {checked}")


def _check(
    config: Config,
    network: Network,
    whole: gradcheck.Window,
    weights: str,
    *,
    rng: np.random.Generator,
    map: gradcheck.Map,
) -> tuple[gradcheck.Window, gradcheck.Check]:
    """The part of the window that can be checked at these weights, and what the check finds on it."""
    options = config.gradcheck
    part = gradcheck.well_conditioned(network, whole, options.threshold, rng=rng)
    window, wrong_losses = gradcheck.second_window(network, part)
    sampled = None if _is_full(config, network) else options.entries
    check = gradcheck.check(
        network,
        window,
        options.step,
        options.threshold,
        rng=rng,
        central=sampled if weights == "initial" else options.entries,
        complex_step=sampled,
        map=map,
    )
    return window, replace(check, problems=wrong_losses + check.problems)


def _is_full(config: Config, network: Network) -> bool:
    mode, size = config.gradcheck.mode, network.parameters.vector.size
    return mode == "full" or (mode == "auto" and size <= _LARGEST_FULL_CHECK)


def _network(config: Config, vocabulary_size: int) -> Network:
    options = config.gradcheck
    hidden_size = options.hidden_size or config.model.hidden_size
    sizes = config.model.model_dump(include={"cell", "layers"})
    sizes |= {"vocabulary_size": vocabulary_size, "hidden_size": hidden_size}
    T, B = options.seq_length, options.batch_size
    copies = gradcheck.Copies.at_once(T, B, **sizes)
    bytes_per_worker = Network.memory(T, B * copies, **sizes, dtype=np.complex128) + WORKER_MEMORY
    lower = f"gradcheck.hidden_size ({hidden_size}), gradcheck.seq_length ({T}), gradcheck.batch_size ({B})"
    advice = f"lower {lower} or gradcheck.workers ({options.workers})"
    require_memory(options.workers * bytes_per_worker, "the gradient check", advice)
    return Network(**sizes, dtype=np.float64)


def _initialize(config: Config, network: Network, weights: str, rng: np.random.Generator) -> None:
    """Initial weights like the training's, or large ones with biases: at 0, a fault in what they are part of passes."""
    if weights == "initial":
        network.initialize(config.model.init_scale, rng=rng)
        return
    scale = config.gradcheck.large_scale * math.sqrt(100 / network.hidden_size)
    network.initialize(scale, rng=rng)
    for array in network.parameters.values():
        if array.ndim == 1:
            array += rng.normal(0.0, scale, array.shape)


def _window(config: Config, network: Network, ids: Ids, rng: np.random.Generator) -> gradcheck.Window:
    """Two windows in one, of the beginning of the text, with the dropout masks of a training and a random state."""
    T, B = 2 * config.gradcheck.seq_length, config.gradcheck.batch_size
    if len(ids) < T * B + 1:
        raise DataError(
            f"the training text must have {T * B + 1} characters or more to check the gradient on {B} streams of two "
            f"windows of {T // 2}, got {len(ids)}; give a longer text or lower gradcheck.seq_length"
        )
    streams = np.stack([ids[b * T : b * T + T + 1] for b in range(B)], axis=1)  # (T + 1, B)
    state = rng.uniform(-0.5, 0.5, network.zero_state(B).shape)
    dropout = Dropout(config.model.dropout_by_layer(), (config.gradcheck.seed,))
    masks = dropout.masks((T * B, network.hidden_size), np.float64)
    return gradcheck.Window(streams[:-1], streams[1:], state, masks)


def _rows(errors: Mapping[str, MethodErrors]) -> Iterator[ErrorRow]:
    for weights, methods in errors.items():
        for method, tensors in vars(methods).items():
            for tensor, found in tensors.items():
                figures = {key: value for key, value in asdict(found).items() if key != "worst"}
                yield ErrorRow(weights, method, tensor, **figures)


if __name__ == "__main__":
    stage_main(run)
