"""What a command line may say: the keys and the option groups, for its help and for completion in a shell.

Default values and comments are those of params.yaml and conf/, ranges those of the schema: nothing is written twice.
Needs no Hydra, so it answers at once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from charloom.adapters.configuration.launchers import LAUNCHERS
from charloom.adapters.configuration.schema import KEYS, OPTIONS, STAGE_PARAMETERS
from charloom.adapters.configuration.sources import project_root, require_bounded
from charloom.core.common.errors import ConfigError

# Hydra's own groups that a sweep chooses from; a test compares them with what is registered with Hydra.
HYDRA = {
    "hydra/launcher": ["basic", *(name for name in LAUNCHERS if name != "basic")],
    "hydra/sweeper": ["basic", "optuna"],
}
_WIDEST = 1000  # a bound beyond it is there to refuse nonsense, and is not worth a word


@dataclass(frozen=True)
class Key:
    """A key with its default value as it is written, and the comment beside it."""

    name: str
    default: str = "null"
    comment: str = ""

    @property
    def _types(self) -> list[dict[str, Any]]:
        return OPTIONS[self.name]

    @property
    def values(self) -> list[str]:
        """The values that may be given, where they are few."""
        found = [str(value) for kind in self._types for value in kind.get("enum", ())]
        for kind in self._types:
            found += {"boolean": ["true", "false"], "null": ["null"]}.get(kind.get("type", ""), [])
        return found

    @property
    def is_path(self) -> bool:
        """Whether the value is a file or a folder."""
        return self._types[0].get("maxLength") == 4096

    @property
    def range(self) -> str:
        """The numbers that may be given, or the names where the comment does not list them; otherwise empty.

        >>> Key("train.threads").range, Key("train.smoothing").range, Key("train.steps").range
        ('[1, 64]', '[0, 1)', '>= 1')
        """
        kind = self._types[0]
        if "enum" in kind:
            names = " | ".join(map(str, kind["enum"]))
            return "" if all(str(name) in self.comment for name in kind["enum"]) else names
        low, high = kind.get("minimum"), kind.get("maximum", kind.get("exclusiveMaximum"))
        if low is None and "exclusiveMinimum" not in kind:
            return ""
        if high is None or high > _WIDEST:
            return f">= {low:g}" if low is not None else f"> {kind['exclusiveMinimum']:g}"
        start = f"({kind['exclusiveMinimum']:g}" if low is None else f"[{low:g}"
        return f"{start}, {high:,g}{']' if 'maximum' in kind else ')'}"


class Options:
    """The keys and the groups of the project at `root`, or of the package where there is none."""

    def __init__(self, root: Path | None) -> None:
        self._root = root

    @classmethod
    def here(cls) -> "Options":
        """Those of the project around the working directory, where there is one whose files can be read."""
        try:
            root = project_root()
            require_bounded(root)
        except (ConfigError, yaml.YAMLError, OSError, ValueError):
            return cls(None)
        return cls(root)

    @cached_property
    def keys(self) -> dict[str, Key]:
        """Every key by its dotted name, in the order of the schema."""
        if self._root is None:
            texts = [("", files("charloom").joinpath("params.yaml").read_text(encoding="utf-8"))]
        else:
            places = {"params.yaml": "", "conf/config.yaml": "", "conf/tracking/sqlite.yaml": "tracking."}
            paths = {self._root / name: section for name, section in places.items()}
            texts = [(section, path.read_text(encoding="utf-8")) for path, section in paths.items() if path.is_file()]
        found = {key.name: key for section, text in texts for key in _documented(section, text)}
        return {name: found.get(name, Key(name)) for name in KEYS}

    def read_by(self, stage: str) -> dict[str, Key]:
        """The keys that one stage reads."""
        for_track = ["tracking", "model.register"] if stage == "track" else []
        return self.within([*STAGE_PARAMETERS.get(stage, ("kernels",)), *for_track, "inp", "out"])

    def within(self, names: Iterable[str]) -> dict[str, Key]:
        """The keys among these names, and those of the sections among them."""
        starts = tuple(f"{name}." for name in names)
        return {name: key for name, key in self.keys.items() if f"{name}.".startswith(starts)}

    @cached_property
    def groups(self) -> dict[str, dict[str, str]]:
        """The option groups of conf/: their options, each with the comment at the top of its file."""
        if self._root is None:
            return {}
        return {
            folder.name: {path.stem: _headline(path) for path in sorted(folder.glob("*.yaml"))}
            for folder in sorted((self._root / "conf").iterdir())
            if folder.is_dir()
        }


def _documented(prefix: str, text: str) -> Iterator[Key]:
    """The keys of the schema that a text of YAML has, in sections that start with `prefix`."""
    lines = text.splitlines()
    waiting = [(prefix, yaml.compose(text, yaml.CSafeLoader))]
    while waiting:
        section, node = waiting.pop()
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            name = f"{section}{key.value}"
            if isinstance(value, yaml.MappingNode):
                waiting.append((f"{name}.", value))
            elif name in OPTIONS:
                written = lines[key.start_mark.line].partition(":")[2]
                default, _, comment = written.partition(" #")
                yield Key(name, default.strip() or "null", comment.strip())


def _headline(path: Path) -> str:
    """The first comment of a file that is no order to Hydra; empty where there is none."""
    with path.open(encoding="utf-8") as file:
        comments = [line.strip("# \n") for line in file if line.startswith("#") and "@package" not in line]
    return comments[0] if comments else ""
