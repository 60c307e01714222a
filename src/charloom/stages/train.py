"""train: the network learns the training text; it can be interrupted at any moment, and goes on where it was."""

import hashlib
import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from charloom.adapters import command
from charloom.adapters.configuration import Config, OptimizerConfig, advice, project_root
from charloom.adapters.files import archive, artifacts, corpus, models, parameters
from charloom.adapters.files.work_folder import WorkFolder
from charloom.adapters.process import signals
from charloom.adapters.progress import Progress
from charloom.core.common.errors import DataError, StateError, hint
from charloom.core.network import Dropout, Model, Network
from charloom.core.training import OPTIMIZERS, SCHEDULES, Optimizer, Training, WorkerPool, warm_up
from charloom.stages.recorder import Recorder


def run(config: Config, inp: Path, out: Path) -> None:
    """Write the last and the best model (the same without validations), the history, samples, warnings and metrics.

    Goes on from the last checkpoint of the same training, if there is one. Raises Interrupted, with a checkpoint kept,
    after a signal.
    """
    text = corpus.load(inp)
    weight_seed, sample_seed, dropout_seed = np.random.SeedSequence(config.seed).spawn(3)
    network = _network(config, len(text.vocabulary))
    network.initialize(config.model.init_scale, rng=np.random.default_rng(weight_seed))
    training = _training(config, network, text, dropout_seed)
    if seconds := config.train.max_seconds:
        limit = f"the training ends after {seconds:g} s at the latest; how far it comes by then depends on the machine"
        print(f"{limit}: such a run is not reproducible bit for bit", file=sys.stderr)
    out.mkdir(parents=True, exist_ok=True)  # where this fails, it fails before the work
    with (
        command.blas_threads(config.train.threads),
        np.errstate(all="ignore"),  # what is not finite is found, and said once
        WorkFolder(project_root(), fingerprint(config, text)) as work,
        command.started(training.pool),
    ):
        recorder = Recorder(config, training, text, work, rng=np.random.default_rng(sample_seed))
        recorder.resume()
        try:
            _train(training, recorder, config.train.steps)
        except StateError as error:
            hints = [advice.on_divergence(config, started_high=training.diagnostics.started_high)]
            if kept := work.last_checkpoint:
                hints.append(f"the checkpoint {kept} is from before")
            raise StateError("; ".join([str(error), *hints])) from None
        models.save(Model(network, text.vocabulary), artifacts.MODEL.path(out))
        if training.best_step:
            network.parameters.vector[:] = training.best
        models.save(Model(network, text.vocabulary), artifacts.BEST_MODEL.path(out))
        recorder.write(out)
        parameters.write("train", config.stage_parameters("train"), inp, out)
        artifacts.seal("train", out)
        work.discard()


def fingerprint(config: Config, text: corpus.Corpus) -> str:
    """A hash of everything that shapes the result of the training."""
    values = config.parameters()
    shaping: dict[str, Any] = {key: values[key] for key in ("seed", "kernels", "model", "optimizer", "train")}
    shaping["corpus"] = {key: value for key, value in asdict(text.summary).items() if key != "path"}
    shaping["corpus"] |= text.checksums
    shaping["format"] = archive.FORMATS["checkpoint"]
    sha256 = hashlib.sha256(json.dumps(shaping, sort_keys=True).encode())
    return sha256.hexdigest()[:16]


def _train(training: Training, recorder: Recorder, steps: int) -> None:
    """Update until the recorder says that it was the last time; after a signal, save and raise Interrupted."""
    with Progress(training, steps) as progress, signals.held_back():
        try:
            if training.step and recorder.record(progress):  # the checkpoint may be from within that
                return
            for _ in training.updates():
                if recorder.record(progress):
                    return
                signals.check()
        except signals.Interrupted:
            recorder.save()
            raise


def _network(config: Config, vocabulary_size: int) -> Network:
    model, options = config.model, config.train
    sizes = model.model_dump(include={"hidden_size", "cell", "layers", "dtype"}) | {"vocabulary_size": vocabulary_size}
    T, B = options.seq_length, options.batch_size
    lower = f"model.hidden_size ({model.hidden_size}), model.layers ({model.layers}), train.batch_size ({B})"
    bytes_per_worker = Network.memory(T, B // options.workers, **sizes) + command.WORKER_MEMORY
    advice = f"lower {lower}, train.seq_length ({T}) or train.workers ({options.workers})"
    command.require_memory(options.workers * bytes_per_worker, "the training", advice)
    return Network(**sizes)


def _training(config: Config, network: Network, text: corpus.Corpus, dropout_seed: np.random.SeedSequence) -> Training:
    model, options = config.model, config.train
    dropout = Dropout(model.dropout_by_layer(), tuple(dropout_seed.generate_state(4).tolist()))
    with hint(DataError, "give a longer text, or lower train.seq_length or train.batch_size"):
        return Training(
            network,
            _optimizer(config.optimizer, network),
            text.train_ids,
            **options.model_dump(include={"seq_length", "batch_size", "smoothing", "steps", "max_seconds"}),
            learning_rate=partial(_learning_rate, config.optimizer),
            pool=WorkerPool(
                network, dropout, workers=options.workers, initializer=partial(command.start_worker, options.threads)
            ),
        )


def _optimizer(options: OptimizerConfig, network: Network) -> Optimizer:
    rule = OPTIMIZERS[options.name]
    keywords = options.model_dump(include={"learning_rate", "clip_value", "clip_norm", *rule.options})
    return rule(network.parameters.vector.size, network.dtype, **keywords)


def _learning_rate(options: OptimizerConfig, step: int, progress: float) -> float:
    factor = SCHEDULES[options.schedule](progress, final_fraction=options.final_fraction, periods=options.periods)
    return options.learning_rate * factor * warm_up(step, options.warmup_steps)


if __name__ == "__main__":
    command.stage_main(run)
