"""Configurations as files: what Hydra left of one in a run's folder, and the text of a preset."""

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from charloom.adapters.configuration.schema import Parameters, flatten
from charloom.core.common.formatting import in_one_line


def composed(folder: Path) -> dict[str, Any]:
    """The parameters by dotted key that Hydra composed for a run and left in its folder; empty where there are none.

    They are checked where they can be, which makes 1 of a number 1.0, and as they stand where they are refused.
    """
    try:
        values = yaml.safe_load((folder / ".hydra/config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    if not isinstance(values, dict):
        return {}
    own = {
        name: _parameters(field.annotation, values[name])
        for name, field in Parameters.model_fields.items()
        if name in values
    }
    with suppress(ValidationError):
        own = Parameters.model_validate(own).parameters()
    return flatten(own)


def _parameters(section: Any, values: Any) -> Any:
    """The parameters among the values of a section, which may have more keys, that shape no result."""
    known = getattr(section, "model_fields", None)
    return (
        {key: value for key, value in values.items() if key in known} if known and isinstance(values, dict) else values
    )


def preset_text(values: Mapping[str, Any], comment: str) -> str:
    """A preset, as it stands in conf/preset/, that gives these values by dotted key.

    >>> print(preset_text({"optimizer.learning_rate": 1e-05, "optimizer.clip_value": None, "data.encoding": "no"}, "x"))
    # @package _global_
    # x
    optimizer:
      learning_rate: 1.0e-05
      clip_value: null
    data:
      encoding: 'no'
    <BLANKLINE>
    """
    sections: dict[str, Any] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (sections.setdefault(section, {}) if section else sections)[name] = value
    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": math.inf}
    body = yaml.dump(sections, Dumper=_Dumper, **options) if sections else ""
    return f"# @package _global_\n# {in_one_line(comment)}\n{body}"


class _Dumper(yaml.SafeDumper):
    """YAML that every dialect reads alike: with a point in 1.0e-05, without which it is a text to some."""


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.Node:
    mantissa, sign, exponent = repr(value).partition("e")
    point = "" if "." in mantissa else ".0"
    return dumper.represent_scalar("tag:yaml.org,2002:float", f"{mantissa}{point}{sign}{exponent}")


_Dumper.add_representer(float, _float)
