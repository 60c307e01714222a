"""The command `python -m charloom.verify <folder>`: whether every file of a result is as it was written.

The folder is that of a result, such as artifacts or a run's under outputs/. The exit code is 0 where every file is as
its stage wrote it and, where there is a track/result.json, part of that result; 4 where something differs.
"""

import sys
from pathlib import Path

from charloom.adapters.command import exit_code
from charloom.adapters.tracking import verify
from charloom.core.common.errors import ConfigError


def main() -> None:
    """Verify the folder that the command line names, and print what was checked."""
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise ConfigError(
            f"verify takes one folder of a result, such as artifacts, got {' '.join(arguments) or 'none'}"
        )
    print(verify(Path(arguments[0])))


if __name__ == "__main__":
    sys.exit(exit_code(main))
