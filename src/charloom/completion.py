"""The command `python -m charloom.completion <shell>`: what makes a shell complete `python -m charloom.…`.

    eval "$(python -m charloom.completion bash)"      # in bash 4 or newer; in zsh likewise
    python -m charloom.completion fish | source       # in fish

Commands, keys, option groups, presets and paths are then completed with the Tab key. To have that in every shell, add
the line to ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish.
"""

import sys

from charloom.adapters.command import exit_code
from charloom.adapters.completion import SCRIPTS, answer
from charloom.core.common.errors import ConfigError


def main() -> None:
    """Print the script for a shell, or answer what such a script asks."""
    match sys.argv[1:]:
        case ["-h" | "--help"]:
            print(__doc__)
        case ["answer", line]:
            print(*answer(line), sep="\n")
        case [shell] if shell in SCRIPTS:
            print(SCRIPTS[shell])
        case arguments:
            must = f"completion takes one of {', '.join(SCRIPTS)}"
            raise ConfigError(f"{must}, got {' '.join(arguments) or 'nothing'}; see --help")


if __name__ == "__main__":
    sys.exit(exit_code(main))
