"""A model as one file from which alone text can be sampled: named arrays, the network's sizes and the vocabulary."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from charloom.adapters.files import archive, artifacts
from charloom.adapters.files.formats import first_problem
from charloom.core.cells import CELLS
from charloom.core.common.errors import StateError
from charloom.core.common.types import Array
from charloom.core.network import Model, Network
from charloom.core.text import Vocabulary

_TRAINED = {"last": artifacts.MODEL, "best": artifacts.BEST_MODEL}
_ADVICE = "take another copy or train again"


class _Stored(BaseModel):
    """What a file says of its network."""

    model_config = ConfigDict(extra="forbid", strict=True)

    vocabulary_size: PositiveInt
    hidden_size: PositiveInt
    cell: str
    layers: PositiveInt
    dtype: Literal["float32", "float64"]
    vocabulary: str


def save(model: Model, path: Path) -> None:
    """Replace the file at `path` with the model."""
    archive.save(path, "model", model.network.parameters, description(model))


def description(model: Model) -> dict[str, Any]:
    """What a file says of the model beside its arrays: the network's sizes and type, and the vocabulary."""
    network = model.network
    return {**network.sizes, "dtype": network.dtype.name, "vocabulary": model.vocabulary.characters}


class Chosen(NamedTuple):
    """A model that a configuration chooses, its file, and which it is, such as "the model of step 90, the last"."""

    model: Model
    path: Path
    description: str


def choose(choice: str, inp: Path, *, key: str) -> Chosen:
    """The model "best" or "last" of the training in `inp`, or that in the file at the path `choice`.

    Raises StateError as `load` does; errors name `key` as the key that gave the choice.
    """
    if not from_training(choice):
        path = Path(choice)
        if not os.path.lexists(path):
            raise StateError(f"there is no file {path}; set {key} to best, last or the path of a model file")
        return Chosen(load(path), path, f"the model in {path}")
    path = inp / _TRAINED[choice].name
    model, metrics = load(path), artifacts.METRICS.read(inp)
    if choice == "best" and metrics.best_step:
        return Chosen(model, path, f"the model of step {metrics.best_step:,}, with the lowest validation loss")
    return Chosen(model, path, f"the model of step {metrics.steps:,}, the last")


def from_training(choice: str) -> bool:
    """Whether a choice of a model names one of a training, and no file."""
    return choice in _TRAINED


def load(path: str | Path) -> Model:
    """The model in a file that `save` wrote, such as a training's `model.npz`.

    Raises StateError where the file is missing, damaged or not a model.
    """
    path = Path(path)
    arrays, values = archive.load(path, "model")
    try:
        stored = _Stored.model_validate(values)
    except ValidationError as error:
        problem = first_problem(error)
        raise StateError(f"{path} does not say what network it holds ({problem}); {_ADVICE}") from None
    if stored.cell not in CELLS:
        raise StateError(f"{path} has the cell {stored.cell!r}; this version has {', '.join(CELLS)}")
    vocabulary = stored.vocabulary
    if list(vocabulary) != sorted(set(vocabulary)) or any(
        "\ud800" <= character <= "\udfff" for character in vocabulary
    ):
        raise StateError(f"{path}: the vocabulary must be distinct characters in order; {_ADVICE}")
    sizes = {key: value for key, value in vars(stored).items() if key != "vocabulary"}
    if misfit := _misfit(arrays, **sizes):
        raise StateError(f"{path}: {misfit}; {_ADVICE}")
    network = Network(**sizes)
    for name, array in network.parameters.items():
        array[...] = arrays[name]
    return Model(network, Vocabulary(vocabulary))


def _misfit(arrays: Mapping[str, Array], *, layers: int, dtype: str, **sizes: Any) -> str | None:
    """What keeps the arrays from being the parameters of a network of these sizes, found before one is made."""
    if layers > len(arrays):
        return f"a network of {layers} layers must have more arrays, got {len(arrays)}"
    shapes = Network.shapes(layers=layers, **sizes)
    for name, shape in shapes.items():
        found = list(arrays[name].shape) if name in arrays else "missing"
        if found != list(shape):
            return f"{name} is {found} where a network of its sizes has {list(shape)}"
    if unknown := arrays.keys() - shapes.keys():
        return f"a network of its sizes has no {min(unknown)!r}"
    for name, array in arrays.items():
        if array.dtype != np.dtype(dtype):
            return f"{name} must be {dtype}, got {array.dtype}"
        if not np.isfinite(array).all():
            return f"{name} must be finite, got NaN or infinity"
    return None
