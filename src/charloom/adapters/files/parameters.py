"""The parameters that each stage of a result was made with, kept in the stage's own folder.

A record of a result is made of these, whatever is configured by then. Knows no key.
"""

from collections.abc import Sequence
from pathlib import Path

from charloom.adapters.files import artifacts
from charloom.core.common.errors import StateError
from charloom.core.common.records import ParameterValues

_SOURCES: dict[str, tuple[str, ...]] = {
    "prepare": (),
    "baseline": ("prepare",),
    "gradcheck": ("prepare",),
    "train": ("prepare",),
    "synthesize": ("prepare", "train"),
    "evaluate": ("prepare", "train"),
}


def write(stage: str, own: ParameterValues, inp: Path, out: Path, sources: Sequence[str] | None = None) -> None:
    """Write what a stage was made with: the parameters of the stages in `inp` that it read, and its `own`.

    `sources` are the stages that it read where these are not all that it can read.
    """
    read = [artifacts.PARAMETERS[source].read(inp) for source in (_SOURCES[stage] if sources is None else sources)]
    values = {key: value for parameters in (*read, own) for key, value in parameters.items()}
    artifacts.PARAMETERS[stage].write(out, values)


def read(inp: Path) -> ParameterValues:
    """What the whole result in `inp` was made with.

    Raises StateError where two stages were made with different values: there is no record that is true of both.
    """
    found: dict[str, tuple[str, object]] = {}
    whole: ParameterValues = {}
    for stage, file in artifacts.PARAMETERS.items():
        for key, value in file.read(inp).items():
            first, known = found.setdefault(key, (stage, value))
            if value != known:
                got = f"got {key} {known!r} in {first} and {value!r} in {stage}"
                raise StateError(f"the stages in {inp} must be made with the same parameters, {got}; run them again")
            whole[key] = value
    return whole
