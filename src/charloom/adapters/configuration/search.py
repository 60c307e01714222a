"""A search for the best settings: its options, as `hydra/sweeper=optuna` has them, and the space that it searches.

The space is written in Hydra's grammar, on the command line or in a file of conf/search. Knows nothing about how a
search goes on.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import islice, product
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig

from charloom.adapters.configuration.launchers import PLUGINS
from charloom.adapters.configuration.messages import listed, shown
from charloom.adapters.configuration.schema import OPTIONS
from charloom.core.common.errors import ConfigError

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("median", "halving", "hyperband", "none")
GROUP = "search"  # of conf/, whose files are spaces
_TRIALS = 20  # where their number is not given, and the space is no grid
_MOST = 1_000_000  # trials
_MOST_POINTS = 100_000  # of a range
_MOST_SEEDS = 1000
_EMPTY = "a search must have a key with several values, got none; try 'optimizer.learning_rate=interval(0.01, 0.5)'"


@dataclass
class Optuna:
    """The options of a search by Optuna, checked by `read_search`. `n_trials` null: 20, and of a grid all points.

    The first `startup_trials` are drawn at random, and not pruned by the median: the search knows too little yet.
    """

    _target_: str = f"{PLUGINS}.OptunaSweeper"
    n_trials: Any = None
    sampler: Any = "tpe"
    pruner: Any = "median"
    seed: Any = 1
    startup_trials: Any = 5
    params: dict[str, str] = field(default_factory=dict)


SWEEPERS = {"optuna": Optuna}


@dataclass(frozen=True)
class Choice:
    """A key that takes one of several values, each as it stands in an override."""

    key: str
    values: tuple[str, ...]

    def parse(self, text: str) -> str:
        """The value that stands so in an override."""
        return text


@dataclass(frozen=True)
class Interval:
    """A key that takes numbers from `low` to `high`, both included; with a `step`, those at its multiples from `low`.

    `log`: evenly on a logarithmic scale.
    """

    key: str
    low: float
    high: float
    step: float | None = None
    log: bool = False
    whole: bool = False

    @property
    def values(self) -> tuple[str, ...]:
        """The numbers as they stand in overrides, where they can be counted."""
        assert self.step is not None
        count = round((self.high - self.low) / self.step) + 1
        return tuple(self.text(self.low + n * self.step) for n in range(count))

    def text(self, value: float) -> str:
        """A number of the interval as it stands in an override: 0.3, not 0.1 + 0.2."""
        return str(round(value) if self.whole else _decimal(value) if self.step else value)

    def parse(self, text: str) -> float:
        """The number that stands so in an override."""
        return int(text) if self.whole else float(text)


Dimension = Choice | Interval


@dataclass(frozen=True)
class Search:
    """A search, checked: the keys of its space, what every job has besides, and the seeds that each trial repeats.

    `given` are all overrides of the jobs in the order in which they were given, by key; those in the space have None.
    """

    given: Mapping[str, str | None]
    space: Sequence[Dimension]
    seeds: Sequence[str]
    n_trials: int
    sampler: str
    pruner: str
    seed: int
    startup_trials: int

    def overrides(self, values: Mapping[str, str]) -> list[tuple[str, ...]]:
        """The overrides of the jobs of a trial with these values of the keys in the space, one job for each seed."""
        own = [f"{key}={values[key] if text is None else text}" for key, text in self.given.items()]
        return [(*own, f"seed={seed}") for seed in self.seeds] or [tuple(own)]

    @property
    def jobs(self) -> int:
        """The number of jobs, at most."""
        return self.n_trials * max(len(self.seeds), 1)

    @property
    def common(self) -> set[str]:
        """The overrides that all jobs have."""
        return {f"{key}={text}" for key, text in self.given.items() if text is not None}

    def most(self, key: str, otherwise: int) -> int:
        """The largest value that a key with whole numbers takes in a trial, or that which it has `otherwise`."""
        found = next((dimension for dimension in self.space if dimension.key == key), None)
        if isinstance(found, Interval):
            return int(found.high)
        return max(map(int, found.values)) if found else otherwise

    @property
    def size(self) -> int:
        """The number of points of a grid."""
        return math.prod(len(dimension.values) for dimension in self.space)

    def points(self) -> Iterator[dict[str, str]]:
        """The points of a grid, the last key of the space varying fastest."""
        keys = [dimension.key for dimension in self.space]
        for values in product(*(dimension.values for dimension in self.space)):
            yield dict(zip(keys, values, strict=True))


def require_search(hydra: DictConfig, arguments: Iterable[str], *, multirun: bool) -> None:
    """Raise ConfigError for a search that cannot be, and for a space where no search is asked for.

    `hydra` is the configuration of Hydra itself. The keys must exist.
    """
    choices = hydra.runtime.choices
    if multirun and choices["hydra/sweeper"] in SWEEPERS:
        read_search(hydra.sweeper, arguments)
        return
    advice = "add -m hydra/sweeper=optuna"
    if choices[GROUP]:
        raise ConfigError(f"{GROUP}={choices[GROUP]} must go with a search, got none; {advice}")
    for override in OverridesParser.create().parse_overrides([*_lines(hydra.sweeper), *arguments]):
        if override.is_interval_sweep():
            must = f"{override.key_or_group} must have an interval in a search alone, got none"
            raise ConfigError(f"{must}; {advice}, or list values")


def _lines(sweeper: Mapping[str, Any]) -> list[str]:
    """The overrides among the options of a sweeper."""
    return [f"{key}={value}" for key, value in (sweeper["params"] or {}).items()]


def read_search(options: Mapping[str, Any], arguments: Iterable[str]) -> Search:
    """The search that the options of Hydra's sweeper and the overrides of its command line describe.

    The keys must exist, and Hydra be initialized. Raises ConfigError with all that is wrong.
    """
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())  # which knows the options of groups
    by_key = {found.get_key_element(): found for found in parser.parse_overrides([*_lines(options), *arguments])}
    problems, given, space, seeds = list[str](), dict[str, str | None](), list[Dimension](), list[str]()
    for key, override in by_key.items():
        if override.is_hydra_override():
            continue
        try:
            if key == GROUP:
                _require_one(override)  # its values are among the options
                continue
            if not override.is_sweep_override():
                given[key] = override.get_value_element_as_str()
            elif key == "seed":
                seeds = _seeds(override)
            else:
                given[key] = None
                space.append(_dimension(key, override))
        except ConfigError as error:
            problems.append(str(error))
    problems += _wrong_options(options, space) or ([] if space or problems else [_EMPTY])
    if problems:
        raise ConfigError(listed(problems))
    named = {name: options[name] for name in ("sampler", "pruner", "seed", "startup_trials")}
    search = Search(given, space, seeds, options["n_trials"] or _TRIALS, **named)
    if search.sampler == "grid" and options["n_trials"] is None:
        return replace(search, n_trials=search.size)
    return search


def _require_one(override: Override) -> None:
    if override.is_sweep_override():
        raise ConfigError(f"{GROUP} must be one space, got {shown(override.get_value_string())}")


def _seeds(override: Override) -> list[str]:
    if not override.is_discrete_sweep():
        must = "seed must be a list in a search, each of whose trials runs with all of them"
        raise ConfigError(f"{must}, got {shown(override.get_value_string())}; try seed=1,2,3")
    seeds = list(dict.fromkeys(islice(override.sweep_string_iterator(), _MOST_SEEDS + 1)))
    if len(seeds) > _MOST_SEEDS:
        raise ConfigError(f"seed must have at most {_MOST_SEEDS:,} values, got {shown(override.get_value_string())}")
    return seeds


def _dimension(key: str, override: Override) -> Dimension:
    """What an override with several values adds to the space."""
    value, written = override.value(), override.get_value_string()
    if not isinstance(value, RangeSweep | IntervalSweep):
        if choices := tuple(dict.fromkeys(override.sweep_string_iterator())):
            return Choice(key, choices)
        raise ConfigError(f"{key} must have values to choose from, got none that match {shown(written)}")
    if unknown := sorted(value.tags - {"log", "int"}):
        raise ConfigError(f"{key} must have no tags but log and int, got {unknown[0]!r} in {shown(written)}")
    numbers = [kind for kind in OPTIONS.get(key, []) if kind.get("type") in ("integer", "number")]
    if not numbers:
        raise ConfigError(f"{key} takes no numbers, got {shown(written)}; try choice(…)")
    is_whole = numbers[0]["type"] == "integer" or "int" in value.tags
    interval = _range(key, value, is_whole) if isinstance(value, RangeSweep) else _interval(key, value, is_whole)
    _require_within(interval, written, numbers[0])
    return interval


def _interval(key: str, value: IntervalSweep, is_whole: bool) -> Interval:
    assert value.start is not None
    assert value.end is not None
    is_whole = is_whole or (type(value.start) is int and type(value.end) is int)  # int(interval(…))
    return Interval(key, value.start, value.end, 1.0 if is_whole else None, "log" in value.tags, is_whole)


def _range(key: str, value: RangeSweep, is_whole: bool) -> Interval:
    """A range as an interval: without its end, as Hydra has it."""
    numbers = [_decimal(number) for number in islice(value.range(), _MOST_POINTS + 1)]
    if len(numbers) > _MOST_POINTS:
        raise ConfigError(f"{key} must have a range of at most {_MOST_POINTS:,} values, got more; try interval(…)")
    if not numbers:
        raise ConfigError(f"{key} must have a range with a value in it, got none from {value.start} to {value.stop}")
    is_whole = is_whole or all(type(number) is int for number in numbers)
    return Interval(key, min(numbers), max(numbers), abs(float(value.step)), "log" in value.tags, is_whole)


def _decimal(number: float) -> float:
    """A number of a range as a person writes it."""
    return number if isinstance(number, int) else float(f"{number:.12g}")


def _require_within(interval: Interval, written: str, kind: Mapping[str, Any]) -> None:
    """Raise ConfigError where an interval is none, or reaches beyond what its key takes."""
    key, low, high = interval.key, interval.low, interval.high
    got = f"got {shown(written)}"
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ConfigError(f"{key} must have an interval from a lower to a higher number, {got}")
    if interval.log and (low <= 0 or interval.step not in (None, 1.0)):
        raise ConfigError(f"{key} must have numbers above 0 and no steps on a logarithmic scale, {got}")
    if interval.whole and not all(float(end).is_integer() for end in (low, high, interval.step or 1)):
        raise ConfigError(f"{key} must have whole numbers, {got}")
    bounds: dict[str, Callable[[float], bool]] = {
        "minimum": lambda bound: low < bound,
        "exclusiveMinimum": lambda bound: low <= bound,
        "maximum": lambda bound: high > bound,
        "exclusiveMaximum": lambda bound: high >= bound,
    }
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    for name, is_beyond in bounds.items():
        if name in kind and is_beyond(kind[name]):
            raise ConfigError(f"{key} must be {signs[name]} {kind[name]:,g}, {got}")


def _wrong_options(options: Mapping[str, Any], space: Iterable[Dimension]) -> list[str]:
    """What is wrong with the options of the sweeper."""
    wrong = [
        f"hydra.sweeper.{name} must be one of {', '.join(names)}, got {shown(options[name])}"
        for name, names in {"sampler": SAMPLERS, "pruner": PRUNERS}.items()
        if options[name] not in names
    ]
    for name, least in {"n_trials": 1, "startup_trials": 1, "seed": 0}.items():
        value = options[name]
        if not (type(value) is int and least <= value <= _MOST) and (name, value) != ("n_trials", None):
            wrong.append(f"hydra.sweeper.{name} must be a whole number from {least} to {_MOST:,}, got {shown(value)}")
    names = [found.name for found in fields(Optuna)]
    wrong += [
        f"there is no key hydra.sweeper.{name}; there are {', '.join(names[1:])}"
        for name in options
        if name not in names
    ]
    wrong += [
        f"{key} is no key of a search; give it on the command line" for key in options["params"] if "hydra" in key
    ]
    endless = [found.key for found in space if isinstance(found, Interval) and found.step is None]
    if options["sampler"] == "grid" and endless:
        wrong.append(f"{endless[0]} must have a list of values or a range in a grid; try another hydra.sweeper.sampler")
    return wrong
