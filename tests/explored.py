"""The explorer's page of a small network with random weights, for the tests that open it."""

from typing import Any

import numpy as np

from charloom.adapters import explorer
from charloom.core.network import Model, Network
from charloom.core.network.units import compare
from charloom.core.text import Vocabulary, features
from tests.project import ROOT

TEXT = (ROOT / "data/corpus.txt").read_text(encoding="utf-8")[100:1100]


def make_model(cell: str, layers: int = 1, text: str = TEXT, hidden_size: int = 24) -> Model:
    """A network with weights large enough for gates to open and close."""
    vocabulary = Vocabulary.of(text)
    sizes: dict[str, Any] = {
        "vocabulary_size": len(vocabulary),
        "hidden_size": hidden_size,
        "cell": cell,
        "layers": layers,
    }
    network = Network(**sizes, dtype=np.float32)
    network.initialize(0.2, rng=np.random.default_rng(1))
    for name, array in network.parameters.items():
        if array.ndim == 1:
            array[...] = np.random.default_rng(len(name)).normal(0, 0.3, array.shape)
    return Model(network, vocabulary)


def make_page(model: Model, text: str = TEXT, **changes: Any) -> bytes:
    options: dict[str, Any] = {
        "step": 300,
        "training_text": text,
        "order": 4,
        "ngram_losses": [],
        "units": compare(model.network, model.vocabulary.encode(text), features(text)),
        "snapshots": {},
    }
    return explorer.page(model=model, corpus="corpus.txt", excerpt=text, **(options | changes)).content
