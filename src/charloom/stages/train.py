"""train: the network learns the training text, and can be stopped at any moment and go on."""

import hashlib
import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from charloom.adapters.command import Interrupted, held_back_signals, require_memory, stage_main, start_worker
from charloom.adapters.configuration import Config, OptimizerConfig, TrainConfig, project_root
from charloom.adapters.files import archive, artifacts, corpus, history, models
from charloom.adapters.files.work_folder import WorkFolder
from charloom.adapters.progress import Progress
from charloom.core.common.errors import StateError
from charloom.core.network.model import Model
from charloom.core.network.network import Network
from charloom.core.training.optimizers import OPTIMIZERS, Optimizer
from charloom.core.training.schedules import SCHEDULES, warm_up
from charloom.core.training.training import Training, evaluate
from charloom.core.training.workers import Crew, Dropout


def run(config: Config, inp: Path, out: Path) -> None:
    """Write model.npz, best.npz (the same without validations), history.csv, samples.jsonl and metrics.json into `out`.

    Goes on from the last checkpoint of the same training, if there is one. Raises Interrupted, with a checkpoint kept,
    where a signal came.
    """
    text = corpus.load(inp / "prepare")
    sizes: dict[str, Any] = {
        "vocabulary_size": len(text.vocabulary),
        "hidden_size": config.model.hidden_size,
        "cell": config.model.cell,
        "layers": config.model.layers,
        "dtype": config.model.dtype,
    }
    _require_memory(config.train, sizes)
    of_weights, of_samples, of_dropout = np.random.SeedSequence(config.seed).spawn(3)
    network = Network(**sizes)
    network.initialize(config.model.init_scale, rng=np.random.default_rng(of_weights))
    dropout = Dropout(
        [config.model.dropout] * (config.model.layers - 1) + [config.model.output_dropout],
        tuple(of_dropout.generate_state(4).tolist()),
    )
    crew = Crew(
        network,
        dropout,
        seq_length=config.train.seq_length,
        batch_size=config.train.batch_size,
        workers=config.train.workers,
        initializer=partial(start_worker, config.train.threads),
    )
    training = Training(
        network,
        _optimizer(config.optimizer, network),
        text.train_ids,
        seq_length=config.train.seq_length,
        batch_size=config.train.batch_size,
        smoothing=config.train.smoothing,
        steps=config.train.steps,
        max_seconds=config.train.max_seconds,
        learning_rate=partial(_learning_rate, config.optimizer),
        crew=crew,
    )
    if config.train.max_seconds:
        print(
            f"the training ends after {config.train.max_seconds:g} s at the latest; how far it comes by then "
            "depends on the machine: such a run is not reproducible bit for bit",
            file=sys.stderr,
        )
    out.mkdir(parents=True, exist_ok=True)  # where this fails, it fails before the work
    with (
        threadpool_limits(config.train.threads),
        np.errstate(all="ignore"),  # what is not finite is found, and said once
        WorkFolder(project_root(), fingerprint(config, text)) as work,
        crew,
    ):
        _train(config.train, training, text, np.random.default_rng(of_samples), work)
        models.save(Model(network, text.vocabulary), artifacts.MODEL.path(out))
        if training.best_step:
            network.parameters.vector[:] = training.best
        models.save(Model(network, text.vocabulary), artifacts.BEST_MODEL.path(out))
        history.write(out, work.history, training, _stopped(config.train, training))
        work.discard()


def fingerprint(config: Config, text: corpus.Corpus) -> str:
    """A hash of everything that shapes the result of the training."""
    values = config.parameters()
    shaping: dict[str, Any] = {key: values[key] for key in ("seed", "model", "optimizer", "train")}
    shaping["corpus"] = {key: value for key, value in asdict(text.summary).items() if key != "path"}
    shaping["format"] = archive.FORMAT
    sha256 = hashlib.sha256(json.dumps(shaping, sort_keys=True).encode())
    return sha256.hexdigest()[:16]


def _require_memory(options: TrainConfig, sizes: dict[str, Any]) -> None:
    T, B = options.seq_length, options.batch_size
    of_share = Network.memory(**sizes, T=T, B=B // options.workers)
    require_memory(
        options.workers * of_share,
        "the training",
        f"lower model.hidden_size ({sizes['hidden_size']}), train.batch_size ({B}) or train.seq_length ({T})",
    )


def _optimizer(options: OptimizerConfig, network: Network) -> Optimizer:
    rule = OPTIMIZERS[options.name]
    return rule(
        network.parameters.vector.size,
        network.dtype,
        learning_rate=options.learning_rate,
        clip_value=options.clip_value,
        clip_norm=options.clip_norm,
        **{name: getattr(options, name) for name in rule.options},
    )


def _learning_rate(options: OptimizerConfig, step: int, progress: float) -> float:
    factor = SCHEDULES[options.schedule](progress, final_fraction=options.final_fraction, periods=options.periods)
    return options.learning_rate * factor * warm_up(step, options.warmup_steps)


def _train(
    options: TrainConfig,
    training: Training,
    text: corpus.Corpus,
    sample_rng: np.random.Generator,
    work: WorkFolder,
) -> None:
    def save() -> None:
        if not np.isfinite(training.network.parameters.vector).all():
            raise StateError(
                f"a parameter is no longer finite at step {training.step}; the last finite checkpoint is kept; lower "
                "optimizer.learning_rate"
            )
        work.save(training.arrays(), {**training.values(), "sample_rng": sample_rng.bit_generator.state})

    if saved := work.resume():
        training.restore(saved.arrays, saved.values)
        sample_rng.bit_generator.state = saved.values["sample_rng"]
        print(f"going on from step {training.step:,} ({work.path})", file=sys.stderr)

    validates = options.validate_every > 0 and len(text.validation_ids) > 1
    with Progress(training, options.steps) as progress, held_back_signals() as end_if_signalled:

        def validate() -> float:
            loss = evaluate(training.network, text.validation_ids)
            training.note_validation(loss)
            progress.tell_validation(loss)
            return loss

        if _stopped(options, training):
            return
        for update in training.updates():
            step = update.step
            validation = validate() if validates and step % options.validate_every == 0 else None
            last = _stopped(options, training) is not None
            if last and validates and validation is None:
                validation = validate()
            written = None
            if _sample_due(options, step, last):
                length = options.final_sample_length if last else options.sample_length
                written = history.sample_text(training, text.vocabulary, length, rng=sample_rng)
            noted = validation is not None or written is not None
            if noted or last or step == 1 or step % options.log_every == 0:
                work.append(history.row(training, validation, written))
            if last or step % options.checkpoint_every == 0:
                save()
            progress.advance()
            if last:
                break
            try:
                end_if_signalled()
            except Interrupted:  # between two updates; a second signal may fall into one, and is not saved after
                save()
                raise


def _sample_due(options: TrainConfig, step: int, last: bool) -> bool:
    every = options.sample_every
    return every > 0 and (step == 1 or last or (step % every == 0 and step <= options.sample_until))


def _stopped(options: TrainConfig, training: Training) -> str | None:
    """Why the training is at its end, if it is."""
    bound = options.stop_at_smooth_loss
    if training.step >= options.steps:
        return "steps"
    if bound is not None and training.smooth_loss <= bound:
        return "smooth_loss"
    if options.patience and training.validations_since_best >= options.patience:
        return "patience"
    return "max_seconds" if training.progress >= 1 else None


if __name__ == "__main__":
    stage_main(run)
