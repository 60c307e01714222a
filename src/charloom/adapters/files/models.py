"""A model as one file from which alone text can be sampled: named arrays, the network's sizes and the vocabulary."""

from pathlib import Path

from charloom.adapters.files import archive
from charloom.core.cells import CELLS
from charloom.core.common.errors import StateError
from charloom.core.network import Model, Network
from charloom.core.text import Vocabulary


def save(model: Model, path: Path) -> None:
    """Replace the file at `path` with the model."""
    network = model.network
    values = {**network.sizes, "dtype": network.dtype.name, "vocabulary": model.vocabulary.characters}
    archive.save(path, "model", network.parameters, values)


def load(path: str | Path) -> Model:
    """The model in a file that `save` wrote, such as a training's `model.npz`.

    Raises StateError where the file is missing, damaged or not a model.
    """
    path = Path(path)
    arrays, values = archive.load(path, "model")
    try:
        vocabulary = Vocabulary(values.pop("vocabulary"))
        if values["cell"] not in CELLS:
            raise StateError(f"{path} has the cell {values['cell']!r}; this version has {', '.join(CELLS)}")
        for name, shape in Network.shapes(**{key: values[key] for key in values if key != "dtype"}).items():
            found = list(arrays[name].shape) if name in arrays else "missing"
            if found != list(shape):
                raise StateError(f"{path}: {name} is {found} where a network of its sizes has {list(shape)}")
        network = Network(**values)
    except (TypeError, KeyError, ValueError) as error:
        raise StateError(f"{path} does not say what network it holds ({error})") from None
    for name, array in network.parameters.items():
        array[...] = arrays[name]
    return Model(network, vocabulary)
