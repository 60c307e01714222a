"""What is recorded of a training while it runs, and the files that are made of it."""

import copy
import math
import sys
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

import numpy as np

from charloom.adapters import trainings
from charloom.adapters.configuration import Config, advice
from charloom.adapters.files import artifacts, snapshots
from charloom.adapters.files.corpus import Corpus
from charloom.adapters.files.work_folder import Row, WorkFolder
from charloom.adapters.process import signals
from charloom.adapters.progress import Progress
from charloom.adapters.tracking import Journal
from charloom.core.common.errors import StateError
from charloom.core.common.records import HistoryRow, Sample, TrainingMetrics, TrainingWarning
from charloom.core.network import evaluate, sample
from charloom.core.training import Training
from charloom.core.training.inspection import inspect, is_inspected, snapshot_limit, snapshot_steps

_PIECE = 1 << 22  # characters counted at once
_VALIDATION, _INSPECTION = "validation_nats_per_char", "inspection"


class Recorder:
    """Validates, samples, logs and saves a training at the steps that the configuration names, and tells when it ends.

    Rows and checkpoints go to the work folder, rows to the `journal` too. `rng` draws the samples; its state is part of
    a checkpoint.
    """

    def __init__(
        self,
        config: Config,
        training: Training,
        text: Corpus,
        work: WorkFolder,
        journal: Journal | None,
        *,
        rng: np.random.Generator,
    ) -> None:
        """A recorder of `training`, which may go on from a checkpoint: see `resume`."""
        self._config, self._options, self._rng = config, config.train, rng
        self._training, self._text, self._work, self._journal = training, text, work, journal
        self._found = Row()  # of the step that is being recorded
        self._told = 0  # warnings
        most = snapshot_limit(training.network.parameters.vector.size)
        self._most_snapshots = most if most > 1 and self._options.inspect_every else 0
        self._validates = self._options.validate_every > 0 and len(text.validation_ids) > 1

    def resume(self) -> None:
        """Return the training to its last checkpoint, if there is one."""
        if saved := self._work.resume():
            self._training.restore(saved.arrays, saved.values)
            self._rng.bit_generator.state = saved.values["sample_rng"]
            self._found = saved.values.get("found", {})
            self._told = len(self._training.diagnostics.warnings)
            for row in self._work.history:
                self._note(row)
            print(f"going on from step {self._training.step:,} ({self._work.path})", file=sys.stderr)

    @property
    def stopped(self) -> str | None:
        """Why the training is at its end; None where it is not."""
        return trainings.stopped(self._training, self._options)

    def record(self, progress: Progress) -> bool:
        """Do what is due after an update, and tell whether it was the last one.

        A signal may end the long parts of it, a validation or a sample. What was found before stays, as a part of a
        checkpoint; recording the same step again goes on from there, and is harmless where it was done. Raises
        StateError where the training ends diverged.
        """
        options, training, found = self._options, self._training, self._found
        step = training.step
        if self._work.history and self._work.history[-1]["step"] == step:
            return self.stopped is not None
        if self._validates and _VALIDATION not in found and (step % options.validate_every == 0 or self.stopped):
            found[_VALIDATION] = self._validate(progress)
        last = self.stopped is not None
        if last:
            training.diagnostics.note_end(step)
        self._tell_warnings(progress)
        if self._inspection_is_due(last):
            self._keep_snapshot()
            if _INSPECTION not in found:
                found[_INSPECTION] = asdict(inspect(training, self._text.train_ids))
        if self._sample_is_due(last):
            found["sample"] = self._sample(last)
        losses = {"loss": training.loss, "smooth_loss": training.smooth_loss}
        row = {"step": step, "epoch": training.epoch, **losses, **found}
        if _INSPECTION in row or self._is_logged(row, last):
            self._work.append(row)
            self._note(row)
        self._found = {}
        # Until it is known what comes of a high loss, the checkpoints from before it are kept.
        if last or (step % options.checkpoint_every == 0 and not training.diagnostics.suspect):
            self.save()
        progress.advance()
        return last

    def save(self) -> None:
        """Keep a checkpoint. Raises StateError where a parameter is not finite."""
        training = self._training
        if not np.isfinite(training.network.parameters.vector).all():
            raise StateError(f"all parameters must be finite, got one that is not at step {training.step}")
        values = {**training.values(), "sample_rng": self._rng.bit_generator.state, "found": self._found}
        self._work.save(training.arrays(), values)

    def write(self, out: Path, initial_sha256: str | None) -> None:
        """Write the history, the samples, the snapshots, the warnings and the metrics into the stage's folder `out`.

        `initial_sha256` is the hash of the model that the training started from. Raises StateError where a snapshot in
        the work folder is damaged.
        """
        rows, training = self._work.history, self._training
        kept = {*self._snapshot_steps(), training.step}
        steps = [step for step in self._work.snapshot_steps if step in kept]
        snapshots.save(
            artifacts.SNAPSHOTS.path(out), training.network.sizes, steps, map(self._work.load_snapshot, steps)
        )
        history = [_history_row(row) for row in rows if self._is_logged(row, row is rows[-1])]
        artifacts.HISTORY.write(out, history)
        samples = [Sample(row["step"], row["smooth_loss"], row["sample"]) for row in rows if "sample" in row]
        artifacts.SAMPLES.write(out, samples)
        inspections = [artifacts.INSPECTIONS.from_plain(row[_INSPECTION]) for row in rows if _INSPECTION in row]
        artifacts.INSPECTIONS.write(out, inspections)
        artifacts.WARNINGS.write(out, self._warnings())
        nats_per_char = training.smooth_loss / training.seq_length
        validation = next((row[_VALIDATION] for row in reversed(rows) if _VALIDATION in row), None)
        metrics = TrainingMetrics(
            steps=training.step,
            epochs=training.epoch,
            loss=training.loss,
            smooth_loss=training.smooth_loss,
            nats_per_char=nats_per_char,
            bits_per_char=nats_per_char / math.log(2),
            validation_nats_per_char=validation,
            validation_bits_per_char=None if validation is None else validation / math.log(2),
            best_step=training.best_step or None,
            best_validation_nats_per_char=training.best_validation if training.best_step else None,
            stopped=self.stopped,
            initial_sha256=initial_sha256,
        )
        artifacts.METRICS.write(out, metrics)

    def _note(self, row: Row) -> None:
        """Enter a row in the journal, if it is one of the history."""
        last = self.stopped is not None and row is self._work.history[-1]
        if self._journal and self._is_logged(row, last):
            self._journal.row(_history_row(row))

    def _is_logged(self, row: Row, last: bool) -> bool:
        """Whether a row is one of the history, not there for its inspection alone."""
        is_due = last or row["step"] == 1 or row["step"] % self._options.log_every == 0
        return is_due or not row.keys().isdisjoint((_VALIDATION, "sample"))

    def _inspection_is_due(self, last: bool) -> bool:
        every = self._options.inspect_every
        return every > 0 and (last or is_inspected(self._training.step, every))

    def _keep_snapshot(self) -> None:
        """Keep the parameters, and no more of older ones than there is room for."""
        step, params = self._training.step, self._training.network.parameters
        if not self._most_snapshots:
            return
        self._work.save_snapshot(step, {name: array.astype(np.float32) for name, array in params.items()})
        for older in {*self._work.snapshot_steps} - {*self._snapshot_steps(), step}:
            self._work.remove_snapshot(older)

    def _snapshot_steps(self) -> list[int]:
        """The inspected steps to date whose parameters are kept; there is room for those of the last step, too."""
        if not self._most_snapshots:
            return []
        return snapshot_steps(self._training.step, self._options.inspect_every, self._most_snapshots - 1)

    def _warnings(self) -> list[TrainingWarning]:
        """The warnings to date, with what to try."""
        diagnostics = self._training.diagnostics
        found = []
        for warning in diagnostics.warnings:
            unseen = _count_unseen(self._text) if warning.kind == "overfitting" else 0
            hint = advice.on_warning(warning.kind, self._config, started_high=diagnostics.started_high, unseen=unseen)
            found.append(replace(warning, message=f"{warning.message}; {hint}"))
        return found

    def _tell_warnings(self, progress: Progress) -> None:
        if self._told < len(self._training.diagnostics.warnings):
            for warning in self._warnings()[self._told :]:
                progress.tell(f"charloom: warning: {warning.message}")
                self._told += 1

    def _validate(self, progress: Progress) -> float:
        with signals.let_through():
            loss = evaluate(self._training.network, self._text.validation_ids)
        self._training.note_validation(loss)
        progress.tell_validation(loss)
        return loss

    def _sample_is_due(self, last: bool) -> bool:
        every, step = self._options.sample_every, self._training.step
        return every > 0 and (step == 1 or last or (step % every == 0 and step <= self._options.sample_until))

    def _sample(self, last: bool) -> str:
        """What the network writes from where the first stream is now."""
        training = self._training
        length = self._options.final_sample_length if last else self._options.sample_length
        rng = copy.deepcopy(self._rng)  # left as it is until the sample is whole
        drawn = sample(training.network, [training.next_id], training.state[:, :, :1], rng=rng)
        with signals.let_through():
            text = self._text.vocabulary.decode(int(ids[0]) for ids in islice(drawn, length))
        self._rng = rng
        return text


def _history_row(row: Row) -> HistoryRow:
    return HistoryRow(row["step"], row["epoch"], row["loss"], row["smooth_loss"], row.get(_VALIDATION))


def _count_unseen(text: Corpus) -> int:
    """The number of characters in the validation text that do not occur in the training text."""
    K = len(text.vocabulary)
    training, validation = (
        sum(np.bincount(ids[start : start + _PIECE], minlength=K) for start in range(0, len(ids), _PIECE))
        for ids in (text.train_ids, text.validation_ids)
    )
    return int(np.sum(np.where(training == 0, validation, 0)))
