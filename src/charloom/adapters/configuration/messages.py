"""One line for what is wrong with a configuration: the key, what must hold, what came, and what to try."""

import difflib
import re
from collections.abc import Iterable

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from pydantic_core import ErrorDetails

from charloom.adapters.configuration.schema import KEYS, SECTIONS

# What must hold, by pydantic's name for the error; behind a semicolon what to try.
_MUST = {
    "int_type": "must be a whole number; write it without quotes and without a point, such as 100",
    "float_type": "must be a number; write it without quotes, such as 0.1",
    "string_type": "must be text",
    "model_type": "must hold keys with their values",
    "greater_than": "must be > {gt:g}",
    "greater_than_equal": "must be >= {ge:g}",
    "less_than": "must be < {lt:g}",
    "less_than_equal": "must be <= {le:g}",
    "finite_number": "must be finite",
    "literal_error": "must be one of {expected}",
    "value_error": "{error}",  # a rule that the schema words itself
}


def problem(details: ErrorDetails) -> str:
    """What the schema has against one value."""
    key, kind, value = ".".join(map(str, details["loc"])), details["type"], details["input"]
    if not key:  # a rule that takes several keys words the whole line
        return str(details["ctx"]["error"])
    if kind == "missing":
        return f"{key} has no value; params.yaml must give it one"
    if kind in ("extra_forbidden", "invalid_key"):
        return unknown_key(key)
    context = details.get("ctx", {})
    if kind == "literal_error":
        context["expected"] = context["expected"].replace("'", "").replace(" or ", ", ")
    must, _, hint = _MUST[kind].format(**context).partition("; ")
    if key == "tracking.uri" and isinstance(value, str | list | dict):
        value = "…"  # what it holds may be a password
    got = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    if kind == "string_type" or (kind == "literal_error" and isinstance(value, bool)):
        hint = f"put text in quotes: '{got}' in a file, \"'{got}'\" in a shell"
    return f"{key} {must}, got {got}" + (f"; {hint}" if hint else "")


def unknown_key(key: str, groups: Iterable[str] = ()) -> str:
    """That there is no such key, and the nearest that there is: a key, a section of keys or one of `groups`.

    >>> unknown_key("model.hiden_size")
    "there is no key 'model.hiden_size'; did you mean 'model.hidden_size'?"
    """
    last_parts = {name.rpartition(".")[2]: name for name in KEYS}
    names = last_parts | {name: name for name in (*KEYS, *SECTIONS, *groups)}
    close = difflib.get_close_matches(key, names, 1) or difflib.get_close_matches(key.rpartition(".")[2], last_parts, 1)
    hint = f"did you mean '{names[close[0]]}'?" if close else "params.yaml lists every key"
    return f"there is no key '{key}'; {hint}"


def explain(error: Exception) -> str | None:
    """What Hydra, OmegaConf or the YAML parser has to say, in one line; None where the error is a bug."""
    if isinstance(error, OverrideParseException):
        return f"cannot read {error.override!r}; write key=value, and quote what is no plain word: key='a value, …'"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"{error.problem_mark.name}, line {error.problem_mark.line + 1}: {error.problem}"
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"{group} must be one of {', '.join(error.options)}, got {name!r}"
    if isinstance(error, UnicodeDecodeError):
        return f"params.yaml or a file in conf/ is not UTF-8 ({error})"
    if "Cannot merge DictConfig" in str(error):
        return "params.yaml or a file in conf/ holds something other than keys with their values"
    if isinstance(error, ValueError) and "Config group override" in str(error):
        return "model, optimizer, preset and tracking are names of files in conf/, got null; leave such a key out"
    if not isinstance(error, HydraException | OmegaConfBaseException | yaml.YAMLError):
        return None
    text = str(error).strip().partition("\n")[0].removesuffix(".")
    key = re.search(r"full_key: (\S+)", str(error))
    return text if key is None or key[1] in text else f"{key[1]}: {text}"
