"""What params.yaml, the files of conf/'s groups and the command line may hold: values, no code and no secrets.

Hydra instantiates what a configuration names, and saves it. So this is looked at before Hydra reads anything.
conf/config.yaml, which composes, is trusted like code.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from charloom.adapters.configuration.sources import files
from charloom.core.common.errors import ConfigError

_HYDRAS = {"hydra", "defaults", "<<"}  # with `<<`, what stands deeper would be at the top
_HEADER = re.compile(r"\s*#\s*(@.*?)\s*$")
_SPACES = "search"  # the group whose files are search spaces
# An address with a user name, a password or a query; after three slashes, as in sqlite:///, there is a path alone.
_SECRET = re.compile(r"://[^/].*[@?]", re.DOTALL)
_SECRET_KEY = re.compile("password|secret|token", re.IGNORECASE)
NO_SECRET = (
    "must hold no user name, password or query, since it is saved with every result; "
    "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment"
)


def holds_secret(uri: str) -> bool:
    """Whether an address may hold more than where something is.

    >>> [holds_secret(uri) for uri in ("http://host:5000", "http://me:pass@host", "sqlite:///a@b/mlflow.db")]
    [False, True, False]
    """
    return bool(_SECRET.search(uri))


def require_no_secrets(arguments: Iterable[str]) -> None:
    """Raise ConfigError, which quotes nothing, where an argument of the command line holds a secret."""
    for argument in arguments:
        key, _, _ = argument.partition("=")
        if _SECRET_KEY.search(key):
            raise ConfigError("a password, secret or token must stand in the environment, not on the command line")
        if ("uri" in argument or key.lstrip("+").startswith("hydra.")) and holds_secret(argument):
            raise ConfigError(f"tracking.uri {NO_SECRET}")


def require_plain_values(root: Path) -> None:
    """Raise ConfigError where a file in the project at `root` could do more than give a key a value.

    The files must be bounded: see `require_bounded`.
    """
    for path in (path for path in files(root) if path.parent != root / "conf"):
        for line, problem in _problems(path):
            raise ConfigError(f"{path.relative_to(root)}, line {line + 1}: {problem}")


def _problems(path: Path) -> Iterator[tuple[int, str]]:
    """What is refused in a file, each with its line from 0."""
    package = "hydra.sweeper.params" if path.parent.name == _SPACES else "_global_"
    with path.open(encoding="utf-8") as file:
        for line, text in enumerate(file):
            if (header := _HEADER.match(text)) and header[1].split() != ["@package", package]:
                yield line, f"the only header may be '# @package {package}', got {text.strip()!r}"
        file.seek(0)
        top = yaml.compose(file, yaml.SafeLoader)
    for node in _nodes(top):
        if isinstance(node, yaml.ScalarNode) and "${" in node.value:
            advice = "give it on the command line, or a prompt in a file"
            yield node.start_mark.line, f"a value must be written out, got an interpolation; {advice}"
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            name = str(key.value)  # of a list or a mapping, which OmegaConf refuses as a key, whatever
            if name.partition(".")[0] in _HYDRAS or name.startswith("_"):
                advice = "settings of Hydra's own belong to conf/config.yaml or the command line"
                yield key.start_mark.line, f"a key must be one that params.yaml lists, got {name!r}; {advice}"
            if name.rpartition(".")[2] == "uri" and isinstance(value, yaml.ScalarNode) and holds_secret(value.value):
                yield key.start_mark.line, f"tracking.uri {NO_SECRET}"


def _nodes(top: yaml.Node | None) -> Iterator[yaml.Node]:
    waiting = [top] if top else []
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in reversed(node.value) for part in reversed(pair)]
        elif isinstance(node, yaml.SequenceNode):
            waiting += reversed(node.value)
