"""The options of the commands that have any, read by argparse. Knows no command."""

import argparse
from collections.abc import Callable
from typing import NoReturn

from charloom.core.common.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line, and without abbreviated options; `more` is the end of what --help prints."""

    def __init__(self, prog: str, description: str, more: Callable[[], str] = str) -> None:
        super().__init__(prog, description=description, allow_abbrev=False)
        self._more = more

    def format_help(self) -> str:
        """What argparse knows, and the rest."""
        return f"{super().format_help()}\n{self._more()}".rstrip() + "\n"

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError in place of the usage and an exit."""
        raise ConfigError(f"{message}; see --help")
