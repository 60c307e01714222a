"""The parameters that a result was made with, checked like those that are configured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from charloom.adapters.configuration.messages import problem
from charloom.adapters.configuration.schema import Parameters
from charloom.core.common.errors import StateError


def from_recorded(values: Mapping[str, Any], inp: Path) -> Parameters:
    """The values by dotted key that the stages in `inp` left.

    Raises StateError where they are not the parameters of this version.
    """
    sections: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        sections.setdefault(section, {})[name] = value
    try:
        return Parameters.model_validate(sections.pop("", {}) | sections)
    except ValidationError as error:
        found = problem(error.errors(include_url=False)[0])
        must = f"the stages in {inp} must be made with parameters of this version"
        raise StateError(f"{must}: {found}; run them again") from None
