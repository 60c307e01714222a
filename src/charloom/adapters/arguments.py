"""The options of the commands that have any, read by argparse. Knows no command."""

import argparse
from typing import NoReturn

from charloom.core.common.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line, and without abbreviated options."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError in place of the usage and an exit."""
        raise ConfigError(f"{message}; see --help")
