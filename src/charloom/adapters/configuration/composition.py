"""Composition by Hydra: `params.yaml`, the options and presets of `conf/`, and the overrides of the command line.

OmegaConf's values stay in here: what leaves is a checked `Config`. Knows no key but `inp` and `out`.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from charloom.adapters.configuration.explanations import explain, first_line
from charloom.adapters.configuration.launchers import GRIDS, LAUNCHERS
from charloom.adapters.configuration.messages import listed, problem, shown, unknown_key
from charloom.adapters.configuration.multirun import (
    problems_of,
    require_installed,
    require_numbered_folders,
    sweeper_overrides,
)
from charloom.adapters.configuration.plain import require_no_secrets, require_plain_values
from charloom.adapters.configuration.schema import KEYS, OPTIONS, SECTIONS, Config
from charloom.adapters.configuration.search import SWEEPERS, require_search
from charloom.adapters.configuration.sources import project_root, require_bounded
from charloom.core.common.errors import CharloomError, ConfigError

Composed = DictConfig  # what Hydra hands to a job

_MAX_OVERRIDE = 10_100  # characters: a key and the longest text; Hydra's parser takes seconds for much more


def _register() -> None:
    """Make params.yaml and the resolver known to Hydra, once the files that it will read hold plain values.

    With the project's root on its search path, Hydra would find params.yaml by itself, but also look for option groups
    in every folder there, .venv and the recorded runs among them. Harmless when repeated. Raises ConfigError.
    """
    root = project_root()
    with _reading():
        require_bounded(root)
        require_plain_values(root)
        ConfigStore.instance().store("params", OmegaConf.load(root / "params.yaml"), provider="params.yaml")
    Plugins.instance()  # stores Hydra's own options, so it comes first: `basic` is then ours
    for name, launcher in LAUNCHERS.items():
        ConfigStore.instance().store(f"{name}.yaml", launcher, group="hydra/launcher", provider="charloom")
    for name, sweeper in {**GRIDS, **SWEEPERS}.items():
        ConfigStore.instance().store(f"{name}.yaml", sweeper, group="hydra/sweeper", provider="charloom")
    OmegaConf.register_new_resolver("charloom.pid", os.getpid, replace=True)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what Hydra and OmegaConf raise into a ConfigError of one line."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        if (text := explain(error)) is None:
            raise
        raise ConfigError(text) from error


@contextmanager
def _reading() -> Iterator[None]:
    """Turn whatever is raised while what a user wrote is read into a ConfigError: Hydra checks little of it itself."""
    try:
        with one_line_errors():
            yield
    except (CharloomError, MemoryError):
        raise
    except Exception as error:
        must = "params.yaml, conf/ and the command line must be such that Hydra can compose them"
        raise ConfigError(f"{must}, got {shown(f'{type(error).__name__}: {first_line(error)}')}") from error


def load(overrides: Sequence[str] = (), *, multirun: bool = False) -> Config:
    """Compose `conf/`, `params.yaml` and the overrides, as on the command line, and check the result.

    Where `out` is not given, it becomes the folder that Hydra would run in, or sweep in. For a multirun, overrides that
    are swept are left out, once their keys are known to exist. Raises ConfigError with all that is wrong.
    """
    composed, problems = _composed(overrides, multirun)
    with _reading():
        folder = composed.hydra.sweep.dir if multirun else composed.hydra.run.dir
    config = from_composed(composed, str(folder), problems)
    for key, path in {"inp": config.inp, "out": config.out}.items():
        if os.path.lexists(path) and not os.path.isdir(path):
            raise ConfigError(f"{key} must be a folder, got {path!r}, which is something else; name another")
    return config


def load_job(overrides: Sequence[str]) -> Config:
    """The configuration of a sweep's job, once it is saved in the job's folder as Hydra saves it. Raises ConfigError.

    For Hydra to do the same, it would compose twice more, which takes as long as a small training.
    """
    composed, problems = _composed(overrides, multirun=False)
    folder = Path(composed.hydra.run.dir)
    config = from_composed(composed, str(folder), problems)
    saved = folder / composed.hydra.output_subdir
    saved.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(_without_hydra(composed), saved / "config.yaml")
    OmegaConf.save(composed.hydra.overrides.task, saved / "overrides.yaml")
    return config


def as_yaml(overrides: Sequence[str], part: str, *, multirun: bool = False) -> str:
    """What the overrides make of the configuration: of `job`, of `hydra`, or `all` of it.

    For a multirun, what all jobs have in common, below the overrides that are swept. Raises ConfigError as `load` does.
    """
    composed, problems = _composed(overrides, multirun)
    from_composed(composed, "null", problems)
    with flag_override(composed.hydra, ["struct", "readonly"], [False, False]):
        for key in ("help", "hydra_help"):
            del composed.hydra[key]  # texts of Hydra's that nobody gets to see
    parts = {"job": _without_hydra(composed), "hydra": OmegaConf.masked_copy(composed, "hydra"), "all": composed}
    typed = OverridesParser.create().parse_overrides(as_typed(overrides, multirun=multirun))
    swept = [f"# swept: {override.input_line}\n" for override in typed if multirun and override.is_sweep_override()]
    return "".join(swept) + OmegaConf.to_yaml(parts[part]).rstrip()


def _composed(overrides: Sequence[str], multirun: bool) -> tuple[Composed, list[str]]:
    """What Hydra composes, and what is wrong with the overrides that it is not given."""
    root = project_root()
    require_no_secrets(overrides)
    _register()
    with _reading():
        composed, problems = _compose(root, as_typed(overrides, multirun=multirun), multirun)
        if multirun:
            require_numbered_folders(composed)
        return composed, problems


def _compose(root: Path, overrides: Sequence[str], multirun: bool) -> tuple[Composed, list[str]]:
    GlobalHydra.instance().clear()
    options = {path.name: sorted(file.stem for file in path.glob("*.yaml")) for path in (root / "conf").iterdir()}
    groups = [name for name in options if (root / "conf" / name).is_dir()]
    parser, problems, kept = OverridesParser.create(), list[str](), list[str]()

    def is_kept(override: Override) -> bool:
        key, swept = override.key_or_group, multirun and override.is_sweep_override()
        if key not in {*KEYS, *SECTIONS, *groups} and not key.startswith("hydra"):
            problems.append(unknown_key(key, groups))
            return False
        require_installed(override)
        problems.extend(problems_of(override, options) if swept else ())
        return not swept

    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        kept = [override.input_line or "" for override in parser.parse_overrides(list(overrides)) if is_kept(override)]
        composed = compose("config", kept, return_hydra_config=True)
        for override in parser.parse_overrides(sweeper_overrides(composed) if multirun else []):
            is_kept(override)
        if not problems:
            require_search(composed.hydra, overrides, multirun=multirun)
        HydraConfig.instance().set_config(composed)
        return composed, problems


def as_typed(overrides: Sequence[str], *, multirun: bool = False) -> list[str]:
    """The overrides with quotes around text that Hydra would read as something else.

    `1e3`, `null` and `a, b` are prompts like any other. In a multirun, commas separate values. What has quotes,
    brackets or interpolations is left to Hydra. Raises ConfigError for an argument that is too long to be one.
    """
    for override in overrides:
        if len(override) > _MAX_OVERRIDE:
            must = f"an argument must have at most {_MAX_OVERRIDE:,} characters"
            raise ConfigError(f"{must}, got {shown(override)}; put a long prompt into synthesize.prime_file")
    return [_quoted(override, multirun) for override in overrides]


def _quoted(override: str, multirun: bool) -> str:
    if override.startswith("hydra.sweeper.params"):
        return f"++{override}"  # which takes a key that is not there yet, as all are
    key, equals, value = override.partition("=")
    types = OPTIONS.get(key.lstrip("+"), [{}])
    is_text = types[0].get("type") == "string" and "enum" not in types[0]
    if not equals or not is_text or re.search(r"""['"\\$(){}\[\]]""", value):
        return override
    takes_null = key == "out" or len(types) > 1
    values = value.split(",") if multirun else [value]
    return f"{key}=" + ",".join(part if takes_null and part == "null" else _as_text(part) for part in values)


def override(key: str, text: str) -> str:
    r"""The override that gives a key this text, whatever is in it.

    >>> print(override("inp", "artifacts"), override("inp", "a,b's"))
    inp=artifacts inp='a,b\'s'
    """
    return f"{key}={_as_text(text)}"


def _as_text(text: str) -> str:
    """What Hydra reads as this text: itself, or with quotes around it."""
    with suppress(HydraException):
        if "$" not in text and OverridesParser.create().parse_override(f"key={text}").value() == text:
            return text
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + found[2].replace("'", r"\'"), text)
    return f"'{escaped}'".replace("${", r"\${")


def from_composed(composed: Composed, default_out: str, problems: Sequence[str] = ()) -> Config:
    """What Hydra composed as checked values, with `default_out` for an `out` that is null.

    Raises ConfigError with all that is wrong, `problems` found before included.
    """
    try:
        config = _validated(_plain(composed, default_out))
    except ValidationError as error:
        problems = [*problems, *map(problem, error.errors(include_url=False))]
    if problems:
        raise ConfigError(listed(problems))
    return config


def unchecked(composed: Composed, default_out: str) -> Config | None:
    """What Hydra composed for a job that was refused, for the record of it; None where a type is wrong."""
    try:
        values = _plain(composed, default_out)
        return _validated(values)
    except ConfigError:
        return None
    except ValidationError as error:
        if any(details["type"] == "missing" or details["type"].endswith("_type") for details in error.errors()):
            return None
    sections = {name: section.model_construct(**values[name]) for name, section in SECTIONS.items()}
    return Config.model_construct(**values | sections)


def _validated(values: dict[str, Any]) -> Config:
    # Of these, rules of other sections speak.
    sections = [section for name in ("data", "tracking") if isinstance(section := values.get(name), dict)]
    return Config.model_validate(values, context=dict(item for section in sections for item in section.items()))


def _plain(composed: Composed, default_out: str) -> dict[str, Any]:
    with _reading():
        values = OmegaConf.to_container(_without_hydra(composed), resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return {**values, "out": default_out if values.get("out") is None else values["out"]}


def _without_hydra(composed: Composed) -> Composed:
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
