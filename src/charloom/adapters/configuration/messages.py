"""One line for what is wrong with a configuration: the key, what must hold, what came, and what to try."""

import difflib
import math
import re
from collections.abc import Iterable
from typing import Any

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from pydantic_core import ErrorDetails

from charloom.adapters.configuration.schema import KEYS, SECTIONS

_SHOWN = 60  # characters of a value
# What must hold, by pydantic's name for the error; behind a semicolon what to try.
_MUST = {
    "int_type": "must be a whole number; write it without quotes and without a point, such as 100",
    "float_type": "must be a number; write it without quotes, such as 0.1",
    "string_type": "must be text",
    "string_unicode": "must be text that UTF-8 can write",
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
        home = "params.yaml" if key.partition(".")[0] not in ("tracking", "inp", "out") else "conf/"
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


def first_line(error: Exception) -> str:
    """The first line of what an exception says."""
    return str(error).strip().partition("\n")[0].removesuffix(".")


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


def explain(error: Exception) -> str | None:
    """What Hydra, OmegaConf or the YAML parser has to say, in one line; None where the error is a bug."""
    if isinstance(error, OverrideParseException):
        return (
            f"cannot read {shown(error.override)}; write key=value, and quote what is no plain word: key='a value, …'"
        )
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"{error.problem_mark.name}, line {error.problem_mark.line + 1}: {error.problem}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"{error.name}: must have no control characters, got {error.reason} at position {error.position}"
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"{group} must be one of {', '.join(error.options)}, got {name!r}"
    if isinstance(error, ValueError) and "integer string conversion" in str(error):
        return "a whole number must have at most 4,300 digits, got one that has more; write a smaller one"
    if isinstance(error, UnicodeDecodeError):
        return f"params.yaml or a file in conf/ is not UTF-8 ({error})"
    if "Cannot merge DictConfig" in str(error):
        return "params.yaml or a file in conf/ holds something other than keys with their values"
    if isinstance(error, ValueError) and "Config group override" in str(error):
        return "model, optimizer, preset and tracking are names of files in conf/, got null; leave such a key out"
    if isinstance(error, HydraException) and "Ambiguous value" in str(error):
        wish = "one value, got several with commas"
        override = str(error).partition("'")[2].partition("\n")[0].removesuffix("'")
        tried = "put text in quotes, or try `python -m charloom.experiment -m` for a run with each"
        return f"{override.partition('=')[0]} must have {wish}: {shown(override)}; {tried}"
    if not isinstance(error, HydraException | OmegaConfBaseException | yaml.YAMLError):
        return None
    text = first_line(error)
    key = re.search(r"full_key: (\S+)", str(error))
    return text if key is None or key[1] in text else f"{key[1]}: {text}"
