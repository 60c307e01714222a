"""The vocabulary of a text: its distinct characters, sorted, and their ids.

Knows nothing about files or networks. A character is a Unicode code point.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from charloom.core.common.errors import DataError
from charloom.core.common.formatting import listed
from charloom.core.common.types import Ids


@dataclass(frozen=True)
class Vocabulary:
    """The distinct characters of a text, sorted by code point; a character's id is its place among them.

    >>> vocabulary = Vocabulary.of("hello")
    >>> vocabulary.characters
    'ehlo'
    >>> vocabulary.encode("hell")
    array([1, 0, 2, 2], dtype=uint8)
    >>> vocabulary.decode([1, 0, 2, 2])
    'hell'
    """

    characters: str

    @classmethod
    def of(cls, text: Iterable[str]) -> "Vocabulary":
        """The vocabulary of a text."""
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.characters)

    @cached_property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The smallest unsigned type that holds every id."""
        return np.dtype(np.min_scalar_type(len(self) - 1))

    @cached_property
    def _ids_by_code_point(self) -> NDArray[np.int64]:
        """The id of each code point, -1 for an unknown one; the last entry stands for all code points beyond."""
        known = code_points(self.characters)
        table = np.full(int(known.max(initial=0)) + 2, -1)
        table[known] = np.arange(len(self))
        return table

    def encode(self, text: str, on_unknown: str = "error") -> Ids:
        """The ids of the text's characters, shape (len(text),).

        Raises DataError with a list of the unknown characters; where `on_unknown` is "skip", leaves them out instead.
        """
        table = self._ids_by_code_point
        ids = table[np.minimum(code_points(text), len(table) - 1)]
        if on_unknown == "skip":
            ids = ids[ids >= 0]
        elif (ids < 0).any():
            raise DataError(f"{listed(self.unknown(text))} not among the vocabulary's {len(self)} characters")
        return ids.astype(self.dtype)

    def unknown(self, text: str) -> list[str]:
        """The characters of the text that are not in the vocabulary, sorted and each once."""
        return sorted(set(text) - set(self.characters))

    def decode(self, ids: Iterable[int]) -> str:
        """The text whose characters have these ids; the inverse of `encode`."""
        return "".join([self.characters[i] for i in ids])


def code_points(text: str) -> NDArray[np.uint32]:
    """The text's code points, shape (len(text),).

    >>> code_points("aé")
    array([ 97, 233], dtype=uint32)
    """
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))
