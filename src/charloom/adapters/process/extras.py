"""What a command needs beside the packages that charloom itself brings. Imports none of it."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec

_ALONE = {"charloom.textbook"}  # the commands that need nothing else
_ENVIRONMENT = 5  # the exit code


def require_pipeline(command: Sequence[str]) -> None:
    """End this process with a line where its command, `python -m charloom.…`, needs packages that are not installed."""
    name = next((argument for argument in command if argument.startswith("charloom.")), "")
    if name not in _ALONE and find_spec("hydra") is None:
        advice = "run: python -m pip install 'charloom[pipeline]'"
        print(
            f"charloom: error: {name} needs the packages of the pipeline, got none of Hydra; {advice}", file=sys.stderr
        )
        sys.exit(_ENVIRONMENT)
