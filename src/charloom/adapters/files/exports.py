"""A model for other programs: a file of safetensors with the names and the order of PyTorch's layers."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from charloom.adapters.files import models
from charloom.adapters.files.formats import replacing
from charloom.core.common.errors import EnvironmentFault
from charloom.core.common.types import Array
from charloom.core.network import Model, Network

# PyTorch's order: r, z, n as here; i, f, g, o of o, i, f, g.
_GATES = {"rnn": [0], "gru": [0, 1, 2], "lstm": [1, 2, 3, 0]}


def save(model: Model, path: Path) -> None:
    """Replace the file at `path` with the model's tensors.

    The metadata has one entry, `charloom`: as JSON what the network is and its vocabulary, whose place in the text is
    the id. Raises EnvironmentFault where the package safetensors is not installed.
    """
    try:
        from safetensors.numpy import save as to_bytes
    except ImportError:
        advice = "run: python -m pip install 'charloom[export]'"
        raise EnvironmentFault(f"an export needs the package safetensors, which is not installed; {advice}") from None
    content = to_bytes(dict(tensors(model.network)), {"charloom": json.dumps(models.description(model))})
    with replacing(path) as file:
        file.write(content)


def tensors(network: Network) -> Iterator[tuple[str, Array]]:
    """The parameters as those of torch.nn.RNN, GRU or LSTM, which reads one-hot characters, and a Linear `decoder`.

    PyTorch has two biases where there is one here: the second is 0, but for the candidate of a GRU, whose it is `bn`.

    >>> network = Network(vocabulary_size=5, hidden_size=3, cell="gru", dtype=np.float64)
    >>> {name: tensor.shape for name, tensor in tensors(network)}  # doctest: +NORMALIZE_WHITESPACE
    {'weight_ih_l0': (9, 5), 'weight_hh_l0': (9, 3), 'bias_ih_l0': (9,), 'bias_hh_l0': (9,),
     'decoder.weight': (5, 3), 'decoder.bias': (5,)}

    Source: the documentation of torch.nn.RNN, torch.nn.GRU and torch.nn.LSTM.
    """
    order, m = _GATES[network.cell], network.hidden_size

    def ordered(array: Array) -> Array:
        """The rows gate after gate in PyTorch's order, in memory, too: the format has no other."""
        return np.ascontiguousarray(array.reshape(len(order), m, -1)[order].reshape(array.shape))

    for number, layer in enumerate(network.parameters.layers):
        second = np.zeros_like(layer["b"])
        if "bn" in layer:
            second[2 * m :] = layer["bn"]
        yield f"weight_ih_l{number}", ordered(layer["U"])
        yield f"weight_hh_l{number}", ordered(layer["W"])
        yield f"bias_ih_l{number}", ordered(layer["b"])
        yield f"bias_hh_l{number}", second
    yield "decoder.weight", network.parameters["V"].copy()
    yield "decoder.bias", network.parameters["c"].copy()
