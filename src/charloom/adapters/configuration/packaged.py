"""The default values of params.yaml for a program that imports charloom, with what it gives in their place.

The package has params.yaml as a file of its own: in a clone a link to the project's, in an installed package a copy.
Checks are those of the command line, and so are the words. Needs no Hydra.
"""

import copy
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import ValidationError

from charloom.adapters.configuration.messages import listed, problem, unknown_key
from charloom.adapters.configuration.schema import KEYS, Parameters
from charloom.core.common.errors import ConfigError


def parameters(given: Mapping[str, Any]) -> Parameters:
    """The default values, with those of `given`, by dotted key, in their place.

    >>> parameters({"model.hidden_size": 64}).model.hidden_size
    64

    Raises ConfigError with all that is wrong.
    """
    values = copy.deepcopy(_defaults())
    problems = [unknown_key(key) for key in given if key not in KEYS]
    for key, value in given.items():
        if key in KEYS:
            section, _, name = key.rpartition(".")
            (values[section] if section else values)[name] = value
    try:
        config = Parameters.model_validate(values, context=values["data"])
    except ValidationError as error:
        problems += map(problem, error.errors(include_url=False))
    if problems:
        raise ConfigError(listed(problems))
    return config


@cache
def _defaults() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(files("charloom").joinpath("params.yaml").read_text(encoding="utf-8"))
    return values
