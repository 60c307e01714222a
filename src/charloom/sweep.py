"""The command `python -m charloom.sweep <folder>`: the summary of a sweep, written anew from the files in its folder.

    python -m charloom.sweep multirun/2026-11-28/12-00-00-4711
    python -m charloom.sweep multirun/2026-11-28/12-00-00-4711 sweep.objective=validation_bits_per_char
    python -m charloom.sweep multirun/2026-11-28/12-00-00-4711 --preset best-gru

It may be asked for at any time: while the sweep runs, and after it was killed.
"""

import sys
from pathlib import Path
from typing import get_args

from charloom.adapters import sweeps
from charloom.adapters.arguments import Parser
from charloom.adapters.command import exit_code
from charloom.adapters.configuration.schema import Objective
from charloom.core.common.errors import ConfigError

_KEY = "sweep.objective="


def main() -> None:
    """Sum up the sweep that the command line names."""
    parser = Parser("python -m charloom.sweep", "Write the summary of a sweep anew: its tables and its page.")
    parser.add_argument("folder", type=Path, help="the sweep's folder, under multirun/")
    parser.add_argument("objective", nargs="?", metavar=f"{_KEY}NAME", help=f"one of {', '.join(get_args(Objective))}")
    parser.add_argument("--preset", metavar="NAME", help="write the best configuration as conf/preset/NAME.yaml")
    parser.add_argument("--force", action="store_true", help="replace a preset that is there")
    given = parser.parse_intermixed_args()
    summary = sweeps.write_summary(given.folder, _objective(given.objective))
    failed = sweeps.failures([record for _, record in sweeps.records(given.folder)])
    print(*sweeps.lines(summary), *failed, f"page: {given.folder / sweeps.PAGE}", sep="\n")
    if given.preset is not None:
        path = sweeps.write_best_preset(given.preset, summary, given.folder, force=given.force)
        print(f"preset={given.preset} is in {path}")


def _objective(given: str | None) -> str | None:
    if given is None:
        return None
    name = given.removeprefix(_KEY)
    if name == given or name not in get_args(Objective):
        raise ConfigError(f"sweep.objective must be one of {', '.join(get_args(Objective))}, got {given!r}")
    return name


if __name__ == "__main__":
    sys.exit(exit_code(main))
