"""What can be said of each place in a text, for units of a network to be compared with.

Each feature says of a place what a reader knows who has read the character there, and nothing of what follows. Knows
nothing about networks.
"""

import unicodedata
from collections.abc import Iterator

import numpy as np

from charloom.core.common.types import Vector

_PAIRS = {"“": "”", "„": "“", "«": "»", '"': '"'}  # a quotation begins with the first and ends with the second
_PARAGRAPH = "\n\n"  # ends a quotation whose closing mark is missing


def features(text: str) -> dict[str, Vector]:
    r"""The features of a text by their names, (len(text),) each: 0 and 1, or counts of characters.

    >>> found = features('"No," he\nsaid.')
    >>> "".join(str(int(value)) for value in found["inside quotation marks"])
    '11110000000000'
    >>> "".join(str(int(value)) for value in found["letters of the word so far"])
    '01200012012340'
    """
    is_letter = np.array([character.isalpha() for character in text], bool)
    word = _since(~is_letter)
    found = {
        "inside quotation marks": np.fromiter(_quoted(text), float, len(text)),
        "inside parentheses": np.fromiter(_enclosed(text), float, len(text)),
        "position in the line": _since(np.array([character == "\n" for character in text], bool)),
        "after a line break": _is(text, "\n"),
        "after a space": _is(text, " "),
        "first letter of a word": word == 1,
        "inside a word": is_letter,
        "letters of the word so far": word,
        "capital letter": np.array([character.isupper() for character in text]),
        "vowel": np.array([unicodedata.normalize("NFD", character)[0] in "aeiouAEIOU" for character in text]),
        "digit": np.array([character.isdecimal() for character in text]),
        "punctuation": np.array([unicodedata.category(character)[0] == "P" for character in text]),
    }
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def _is(text: str, wanted: str) -> Vector:
    return np.array([character == wanted for character in text], np.float64)


def _since(resets: np.ndarray[tuple[int], np.dtype[np.bool]]) -> Vector:
    """How many places ago the last reset was, (T,): 0 where one is; the text begins after one."""
    places = np.arange(1, len(resets) + 1)
    last: Vector = (places - np.maximum.accumulate(np.where(resets, places, 0))).astype(np.float64)
    return last


def _quoted(text: str) -> Iterator[bool]:
    """Whether a quotation is open after each character. Single marks are also apostrophes, so they do not count."""
    closing = ""
    for place, character in enumerate(text):
        if closing and (character == closing or text[place - 1 : place + 1] == _PARAGRAPH):
            closing = ""
        elif not closing:
            closing = _PAIRS.get(character, "")
        yield bool(closing)


def _enclosed(text: str) -> Iterator[bool]:
    """Whether a parenthesis is open after each character."""
    depth = 0
    for place, character in enumerate(text):
        depth = max(0, depth + (character == "(") - (character == ")"))
        if text[max(0, place - 1) : place + 1] == _PARAGRAPH:
            depth = 0
        yield depth > 0
