"""train: the network learns the training text, and can be stopped at any moment and go on."""

import csv
import hashlib
import json
import math
import sys
import time
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from charloom import checkpoint, corpus
from charloom.command import Interrupted, held_back_signals, stage_main
from charloom.config import Config, OptimizerConfig, TrainConfig, project_root
from charloom.errors import EnvironmentFault, StateError
from charloom.model import Model
from charloom.network import Network
from charloom.optimizers import OPTIMIZERS, Optimizer
from charloom.schedules import SCHEDULES, warm_up
from charloom.synthesis import sample
from charloom.training import Training, evaluate
from charloom.work_folder import Row, WorkFolder

_SECONDS_BETWEEN_LINES = 10  # of the log, where there is no terminal


def run(config: Config, inp: Path, out: Path) -> None:
    """Write model.npz, best.npz (the same without validations), history.csv, samples.jsonl and metrics.json into `out`.

    Goes on from the last checkpoint of the same training, if there is one. Raises Interrupted, with a checkpoint kept,
    where a signal came.
    """
    text = corpus.load(inp / "prepare")
    _refuse_too_large(config, len(text.vocabulary))
    seeds = np.random.default_rng(config.seed)
    weights_rng, sample_rng, dropout_rng = seeds.spawn(3)
    network = Network(
        vocabulary_size=len(text.vocabulary),
        hidden_size=config.model.hidden_size,
        cell=config.model.cell,
        layers=config.model.layers,
        dtype=config.model.dtype,
    )
    network.initialize(config.model.init_scale, rng=weights_rng)
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
        dropout=[config.model.dropout] * (config.model.layers - 1) + [config.model.output_dropout],
        dropout_rng=dropout_rng,
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
    ):
        _train(config.train, training, text, {"sample": sample_rng, "dropout": dropout_rng}, work)
        Model(network, text.vocabulary).save(out / "model.npz")
        if training.best_step:
            network.parameters.vector[:] = training.best
        Model(network, text.vocabulary).save(out / "best.npz")
        _write(out, work.history, training, config.train)
        work.discard()


def fingerprint(config: Config, text: corpus.Corpus) -> str:
    """A hash of everything that shapes the result of the training."""
    values = config.parameters()
    shaping: dict[str, Any] = {key: values[key] for key in ("seed", "model", "optimizer", "train")}
    shaping["corpus"] = {key: value for key, value in asdict(text.summary).items() if key != "path"}
    shaping["format"] = checkpoint.FORMAT
    sha256 = hashlib.sha256(json.dumps(shaping, sort_keys=True).encode())
    return sha256.hexdigest()[:16]


def _refuse_too_large(config: Config, vocabulary_size: int) -> None:
    model, T, B = config.model, config.train.seq_length, config.train.batch_size
    needed = Network.memory(
        vocabulary_size=vocabulary_size,
        hidden_size=model.hidden_size,
        cell=model.cell,
        layers=model.layers,
        dtype=model.dtype,
        T=T,
        B=B,
    )
    available = psutil.virtual_memory().available
    if needed > available:
        raise EnvironmentFault(
            f"the training needs about {needed / 2**30:.1f} GiB of memory and {available / 2**30:.1f} GiB are free; "
            f"lower model.hidden_size ({model.hidden_size}), train.batch_size ({B}) or train.seq_length ({T})"
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
    rngs: dict[str, np.random.Generator],
    work: WorkFolder,
) -> None:
    def save() -> None:
        if not np.isfinite(training.network.parameters.vector).all():
            raise StateError(
                f"a parameter is no longer finite at step {training.step}; the last finite checkpoint is kept; lower "
                "optimizer.learning_rate"
            )
        states = {name: rng.bit_generator.state for name, rng in rngs.items()}
        work.save(training.arrays(), {**training.values(), "rngs": states})

    if saved := work.resume():
        training.restore(saved.arrays, saved.values)
        for name, rng in rngs.items():
            rng.bit_generator.state = saved.values["rngs"][name]
        print(f"going on from step {training.step:,} ({work.path})", file=sys.stderr)

    with _Progress(options, training) as progress, held_back_signals() as end_if_signalled:
        if _stopped(options, training):
            return
        for update in training.updates():
            validation = _validation(options, training, text, last=False)
            last = _stopped(options, training) is not None
            if last and validation is None:
                validation = _validation(options, training, text, last)
            row = _row(options, training, text, validation, rngs["sample"], last)
            if row is not None:
                work.append(row)
                progress.tell_row(row)
            if update.step % options.checkpoint_every == 0 or last:
                save()
            progress.advance()
            if last:
                break
            try:
                end_if_signalled()
            except Interrupted:  # between two updates; a second signal may fall into one, and is not saved after
                save()
                raise


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


def _validation(options: TrainConfig, training: Training, text: corpus.Corpus, last: bool) -> float | None:
    """The validation loss in nats per character, where it is due."""
    if len(text.validation_ids) < 2 or not _due(training.step, options.validate_every, last):
        return None
    loss = evaluate(training.network, text.validation_ids)
    training.note_validation(loss)
    return loss


def _row(
    options: TrainConfig,
    training: Training,
    text: corpus.Corpus,
    validation: float | None,
    sample_rng: np.random.Generator,
    last: bool,
) -> Row | None:
    """What the history says of this step, if anything: losses, the validation, and where due a sample."""
    step = training.step
    samples = options.sample_every > 0 and (
        step == 1 or last or (step % options.sample_every == 0 and step <= options.sample_until)
    )
    if not (step == 1 or _due(step, options.log_every, last) or validation is not None or samples):
        return None
    row: Row = {"step": step, "epoch": training.epoch, "loss": training.loss, "smooth_loss": training.smooth_loss}
    if validation is not None:
        row["validation_nats_per_char"] = validation
    if samples:
        drawn = sample(training.network, [training.next_id], training.state[:, :, :1], rng=sample_rng)
        length = options.final_sample_length if last else options.sample_length
        row["sample"] = text.vocabulary.decode(int(ids[0]) for ids in islice(drawn, length))
    return row


def _due(step: int, every: int, last: bool) -> bool:
    return every > 0 and (last or step % every == 0)


def _write(out: Path, history: list[Row], training: Training, options: TrainConfig) -> None:
    columns = ("step", "epoch", "loss", "smooth_loss", "validation_nats_per_char")
    with (out / "history.csv").open("w", newline="", encoding="ascii") as file:
        rows = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        rows.writeheader()
        rows.writerows(history)
    with (out / "samples.jsonl").open("w", encoding="utf-8") as file:
        for row in history:
            if "sample" in row:
                noted = {"step": row["step"], "smooth_loss": row["smooth_loss"], "text": row["sample"]}
                file.write(json.dumps(noted, ensure_ascii=False) + "\n")
    nats_per_char = training.smooth_loss / training.seq_length
    validation = next(
        (r["validation_nats_per_char"] for r in reversed(history) if "validation_nats_per_char" in r), None
    )
    metrics = {
        "steps": training.step,
        "epochs": training.epoch,
        "loss": training.loss,
        "smooth_loss": training.smooth_loss,
        "nats_per_char": nats_per_char,
        "bits_per_char": nats_per_char / math.log(2),
        "validation_nats_per_char": validation,
        "validation_bits_per_char": None if validation is None else validation / math.log(2),
        "best_step": training.best_step or None,
        "best_validation_nats_per_char": training.best_validation if training.best_step else None,
        "stopped": _stopped(options, training),
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="ascii")


class _Progress:
    """A bar on a terminal, elsewhere a line now and then; both on standard error."""

    def __init__(self, options: TrainConfig, training: Training) -> None:
        self._training = training
        self._chars_per_step = options.seq_length * options.batch_size
        self._bar = tqdm(
            total=options.steps,
            initial=training.step,
            unit="step",
            disable=not sys.stderr.isatty(),
            mininterval=0.2,
            bar_format="{percentage:3.0f}% |{bar}| step {n:,}/{total:,} · {postfix} · {remaining} left",
        )
        self._steps = options.steps
        self._first, self._started, self._progress = training.step, time.monotonic(), training.progress
        self._told = self._started

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
        step, now = self._training.step, time.monotonic()
        rate = (step - self._first) * self._chars_per_step / max(now - self._started, 1e-9)
        print(
            f"step {step:,}: smooth loss {self._training.smooth_loss:.2f}, {now - self._started:.0f} s, "
            f"{rate:,.0f} characters/s",
            file=sys.stderr,
        )

    def tell_row(self, row: Row) -> None:
        """Show what a row of the history says, where there is a terminal to show it on."""
        if not self._bar.disable and "validation_nats_per_char" in row:
            self._bar.write(f"step {row['step']:,}: validation {row['validation_nats_per_char']:.3f} nats/character")

    def advance(self) -> None:
        """Another step is done."""
        step = self._training.step
        if step % 50:
            return
        now = time.monotonic()
        rate = (step - self._first) * self._chars_per_step / max(now - self._started, 1e-9)
        if not self._bar.disable:
            self._bar.set_postfix_str(f"smooth loss {self._training.smooth_loss:.2f} · {rate:,.0f} characters/s", False)
            self._bar.update(step - self._bar.n)
        elif now - self._told > _SECONDS_BETWEEN_LINES:
            self._told = now
            progress = self._training.progress
            left = (now - self._started) * (1 - progress) / max(progress - self._progress, 1e-9)
            print(
                f"step {step:,}/{self._steps:,}: smooth loss {self._training.smooth_loss:.2f}, "
                f"{rate:,.0f} characters/s, {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )


if __name__ == "__main__":
    stage_main(run)
