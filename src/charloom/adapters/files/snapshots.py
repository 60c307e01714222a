"""The parameters of a network at several training steps, in float32, as one file that is whole or refused."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charloom.adapters.files import archive
from charloom.core.common.errors import StateError
from charloom.core.common.types import Array, IntArray
from charloom.core.network import Network

_STEPS = "steps"


@dataclass(frozen=True)
class Snapshots:
    """`steps` (n,) in rising order, and by name the parameters at these training steps, (n, …) in float32."""

    steps: IntArray
    parameters: dict[str, Array]


def save(path: Path, sizes: Mapping[str, Any], steps: Sequence[int], parameters: Iterable[Mapping[str, Array]]) -> None:
    """Replace the file at `path` with the parameters of a network of these `sizes` at each of the training steps."""
    network = {name: sizes[name] for name in ("vocabulary_size", "hidden_size", "cell", "layers")}
    arrays = {name: np.empty((len(steps), *shape), np.float32) for name, shape in Network.shapes(**network).items()}
    for place, named in enumerate(parameters):
        for name, array in arrays.items():
            array[place] = named[name]
    archive.save(path, "snapshots", {_STEPS: np.array(steps, np.int64), **arrays}, {"network": network})


def load(path: Path) -> Snapshots:
    """The snapshots in a file that `save` wrote. Raises StateError where it is missing, damaged or something else."""
    arrays, values = archive.load(path, "snapshots")
    steps = arrays.pop(_STEPS, np.empty(0, np.int64))
    try:
        expected = {name: (len(steps), *shape) for name, shape in Network.shapes(**values["network"]).items()}
    except (KeyError, TypeError) as error:
        raise StateError(f"{path} does not say what network it is of ({error}); train again") from None
    found = {name: array.shape for name, array in arrays.items() if array.dtype == np.float32}
    if found != expected or steps.dtype != np.int64:
        raise StateError(f"{path} must hold {len(steps)} snapshots of each parameter of its network; train again")
    return Snapshots(steps, arrays)
