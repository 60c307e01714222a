"""What the command line of a sweep may say beside that of a single run, checked before anything runs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import islice

from hydra.core.override_parser.types import Glob, Override
from omegaconf import DictConfig, OmegaConf

from charloom.adapters.configuration.messages import shown
from charloom.core.common.errors import ConfigError, EnvironmentFault

_MOST_OPTIONS = 100  # that are looked at: range(1, 10**9) is no list of names
_SUBDIR = "${hydra.job.num}"  # a job's folder, as in conf/config.yaml
# The package and the extra that bring it, for launchers and sweepers that charloom knows and that need one.
_EXTRAS = {"ray": ("ray", "cluster"), "optuna": ("optuna", "search")}


def asks_for_multirun(overrides: Iterable[str]) -> bool:
    """Whether the overrides ask for a sweep by Hydra's own key, as -m does.

    >>> asks_for_multirun(["seed=1,2", "hydra.mode=MULTIRUN"]), asks_for_multirun(["seed=1"])
    (True, False)
    """
    return "hydra.mode=MULTIRUN" in overrides


def sweeper_overrides(composed: DictConfig) -> list[str]:
    """The values to sweep over that stand in Hydra's configuration, as `hydra.sweeper.params`, and not in arguments."""
    params = composed.hydra.sweeper.get("params") or {}
    return [f"{key}={value}" for key, value in params.items()]


def problems_of(override: Override, options: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """What is wrong with the values of a key, or the options of a group, that a sweep has several of."""
    key = override.key_or_group
    if key == "out":
        must = "out must be one folder, in which each job of a sweep has its own"
        yield f"{must}, got {shown(override.input_line)}; leave all but one out"
    if key in options and override.is_discrete_sweep() and not isinstance(override.value(), Glob):
        for name in islice(override.sweep_string_iterator(), _MOST_OPTIONS):
            if name not in options[key]:
                yield f"{key} must be one of {', '.join(options[key])}, got {name!r}"


def require_numbered_folders(composed: DictConfig) -> None:
    """Raise ConfigError where the jobs' folders would have other names."""
    subdir = OmegaConf.to_container(composed.hydra.sweep, resolve=False)["subdir"]  # type: ignore[index, call-overload]
    if subdir != _SUBDIR:
        advice = "leave it out: a job's folder is its number, and the sweep's tables say what each number stands for"
        raise ConfigError(f"hydra.sweep.subdir must be {_SUBDIR}, got {shown(subdir)}; {advice}")


def require_installed(override: Override) -> None:
    """Raise EnvironmentFault where a launcher or a sweeper needs a package that is not installed."""
    package, extra = _EXTRAS.get(str(override.value()), ("", ""))
    if override.key_or_group in ("hydra/launcher", "hydra/sweeper") and package and find_spec(package) is None:
        advice = f"run: python -m pip install 'charloom[{extra}]'"
        raise EnvironmentFault(f"{override.input_line} needs the package {package}, which is not installed; {advice}")
