"""The command `python -m charloom.summary [folder]`: the headline figures of a result, and where its pages are.

The folder is that of a result, such as a run's under outputs/; default artifacts. `make repro` ends with it.
"""

import sys
from pathlib import Path

from charloom.adapters.command import exit_code
from charloom.adapters.summary import summary
from charloom.core.common.errors import ConfigError


def main() -> None:
    """Print the summary of the folder that the command line names."""
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        raise ConfigError(f"summary takes one folder of a result, such as artifacts, got {' '.join(arguments)}")
    print(summary(Path(*arguments or ["artifacts"])))


if __name__ == "__main__":
    sys.exit(exit_code(main))
