"""The training that a configuration describes, at its start, and when it ends. Knows nothing about files."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from charloom.adapters.configuration.schema import ModelConfig, OptimizerConfig, Parameters, TrainConfig
from charloom.adapters.process.workers import start_worker
from charloom.core.common.errors import DataError, StateError, hint
from charloom.core.common.types import Ids
from charloom.core.network import Dropout, Network
from charloom.core.training import OPTIMIZERS, SCHEDULES, Optimizer, Resets, Training, WorkerPool, warm_up


class Seeds(NamedTuple):
    """Those of a training's generators, each spawned from the one seed."""

    weights: np.random.SeedSequence
    samples: np.random.SeedSequence
    dropout: np.random.SeedSequence
    resets: np.random.SeedSequence


def seeds(config: Parameters) -> Seeds:
    """The seeds that a configuration gives its training."""
    return Seeds(*np.random.SeedSequence(config.seed).spawn(4))


def network_sizes(model: ModelConfig, vocabulary_size: int) -> dict[str, Any]:
    """The keyword arguments that make the network."""
    return model.model_dump(include={"hidden_size", "cell", "layers", "dtype"}) | {"vocabulary_size": vocabulary_size}


def start(config: Parameters, ids: Ids, vocabulary_size: int, initial: Network | None = None) -> Training:
    """The training on the text `ids` (n,), at its first update, with the weights of `initial` or new ones.

    Raises DataError for a text that is too short, and StateError where `initial` is another kind of network.
    """
    model, options, drawn = config.model, config.train, seeds(config)
    network = Network(**network_sizes(model, vocabulary_size))
    if initial is None:
        network.initialize(model.init_scale, rng=np.random.default_rng(drawn.weights))
    else:
        _require_same(network, initial)
        network.parameters.vector[:] = initial.parameters.vector
    dropout = Dropout(model.dropout_by_layer(), _key(drawn.dropout))
    with hint(DataError, "give a longer text, or lower train.seq_length or train.batch_size"):
        return Training(
            network,
            _optimizer(config.optimizer, network),
            ids,
            **options.model_dump(include={"seq_length", "batch_size", "smoothing", "steps", "max_seconds"}),
            learning_rate=partial(_learning_rate, config.optimizer),
            resets=Resets(options.reset_probability, _key(drawn.resets)),
            pool=WorkerPool(
                network, dropout, workers=options.workers, initializer=partial(start_worker, options.threads)
            ),
        )


def stopped(training: Training, options: TrainConfig) -> str | None:
    """Why the training is at its end: "steps", "smooth_loss", "patience" or "max_seconds"; None where it is not.

    A training makes one update at least, however little time it has.
    """
    if training.step == 0:
        return None
    bound = options.stop_at_smooth_loss
    if training.step >= options.steps:
        return "steps"
    if bound is not None and training.smooth_loss <= bound:
        return "smooth_loss"
    if options.patience and training.validations_since_best >= options.patience:
        return "patience"
    return "max_seconds" if training.progress >= 1 else None


def _require_same(network: Network, initial: Network) -> None:
    """Raise StateError with all in which the networks differ."""
    expected, found = network.sizes, initial.sizes
    if keys := [key for key in expected if found[key] != expected[key]]:
        must = "the model of train.init_from must have the network that is configured"
        got = ", ".join(f"model.{key}={found[key]} in place of {expected[key]}" for key in keys)
        raise StateError(f"{must}, got {got}; give the configuration the model's values")


def _key(seed: np.random.SeedSequence) -> tuple[int, ...]:
    """What a generator for each training step is seeded with, before the step's number."""
    return tuple(seed.generate_state(4).tolist())


def _optimizer(options: OptimizerConfig, network: Network) -> Optimizer:
    rule = OPTIMIZERS[options.name]
    keywords = options.model_dump(include={"learning_rate", "clip_value", "clip_norm", *rule.options})
    parameters = network.parameters
    return rule(parameters.vector.size, network.dtype, matrices=parameters.matrices, **keywords)


def _learning_rate(options: OptimizerConfig, step: int, progress: float) -> float:
    factor = SCHEDULES[options.schedule](progress, final_fraction=options.final_fraction, periods=options.periods)
    return options.learning_rate * factor * warm_up(step, options.warmup_steps)
