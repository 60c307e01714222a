"""How numbers and texts are shown, the same in every figure, on every page and on the terminal."""

# Control characters, line separators, and what turns the direction of writing: a terminal would obey them.
_CODE_POINTS = (
    *range(0x20),
    *range(0x7F, 0xA0),
    0x061C,
    0x200E,
    0x200F,
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
)
_ESCAPES = {code: chr(code).encode("unicode_escape").decode() for code in _CODE_POINTS}
_IN_TEXT = _ESCAPES | {ord(character): character for character in "\n\t"}


def visible(text: str) -> str:
    r"""The text with its control characters as escapes; line feeds and tabs stay.

    >>> visible("red: \x1b[31m\n")
    'red: \\x1b[31m\n'
    """
    return text.translate(_IN_TEXT)


def in_one_line(text: str) -> str:
    r"""The text with all of its control characters as escapes, so that it is one line.

    >>> in_one_line("one\ntwo")
    'one\\ntwo'
    """
    return text.translate(_ESCAPES)


def scientific(value: float, *, digits: int = 2) -> str:
    """The value in scientific notation with `digits` significant digits, trailing zeros left out.

    >>> [scientific(value, digits=3) for value in (3.06e-7, 1e-9, 0)]
    ['3.06e-7', '1e-9', '0']
    """
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}" if value else "0"
