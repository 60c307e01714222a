"""The project's root and its YAML files, refused where reading them could take all time or all memory.

A few lines, each with two aliases of the one above it, stand for more than any memory holds. Knows no key.
"""

import hashlib
import io
import json
import os
from pathlib import Path

import yaml

from charloom.core.common.errors import ConfigError

_MAX_BYTES = 64 * 1024  # ten times what params.yaml has
_MAX_DEPTH = 20


def project_root() -> Path:
    """The nearest folder upwards from the working directory that holds `params.yaml` and `conf/`.

    Raises ConfigError where there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").is_file() and (folder / "conf").is_dir():
            return folder
        if os.path.lexists(folder / "params.yaml") and (folder / "conf").is_dir():
            raise ConfigError(f"{folder / 'params.yaml'} must be a file, got something else; put a file of YAML there")
    raise ConfigError(f"no params.yaml with a conf/ beside it in {here} or above; run inside a charloom project")


def require_bounded(root: Path) -> None:
    """Raise ConfigError for a file of the project at `root` that is no file, too long or too deep, or has aliases.

    Raises UnicodeDecodeError and yaml.YAMLError for what is no text and no YAML.
    """
    for path in files(root):
        content = _read(path)
        if len(content) > _MAX_BYTES:
            raise ConfigError(f"{path} must have at most {_MAX_BYTES:,} bytes, got more; keep only keys and values")
        content.decode()  # which the parser would not
        stream = io.BytesIO(content)
        stream.name, depth = str(path), 0  # which the parser's errors name
        for event in yaml.parse(stream, Loader=yaml.CSafeLoader):
            line = f"{path.relative_to(root)}, line {event.start_mark.line + 1 if event.start_mark else 1}"
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise ConfigError(f"{line}: must have at most {_MAX_DEPTH} levels, got more; keys have two")
            if isinstance(event, yaml.AliasEvent):
                raise ConfigError(f"{line}: must have no alias, got *{event.anchor}; write the value itself")


def files(root: Path) -> list[Path]:
    """What is composed: params.yaml, and what is in conf/."""
    return [root / "params.yaml", *sorted((root / "conf").rglob("*.yaml"))]


def checksums(root: Path) -> dict[str, str]:
    """A checksum of the values in each file that can shape a result, by its path in the project."""
    found = {}
    for path in files(root):
        name = path.relative_to(root).as_posix()
        if name != "conf/config.yaml" and not name.startswith("conf/tracking/"):
            values = json.dumps(yaml.safe_load(_read(path)), sort_keys=True, default=str)
            found[name] = hashlib.sha256(values.encode()).hexdigest()[:16]
    return found


def _read(path: Path) -> bytes:
    """What is in the file, up to a byte too many."""
    if not path.is_file():
        raise ConfigError(f"{path} must be a file, got something else; put a file of YAML there")
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} must be a file that can be read, got {error.strerror}; replace it") from None
