"""One line for what is wrong with a configuration: the key, what must hold, what came, and what to try."""

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from charloom.adapters.configuration.schema import KEYS, SECTIONS

_SHOWN = 60  # characters of a value
_LISTED = 20  # problems that are said at once
# What must hold, by pydantic's name for the error; behind a semicolon what to try.
_MUST = {
    "int_type": "must be a whole number; write it without quotes and without a point, such as 100",
    "float_type": "must be a number; write it without quotes, such as 0.1",
    "string_type": "must be text",
    "string_unicode": "must be text that UTF-8 can write",
    "bool_type": "must be true or false",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "model_type": "must hold keys with their values",
    "greater_than": "must be > {gt}",
    "greater_than_equal": "must be >= {ge}",
    "less_than": "must be < {lt}",
    "less_than_equal": "must be <= {le}",
    "finite_number": "must be finite",
    "literal_error": "must be one of {expected}",
    "value_error": "{error}",  # a rule that the schema words itself
}


def problem(details: ErrorDetails) -> str:
    """What the schema has against one value."""
    key, kind, value = ".".join(map(str, details["loc"])), details["type"], details["input"]
    if kind == "missing":
        in_conf = key == "model.register" or key.partition(".")[0] in ("tracking", "sweep", "inp", "out")
        home = "conf/" if in_conf else "params.yaml"
        return f"{key} has no value; {home} must give it one"
    if kind in ("extra_forbidden", "invalid_key"):
        return unknown_key(key)
    if kind == "float_type" and type(value) is int:
        kind = "finite_number"  # one too large for a float
    context = {name: _number(found) for name, found in details.get("ctx", {}).items()}
    if kind == "literal_error":
        context["expected"] = context["expected"].replace("'", "").replace(" or ", ", ")
    must, _, hint = _MUST[kind].format(**context).partition("; ")
    if key == "tracking.uri" and isinstance(value, str | list | dict):
        value = "…"  # what it holds may be a password
    got = shown(value)
    if kind == "string_type":
        hint = f"put text in quotes: '{got}' in a file, \"'{got}'\" in a shell"
    if kind == "literal_error" and isinstance(value, bool):
        hint = "put a word such as off in quotes"  # YAML's yes, no, on and off are truth values
    return f"{key} {must}, got {got}" + (f"; {hint}" if hint else "")


def shown(value: Any) -> str:
    """A value as it would be written, in one line, and cut where it is long.

    >>> shown(True), shown("x" * 100)
    ('true', "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx… (102 characters)")
    """
    if type(value) is int and abs(value) >= 10**_SHOWN:  # Python refuses to write one of thousands of digits
        return f"a number of about {round(math.log10(abs(value)))} digits"
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


def _number(bound: Any) -> Any:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}" if isinstance(bound, float) else bound


def unknown_key(key: str, groups: Iterable[str] = ()) -> str:
    """That there is no such key, and the nearest that there is: a key, a section of keys or one of `groups`.

    >>> unknown_key("model.hiden_size")
    "there is no key 'model.hiden_size'; did you mean 'model.hidden_size'?"
    """
    last_parts = {name.rpartition(".")[2]: name for name in KEYS}
    names = last_parts | {name: name for name in (*KEYS, *SECTIONS, *groups)}
    start = key[:_SHOWN]  # the search takes a time that grows with the square of the length
    close = difflib.get_close_matches(start, names, 1) or difflib.get_close_matches(
        start.rpartition(".")[2], last_parts, 1
    )
    hint = f"did you mean '{names[close[0]]}'?" if close else "params.yaml lists every key"
    return f"there is no key {shown(key)}; {hint}"


def listed(problems: Sequence[str]) -> str:
    """All problems in one line, numbered where there are several; the first twenty of many."""
    numbered = "; ".join(f"({number}) {text}" for number, text in enumerate(problems[:_LISTED], 1))
    more = f"; and {len(problems) - _LISTED:,} more" if len(problems) > _LISTED else ""
    return f"{len(problems):,} problems: {numbered}{more}" if len(problems) > 1 else problems[0]
