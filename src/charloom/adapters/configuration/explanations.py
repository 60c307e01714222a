"""One line for what Hydra, OmegaConf or the YAML parser has against a configuration."""

import re

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from charloom.adapters.configuration.messages import shown


def first_line(error: Exception) -> str:
    """The first line of what an exception says."""
    return str(error).strip().partition("\n")[0].removesuffix(".")


def explain(error: Exception) -> str | None:
    """What Hydra, OmegaConf or the YAML parser has to say, in one line; None where the error is a bug."""
    if isinstance(error, OverrideParseException):
        return (
            f"cannot read {shown(error.override)}; write key=value, and quote what is no plain word: key='a value, …'"
        )
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"{error.problem_mark.name}, line {error.problem_mark.line + 1}: {error.problem}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"{error.name}: must have no control characters, got {error.reason} at position {error.position}"
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"{group} must be one of {', '.join(error.options)}, got {name!r}"
    if isinstance(error, ValueError) and "integer string conversion" in str(error):
        return "a whole number must have at most 4,300 digits, got one that has more; write a smaller one"
    if isinstance(error, UnicodeDecodeError):
        return f"params.yaml or a file in conf/ is not UTF-8 ({error})"
    if "Cannot merge DictConfig" in str(error):
        return "params.yaml or a file in conf/ holds something other than keys with their values"
    if isinstance(error, ValueError) and "Config group override" in str(error):
        return "model, optimizer, preset and tracking are names of files in conf/, got null; leave such a key out"
    if isinstance(error, HydraException) and "Ambiguous value" in str(error):
        wish = "one value, got several with commas"
        override = str(error).partition("'")[2].partition("\n")[0].removesuffix("'")
        tried = "put text in quotes, or try `python -m charloom.experiment -m` for a run with each"
        return f"{override.partition('=')[0]} must have {wish}: {shown(override)}; {tried}"
    if not isinstance(error, HydraException | OmegaConfBaseException | yaml.YAMLError):
        return None
    text = first_line(error)
    if append := re.search(r"To append to your config use (\S+?)=", str(error)):
        text = f"{text}; there is no such key to override: correct it, or add it as {append[1]}=…"
    key = re.search(r"full_key: (\S+)", str(error))
    return text if key is None or key[1] in text else f"{key[1]}: {text}"
