"""charloom: character-level recurrent networks in NumPy, with hand-written, verified gradients.

Names are imported when they are first used, so that a stage depends on the modules that it uses and on no others. A
program that imports charloom keeps the kernels that it has; one of charloom's own commands has them chosen here.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charloom.core.common.errors import CharloomError, ConfigError, DataError, StateError
    from charloom.core.network import Network
    from charloom.core.text import Vocabulary
    from charloom.library import Model, load, train

__all__ = ["CharloomError", "ConfigError", "DataError", "Model", "Network", "StateError", "Vocabulary", "load", "train"]

_HOMES = {
    "Model": "library",
    "Network": "core.network",
    "Vocabulary": "core.text",
    "load": "library",
    "train": "library",
}

# `python -m charloom.…` imports this before anything that imports NumPy. Until the command is found, argv[0] is "-m".
if sys.argv[:1] == ["-m"] and any(argument.startswith("charloom.") for argument in sys.orig_argv):
    from charloom.adapters.process import signals

    signals.install()

    from charloom.adapters.process import extras, kernels

    extras.require_pipeline(sys.orig_argv)
    kernels.select_for_command()


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'core.common.errors')}"), name)
