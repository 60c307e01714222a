"""A trained model: a network and the vocabulary whose characters it reads and writes."""

from collections.abc import Iterator

import numpy as np

from charloom.core.common.errors import DataError, StateError
from charloom.core.common.records import Evaluation
from charloom.core.common.types import Ids
from charloom.core.network.evaluation import evaluate_text
from charloom.core.network.network import Network
from charloom.core.network.sampling import read, sample
from charloom.core.text import Vocabulary


class Model:
    """A network with its vocabulary.

    >>> model = Model(Network(vocabulary_size=2, hidden_size=3, dtype="float64"), Vocabulary("ab"))
    >>> drawn = model.characters(rng=np.random.default_rng(1), prime="ab")
    >>> "".join(next(drawn) for _ in range(8))
    'bbaaabbb'
    """

    def __init__(self, network: Network, vocabulary: Vocabulary) -> None:
        """Put them together. Raises StateError where their numbers of characters differ."""
        if network.vocabulary_size != len(vocabulary):
            raise StateError(
                f"the network must have K = {len(vocabulary)} for this vocabulary, got {network.vocabulary_size}"
            )
        self.network, self.vocabulary = network, vocabulary

    def describe(self) -> str:
        """The network's cell and sizes in words, such as "rnn, 1 layer of 3 units, 2 characters, …"."""
        network = self.network
        layers = f"{network.layers} layer{'s' if network.layers > 1 else ''} of {network.hidden_size} units"
        size = f"{len(self.vocabulary)} characters, {network.parameters.vector.size:,} parameters"
        return f"{network.cell}, {layers}, {size}, {network.dtype}"

    def characters(
        self,
        *,
        rng: np.random.Generator,
        streams: int = 1,
        prime: str = "",
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        on_unknown: str = "error",
    ) -> Iterator[str]:
        """Characters without end, `streams` at a time, that continue the prompt `prime` (which is not among them).

        Each string that is yielded has the next character of every stream. Memory is constant.

        Arguments:
            rng: draws the characters.
            streams: how many texts are drawn side by side, >= 1.
            prime: the prompt of all streams; without one the network starts as after a line break.
            temperature: τ >= 0 of softmax(o / τ); 0 takes the most likely character.
            top_k: draw from the k likeliest characters only; 0: from all.
            top_p: draw from the smallest set of likeliest characters whose probability is at least p, in (0, 1].
            on_unknown: "skip" leaves out characters of the prompt that are not in the vocabulary.

        Raises DataError for a prompt with such characters where `on_unknown` is "error".
        """
        ids = self.encode(prime, on_unknown, name="prompt")
        if not len(ids):
            ids = self.vocabulary.encode("\n" if "\n" in self.vocabulary.characters else self.vocabulary.characters[0])
        state = read(self.network, ids[:-1], self.network.zero_state(1))
        first, state = np.repeat(ids[-1:], streams), np.repeat(state, streams, axis=2)
        drawn = sample(self.network, first, state, rng=rng, temperature=temperature, top_k=top_k, top_p=top_p)
        return (self.vocabulary.decode(ids.tolist()) for ids in drawn)

    def encode(self, text: str, on_unknown: str = "error", *, name: str = "text") -> Ids:
        """The ids of a text; `on_unknown` "skip" leaves out characters that are not in the vocabulary.

        Raises DataError for such characters otherwise; `name` is what the error calls the text.
        """
        try:
            return self.vocabulary.encode(text, on_unknown)
        except DataError as error:
            raise DataError(f"the {name} has {error}") from None

    def evaluate(self, text: str, *, window: int, on_unknown: str) -> Evaluation:
        """How well the model predicts a text: with carried state and in windows, by position, kind and character.

        `evaluate_text` says how. `on_unknown` "skip" leaves out characters that are not in the vocabulary, and the
        record counts them. Raises DataError for a text with such characters otherwise, and for one of fewer than two.

        >>> model = Model(Network(vocabulary_size=2, hidden_size=3, dtype="float64"), Vocabulary("ab"))
        >>> model.evaluate("abba", window=256, on_unknown="error").carried
        Score(nats_per_char=0.693..., bits_per_char=1.0, perplexity=2.0)
        """
        ids = self.encode(text, on_unknown)
        return evaluate_text(self.network, self.vocabulary, ids, window=window, skipped=len(text) - len(ids))
