"""The command `python -m charloom.export <model file> <new file>`: a model as safetensors, with PyTorch's names."""

import sys
from pathlib import Path

from charloom.adapters.command import exit_code
from charloom.adapters.files import exports, models
from charloom.core.common.errors import ConfigError


def main() -> None:
    """Export the model that the command line names."""
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    if len(arguments) != 2 or any(argument.startswith("-") for argument in arguments):
        example = "such as artifacts/train/best.npz best.safetensors"
        raise ConfigError(f"export takes a model file and a new file, {example}, got {' '.join(arguments) or 'none'}")
    exports.save(models.load(arguments[0]), Path(arguments[1]))
    print(f"wrote {arguments[1]}")


if __name__ == "__main__":
    sys.exit(exit_code(main))
