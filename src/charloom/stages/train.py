"""train: the network learns the training text; it can be interrupted at any moment, and goes on where it was."""

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from charloom.adapters import command, tracking, trainings
from charloom.adapters.configuration import Config, advice, project_root
from charloom.adapters.files import archive, artifacts, corpus, models, parameters
from charloom.adapters.files.formats import hash_file
from charloom.adapters.files.work_folder import WorkFolder
from charloom.adapters.process import signals
from charloom.adapters.process.workers import WORKER_MEMORY, blas_threads
from charloom.adapters.progress import Progress
from charloom.core.common.errors import StateError, hint
from charloom.core.network import Model, Network
from charloom.core.training import Training
from charloom.stages.recorder import Recorder


def run(config: Config, inp: Path, out: Path, journal: tracking.Journal | None = None, *, waits: bool = False) -> None:
    """Write the last and the best model (the same without validations), the history, samples, warnings and metrics.

    Goes on from the last checkpoint of the same training, if there is one. Another process that trains the same is
    waited for if `waits`, and an EnvironmentFault if not. Raises Interrupted, with a checkpoint kept, after a signal.
    Where the training is part of a run, `journal` is the run's.
    """
    text = corpus.load(inp)
    initial, initial_sha256 = _initial(config)
    if initial:
        text = corpus.encoded_with(initial.vocabulary, text)
    _require_memory(config, len(text.vocabulary))
    training = trainings.start(config, text.train_ids, len(text.vocabulary), initial.network if initial else None)
    network = training.network
    if seconds := config.train.max_seconds:
        limit = f"the training ends after {seconds:g} s at the latest; how far it comes by then depends on the machine"
        print(f"{limit}: such a run is not reproducible bit for bit", file=sys.stderr)
    out.mkdir(parents=True, exist_ok=True)  # where this fails, it fails before the work
    with (
        blas_threads(config.train.threads),
        np.errstate(all="ignore"),  # what is not finite is found, and said once
        WorkFolder(project_root(), fingerprint(config, text, initial_sha256), waits=waits) as work,
        tracking.live_training(config, work.path.name, out, journal) as journal,
        command.started(training.pool),
    ):
        rng = np.random.default_rng(trainings.seeds(config).samples)
        recorder = Recorder(config, training, text, work, journal, rng=rng)
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
        recorder.write(out, initial_sha256)
        parameters.write("train", config.stage_parameters("train"), inp, out)
        artifacts.seal("train", out)
        work.discard()


def fingerprint(config: Config, text: corpus.Corpus, initial_sha256: str | None = None) -> str:
    """A hash of everything that shapes the result of the training."""
    values = config.parameters()
    shaping: dict[str, Any] = {key: values[key] for key in ("seed", "kernels", "model", "optimizer", "train")}
    shaping["corpus"] = {key: value for key, value in asdict(text.summary).items() if key != "path"}
    shaping["corpus"] |= text.checksums
    shaping["initial"] = initial_sha256
    shaping["format"] = archive.FORMATS["checkpoint"]
    sha256 = hashlib.sha256(json.dumps(shaping, sort_keys=True).encode())
    return sha256.hexdigest()[:16]


def _initial(config: Config) -> tuple[Model | None, str | None]:
    """The model that the training starts from, and the sha256 of its file; None where it starts anew."""
    if config.train.init_from is None:
        return None, None
    path = Path(config.train.init_from)
    with hint(StateError, "set train.init_from to a model file, or to null to start anew"):
        return models.load(path), hash_file(path)


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


def _require_memory(config: Config, vocabulary_size: int) -> None:
    model, options = config.model, config.train
    T, B = options.seq_length, options.batch_size
    lower = f"model.hidden_size ({model.hidden_size}), model.layers ({model.layers}), train.batch_size ({B})"
    sizes = trainings.network_sizes(model, vocabulary_size)
    bytes_per_worker = Network.memory(T, B // options.workers, **sizes) + WORKER_MEMORY
    advice = f"lower {lower}, train.seq_length ({T}) or train.workers ({options.workers})"
    command.require_memory(options.workers * bytes_per_worker, "the training", advice)


if __name__ == "__main__":
    command.stage_main(run)
