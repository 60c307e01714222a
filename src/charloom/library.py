"""charloom as a library: train, load, generate, evaluate, inspect, save.

Default values are those of params.yaml. What is given is checked as on the command line, and refused in the same words
with a ConfigError. Needs NumPy, pydantic, PyYAML and threadpoolctl alone.
"""

import difflib
import warnings
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from charloom.adapters import generation, trainings
from charloom.adapters.configuration import advice
from charloom.adapters.configuration.packaged import parameters
from charloom.adapters.configuration.schema import KEYS, Parameters
from charloom.adapters.files import exports, models
from charloom.adapters.process.workers import blas_threads
from charloom.core import network as core
from charloom.core.common.errors import ConfigError, DataError, StateError
from charloom.core.common.records import Evaluation, HistoryRow
from charloom.core.common.types import Ids
from charloom.core.network import Network, evaluate
from charloom.core.network.reading import Reading, inspect
from charloom.core.text import Vocabulary
from charloom.core.training import Training

# The keys that shape a training, by their last parts.
_KEYS = {key.rpartition(".")[2]: key for key in KEYS if key.partition(".")[0] in ("model", "optimizer", "train")}
del _KEYS["name"], _KEYS["register"]  # the first says too little by itself, the second shapes no training
_KEYS |= {"seed": "seed", "optimizer": "optimizer.name", "validation_fraction": "data.validation_fraction"}


class Model(core.Model):
    """A network with its vocabulary, which writes, evaluates and shows what is inside.

    `history` has the losses of the training where this process trained it.

    >>> model = Model(Network(vocabulary_size=2, hidden_size=3, dtype="float64"), Vocabulary("ab"))
    >>> model
    Model(rnn, 1 layer of 3 units, 2 characters, 26 parameters, float64)
    >>> model.generate(8, prime="ab", seed=1)
    'abbbaaabbb'
    """

    def __init__(self, network: Network, vocabulary: Vocabulary, history: Iterable[HistoryRow] = ()) -> None:
        """Put them together. Raises StateError where their numbers of characters differ."""
        super().__init__(network, vocabulary)
        self.history = list(history)

    def __repr__(self) -> str:
        return f"Model({self.describe()})"

    def generate(
        self,
        length: int | None = None,
        *,
        prime: str = "",
        seed: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        on_unknown: str | None = None,
    ) -> str:
        """The prompt `prime` and `length` characters after it; the same `seed` gives the same text.

        None stands for the value of params.yaml. `characters` says what the arguments mean, and draws without end.
        Raises ConfigError for a value that `synthesize` refuses, too, and DataError for a prompt with characters that
        are not in the vocabulary, unless `on_unknown` is "skip".
        """
        given = {"length": length, "seed": seed, "temperature": temperature, "top_k": top_k, "top_p": top_p}
        options = generation.checked(**given, on_unknown=on_unknown)
        with blas_threads(1):  # another number rounds differently
            return prime + "".join(islice(generation.characters(self, prime, options), options.length))

    def evaluate(self, text: str, *, window: int | None = None, on_unknown: str | None = None) -> Evaluation:
        """How well the model predicts a text: with carried state and in windows, by position, kind and character.

        None stands for the value of params.yaml. Raises ConfigError for a value that the stage `evaluate` refuses, too,
        and DataError for a text of fewer than two characters, and for one with characters that are not in the
        vocabulary, unless `on_unknown` is "skip".
        """
        given = {"evaluate.window": window, "evaluate.on_unknown": on_unknown}
        options = parameters({key: value for key, value in given.items() if value is not None}).evaluate
        with blas_threads(1):
            return super().evaluate(text, window=options.window, on_unknown=options.on_unknown)

    def inspect(self, text: str, at: int = -1) -> Reading:
        """What happens inside while the model reads a text: surprise, states, gates, and the gradient of a loss.

        `at` is the index of the character whose loss is differentiated with respect to those before it. Raises
        DataError for characters that are not in the vocabulary, for a text of fewer than 2 characters or more than
        10,000, and for an index that is none of its predicted characters'.

        >>> model = train("to be or not to be " * 20, cell="gru", hidden_size=8, steps=50, seq_length=5)
        >>> reading = model.inspect("to be or", at=4)
        >>> reading.losses.shape, reading.vectors[0, "z"].shape, reading.gradient.shape
        ((7,), (8, 8), (4, 7))
        """
        with blas_threads(1):
            return inspect(self.network, self.encode(text), at)

    def save(self, path: str | Path) -> None:
        """Replace the file at `path` with the model; `load` reads it, and so do the stages."""
        models.save(self, Path(path))

    def export(self, path: str | Path) -> None:
        """Replace the file at `path` with the model as safetensors, named and ordered as PyTorch's layers are.

        Raises EnvironmentFault where the package safetensors is not installed.
        """
        exports.save(self, Path(path))


def load(path: str | Path) -> Model:
    """The model in a file, such as `artifacts/train/best.npz`.

    Raises StateError where the file is missing, damaged or not a model.
    """
    loaded = models.load(path)
    return Model(loaded.network, loaded.vocabulary)


def train(text: str, *, on_row: Callable[[HistoryRow], object] | None = None, **options: Any) -> Model:
    """Train a network on a text; the model with the lowest validation loss, or the last one without validations.

    The same options give what the pipeline does with the text, bit for bit with the same kernels.

    Arguments:
        text: its last `validation_fraction` is not trained on.
        on_row: called with each row of the history as it is made, such as `print`.
        options: keys of params.yaml by their last parts: those of `model`, `optimizer` and `train`, such as
            `hidden_size=64`, and `seed` and `validation_fraction`; `optimizer="adam"` is `optimizer.name`. What
            concerns files and samples is of no effect.

    Raises ConfigError with all values that are refused, DataError for a text that cannot be trained on, and StateError
    for a training that diverges.

    >>> model = train("to be or not to be " * 20, hidden_size=8, steps=50, seq_length=5)
    >>> model
    Model(rnn, 1 layer of 8 units, 7 characters, 191 parameters, float64)
    >>> [row.step for row in model.history]
    [1, 50]
    """
    for name in options.keys() - _KEYS.keys():
        close = difflib.get_close_matches(name, _KEYS, 1)
        hint = f"did you mean {close[0]!r}?" if close else "params.yaml lists them"
        raise ConfigError(f"a training has no option {name!r}; {hint}")
    config = parameters({_KEYS[name]: value for name, value in options.items()})
    initial = models.load(config.train.init_from) if config.train.init_from else None
    vocabulary = initial.vocabulary if initial else Vocabulary.of(text)
    train_ids, validation_ids = _split(text, vocabulary, config.data.validation_fraction)
    training = trainings.start(config, train_ids, len(vocabulary), initial.network if initial else None)
    with blas_threads(config.train.threads), np.errstate(all="ignore"), training.pool:
        try:
            history = _run(training, config, validation_ids, on_row or (lambda row: None))
        except StateError as error:
            hint = advice.on_divergence(config, started_high=training.diagnostics.started_high)
            raise StateError(f"{error}; {hint}") from None
    unseen = int(np.isin(validation_ids, train_ids, invert=True).sum())
    started_high = training.diagnostics.started_high
    for warning in training.diagnostics.warnings:
        hint = advice.on_warning(warning.kind, config, started_high=started_high, unseen=unseen)
        warnings.warn(f"{warning.message}; {hint}", stacklevel=2)
    if training.best_step:
        training.network.parameters.vector[:] = training.best
    return Model(training.network, vocabulary, history)


def _run(
    training: Training, config: Parameters, validation_ids: Ids, on_row: Callable[[HistoryRow], object]
) -> list[HistoryRow]:
    """Train to the end; the rows of the history, at the steps at which the train stage has them."""
    options, history = config.train, list[HistoryRow]()
    validates = options.validate_every > 0 and len(validation_ids) > 1
    for step, loss, smooth_loss in training.updates():
        validation = None
        if validates and (step % options.validate_every == 0 or trainings.stopped(training, options)):
            validation = evaluate(training.network, validation_ids)
            training.note_validation(validation)
        last = trainings.stopped(training, options) is not None
        if last:
            training.diagnostics.note_end(step)
        if last or validation is not None or step == 1 or step % options.log_every == 0:
            history.append(HistoryRow(step, training.epoch, loss, smooth_loss, validation))
            on_row(history[-1])
        if last:
            break
    return history


def _split(text: str, vocabulary: Vocabulary, validation_fraction: float) -> tuple[Ids, Ids]:
    """The ids of the training text and of the validation text, cut as the prepare stage does."""
    if len(set(text)) < 2:
        raise DataError(f"a text to train on must have two distinct characters or more, got {len(set(text))}")
    try:
        text.encode()
        ids = vocabulary.encode(text)
    except UnicodeEncodeError:
        raise DataError("the text has half of a surrogate pair, which is no character; decode it anew") from None
    except DataError as error:
        raise DataError(f"the text has {error} of the model to start from; leave them out") from None
    cut = len(ids) - round(len(ids) * validation_fraction)
    return ids[:cut], ids[cut:]
