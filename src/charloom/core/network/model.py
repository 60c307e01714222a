"""A trained model: a network and the vocabulary that it reads, in one file that can be sampled from alone."""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from charloom.core.common.errors import DataError, StateError
from charloom.core.network.network import Network
from charloom.core.network.sampling import read, sample
from charloom.core.text.vocabulary import Vocabulary


class Model:
    """A network with its vocabulary.

    `load(path).generate(500, prime="The ")` writes 500 characters after the prime text.
    """

    def __init__(self, network: Network, vocabulary: Vocabulary) -> None:
        if network.vocabulary_size != len(vocabulary):
            raise StateError(
                f"the network has K={network.vocabulary_size}, and the vocabulary {len(vocabulary)} characters"
            )
        self.network, self.vocabulary = network, vocabulary

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
        """Characters without end that go on from the prime text (which is not among them), one for each stream at a
        time.

        What is yielded is a string of `streams` characters, the n-th of which goes on with the n-th text.

        Without a prime text the network starts as after a line break. `on_unknown` "skip" leaves out characters of the
        prime text that are not in the vocabulary; "error" raises DataError with a list of them.
        """
        if on_unknown == "skip":
            prime = "".join(character for character in prime if character in self.vocabulary.characters)
        try:
            ids = self.vocabulary.encode(prime or self._line_break)
        except DataError as error:
            raise DataError(
                f"synthesize.prime has {error}; choose from the training text or set synthesize.on_unknown=skip"
            ) from None
        state = read(self.network, ids[:-1], self.network.zero_state(1))
        first, state = np.repeat(ids[-1:], streams), np.repeat(state, streams, axis=2)
        drawn = sample(self.network, first, state, rng=rng, temperature=temperature, top_k=top_k, top_p=top_p)
        for together in drawn:
            yield self.vocabulary.decode(together.tolist())

    def generate(
        self,
        length: int = 1000,
        *,
        seed: int = 1,
        prime: str = "",
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        on_unknown: str = "error",
    ) -> str:
        """The prime text and `length` characters after it. Raises DataError for a prime text that cannot be read."""
        drawn = self.characters(
            rng=np.random.default_rng(seed),
            prime=prime,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            on_unknown=on_unknown,
        )
        return prime + "".join(islice(drawn, length))

    @property
    def _line_break(self) -> str:
        return "\n" if "\n" in self.vocabulary.characters else self.vocabulary.characters[0]
