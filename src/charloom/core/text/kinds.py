"""Kinds of characters, such as digits and punctuation, by which a loss is divided.

The rule is Unicode's general category, except that all that ends a line is one kind and that a tab is a space.
"""

import unicodedata

KINDS = (
    *("lower-case letter", "upper-case letter", "other letter"),
    *("digit", "space", "line break", "punctuation", "other"),
)
_LINE_BREAKS = frozenset("\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029")  # as `str.splitlines` has them
_BY_CATEGORY = {
    "Ll": "lower-case letter",
    "Lu": "upper-case letter",
    "Lt": "upper-case letter",  # a digraph of which the first letter is one
    "Lm": "other letter",
    "Lo": "other letter",  # of scripts without case
    "Nd": "digit",
    "Zs": "space",
}


def kind(character: str) -> str:
    r"""The kind of a character, one of KINDS.

    Letters are the categories Ll, Lu with Lt, and Lm with Lo; digits are Nd, spaces Zs and the tab, punctuation all of
    P; marks, symbols, other numbers and control characters are "other".

    >>> [kind(character) for character in "aÉ漢7\t\n—€"]
    ['lower-case letter', 'upper-case letter', 'other letter', 'digit', 'space', 'line break', 'punctuation', 'other']
    """
    if character in _LINE_BREAKS:
        return "line break"
    category = "Zs" if character == "\t" else unicodedata.category(character)
    return _BY_CATEGORY.get(category, "punctuation" if category[0] == "P" else "other")
