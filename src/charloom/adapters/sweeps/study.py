"""A search as a study of Optuna's: what is tried next, what became of each trial, and which trainings are not worth it.

The study is a database in the sweep's folder and holds all of the search's state: one that was killed goes on as if
nothing had happened. Knows nothing about jobs.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import optuna
from optuna.exceptions import OptunaError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from charloom.adapters.configuration.search import Choice, Dimension, Search
from charloom.core.common.errors import ConfigError, StateError
from charloom.core.common.formatting import in_one_line

FILE = "study.db"
_NAME = "charloom"  # of the study in it
_SEARCH, _PLACE, _ERROR = "search", "place", "error"  # attributes of the study and of its trials


@dataclass(frozen=True)
class Trial:
    """A trial of a search with the values of its keys; one that is tried again keeps its `place` among the trials."""

    place: int
    values: Mapping[str, str]
    optuna: optuna.Trial


class Study:
    """The study of a search in a folder, made there or gone on with.

    What is asked next depends on the seed and on what was told alone, not on this process: each trial is drawn by a
    random generator of its own.
    """

    def __init__(self, folder: Path, search: Search, *, validate_every: int, steps: int) -> None:
        """Open the study. Its trainings validate every so many updates, and have at most `steps`.

        Raises ConfigError where the study that is there is of another search.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._search, self._pruner = search, _pruner(search, validate_every, steps)
        # Without a pruner of its own: with Hyperband, Optuna would learn from the trials of one bracket alone.
        self._study = optuna.create_study(
            storage=_storage(folder / FILE), study_name=_NAME, pruner=optuna.pruners.NopPruner(), load_if_exists=True
        )
        shape = {"space": [asdict(found) for found in search.space], "seeds": search.seeds}
        described = json.loads(json.dumps(shape))
        if self._study.user_attrs.get(_SEARCH, described) != described:
            must = f"a search that goes on must have the space and the seeds that it has in {folder / FILE}"
            raise ConfigError(f"{must}, got others; leave sweep.resume out for a new search")
        self._study.set_user_attr(_SEARCH, described)

    def trials(self) -> Iterator[Trial]:
        """The trials that are to run, each asked for when it is taken: unfinished ones, failed ones again, new ones."""
        for frozen in self._trials(TrialState.RUNNING):
            self._study.sampler = self._sampler(frozen.number)
            yield self._begun(optuna.Trial(self._study, frozen._trial_id))
        for place, last in {frozen.user_attrs[_PLACE]: frozen for frozen in self._trials()}.items():
            if last.state == TrialState.FAIL:
                self._study.enqueue_trial(last.params, {_PLACE: place})
        while self._trials(TrialState.WAITING) or self._has_more():
            self._study.sampler = self._sampler(len(self._trials()))
            yield self._begun(self._study.ask())

    def judge(self, trial: Trial, curve: Sequence[tuple[int, float]]) -> int | None:
        """Take points of a trial's validation curve, in order, and tell the step at which they have it pruned.

        The trial has then ended. None where it goes on.
        """
        if not curve:
            return None
        known = self._found(trial).last_step or 0
        for step, loss in curve:
            if step > known:  # else it is one from before the search was killed
                trial.optuna.report(loss, step)
                if self._pruner.prune(self._study, self._found(trial)):
                    self._study.tell(trial.optuna, state=TrialState.PRUNED)
                    return step
        return None

    def complete(self, trial: Trial, objective: float) -> None:
        """A trial has ended with this objective."""
        self._study.tell(trial.optuna, objective)

    def fail(self, trial: Trial, message: str) -> None:
        """A trial has failed."""
        trial.optuna.set_user_attr(_ERROR, message)
        self._study.tell(trial.optuna, state=TrialState.FAIL)

    def pruned(self) -> Iterator[int]:
        """The places of the trials that were pruned."""
        return (frozen.user_attrs[_PLACE] for frozen in self._trials(TrialState.PRUNED))

    @property
    def ended(self) -> int:
        """The number of trials that have ended, failures aside."""
        return len(self._trials(TrialState.COMPLETE, TrialState.PRUNED))

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states or None)

    def _found(self, trial: Trial) -> FrozenTrial:
        return self._trials()[trial.optuna.number]

    def _has_more(self) -> bool:
        """Whether a new trial is left; the one of a grid is told to Optuna."""
        place = len({frozen.user_attrs.get(_PLACE) for frozen in self._trials()})
        if place >= self._search.n_trials:
            return False
        if self._search.sampler == "grid":
            point = next(islice(self._search.points(), place, None), None)
            if point is None:
                return False
            values = {found.key: found.parse(point[found.key]) for found in self._search.space}
            self._study.enqueue_trial(values, {_PLACE: place})
        return True

    def _begun(self, trial: optuna.Trial) -> Trial:
        """The trial with its place and its values, which are drawn where they are not known yet."""
        place = trial.user_attrs.get(_PLACE)
        if place is None:
            place = len({frozen.user_attrs[_PLACE] for frozen in self._trials() if _PLACE in frozen.user_attrs})
            trial.set_user_attr(_PLACE, place)
        return Trial(place, {found.key: _suggested(trial, found) for found in self._search.space}, trial)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """What draws the values of the trial with this number."""
        seed = int(np.random.SeedSequence([self._search.seed, number]).generate_state(1)[0])
        if self._search.sampler == "tpe":
            startup = self._search.startup_trials
            return optuna.samplers.TPESampler(n_startup_trials=startup, seed=seed)
        return optuna.samplers.RandomSampler(seed)


def _storage(path: Path) -> optuna.storages.RDBStorage:
    """The database in a file, whatever is in its name: in a URL, a question mark would end it."""
    connect = partial(sqlite3.connect, path, check_same_thread=False)
    return optuna.storages.RDBStorage("sqlite:///file", engine_kwargs={"creator": connect})


@contextmanager
def storage_faults(folder: Path) -> Iterator[None]:
    """Turn what a database that cannot be read or written raises into a StateError."""
    try:
        yield
    except (OptunaError, SQLAlchemyError) as error:
        reason = in_one_line(str(error.__cause__ or error))
        advice = "free space there, or leave sweep.resume out for a new search"
        raise StateError(
            f"{folder / FILE} must be a study that can be read and written, got {reason}; {advice}"
        ) from None


def _suggested(trial: optuna.Trial, dimension: Dimension) -> str:
    """The value of a key in a trial, as it stands in an override."""
    key = dimension.key
    if isinstance(dimension, Choice):
        return trial.suggest_categorical(key, dimension.values)
    low, high, step, log = dimension.low, dimension.high, dimension.step, dimension.log
    if dimension.whole:
        return dimension.text(trial.suggest_int(key, int(low), int(high), step=int(step or 1), log=log))
    return dimension.text(trial.suggest_float(key, low, high, step=None if log else step, log=log))


def _pruner(search: Search, validate_every: int, steps: int) -> optuna.pruners.BasePruner:
    """What ends trainings early; without two validations, nothing does."""
    if search.pruner == "none" or not 0 < validate_every < steps:
        return optuna.pruners.NopPruner()
    if search.pruner == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(validate_every, reduction_factor=2)
    if search.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(validate_every, steps)
    return optuna.pruners.MedianPruner(search.startup_trials)
