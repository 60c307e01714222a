"""The command `python -m charloom.tracking`: the runs in MLflow's pages, and what MLflow lacks of them.

python -m charloom.tracking                 show the runs in the browser
python -m charloom.tracking sync [folder]   send what MLflow lacks of the project's runs, or of those in a folder
"""

import os
import sys
from pathlib import Path

from charloom.adapters import ui
from charloom.adapters.arguments import Parser
from charloom.adapters.command import exit_code
from charloom.adapters.tracking import follower


def main() -> int:
    """Run what the command line says; the exit code."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command not in ("sync", "follow"):
        ui.main()
    parser = Parser(f"python -m charloom.tracking {command}", "Send what MLflow lacks of runs.")
    parser.add_argument("folder", nargs="?", type=Path, help="of a run or of a sweep; default: all of this project")
    del sys.argv[1]

    def work() -> None:
        given = parser.parse_args()
        if command == "follow":
            code = follower.follow(given.folder)
            sys.stderr.flush()
            os._exit(code)  # the run waits for this process, and Python's usual end takes a second with MLflow loaded
        follower.sync(given.folder)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
