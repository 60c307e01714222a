"""How numbers and texts are shown, the same in every figure, on every page and on the terminal."""

from collections.abc import Iterable, Mapping, Sequence

from charloom.core.common.records import BaselineScore, Score

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


def listed(characters: Iterable[str], *, most: int = 10) -> str:
    r"""The first of some characters, as Python writes them, and a sign where there are more.

    >>> listed("a\n€", most=2)
    "'a', '\\n' …"
    """
    shown = [*map(repr, characters)]
    return ", ".join(shown[:most]) + (" …" if len(shown) > most else "")


def score_table(scores: Mapping[str, Score]) -> str:
    """Losses of the same text in three units, as a table for the terminal with a row for each name.

    >>> print(score_table({"uniform": Score.of(4.17)}))
             nats per character  bits per character  perplexity
    uniform              4.1700              6.0160       64.72
    """
    width = max(map(len, scores), default=0)
    lines = [f"{'':{width}}  nats per character  bits per character  perplexity"]
    lines += [
        f"{name:{width}}  {score.nats_per_char:18.4f}  {score.bits_per_char:18.4f}  {score.perplexity:10.2f}"
        for name, score in scores.items()
    ]
    return "\n".join(lines)


def standing(nats_per_char: float, models: Sequence[BaselineScore]) -> str:
    """Where a loss stands among those of the baselines, as part of a sentence; empty where there are none.

    An equal loss is not a better one. A model of higher order may well be worse on a small text; the two that are named
    are those whose losses are next to this one.

    >>> models = [BaselineScore.at_order(0, 4.2), BaselineScore.at_order(1, 3.3)]
    >>> [standing(loss, models) for loss in (4.3, 3.9, 3.0)]
    ['worse than the uniform model', 'between the uniform model and the 1-gram', 'better than all n-gram models']
    """
    if not models:
        return ""
    worse_than = [model for model in models if model.nats_per_char <= nats_per_char]
    better_than = [model for model in models if model.nats_per_char > nats_per_char]
    if not better_than:
        return f"worse than {_named(max(worse_than, key=_loss))}"
    if not worse_than:
        return "better than all n-gram models" if models[-1].order else "better than the uniform model"
    return f"between {_named(min(better_than, key=_loss))} and {_named(max(worse_than, key=_loss))}"


def _loss(model: BaselineScore) -> float:
    return model.nats_per_char


def _named(model: BaselineScore) -> str:
    return f"the {model.name}" if model.order else "the uniform model"
