"""The trials of a search as jobs of a sweep: a job for each seed, and the mean of their objectives.

The validation curve of a trial's first job decides whether the trial is pruned: its seed is the same in all trials.
With the first, the jobs of the other seeds end. Knows nothing about where jobs run.
"""

import math
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import RLock

from charloom.adapters.configuration.search import Search
from charloom.adapters.sweeps.curve import ValidationCurve
from charloom.adapters.sweeps.objectives import Objective
from charloom.adapters.sweeps.records import JobRecord, Task, is_finished, read_record, records
from charloom.adapters.sweeps.study import FILE, Study, Trial, storage_faults
from charloom.core.common.errors import ConfigError, StateError


@dataclass
class _Begun:
    """A trial that was asked for; `over`: why its jobs are not worth it any more, empty while they are."""

    trial: Trial
    tasks: list[Task]
    steps: int
    curve: ValidationCurve
    objectives: dict[int, float] = field(default_factory=dict)  # by the number of the job
    over: str = ""


class Trials:
    """The trials of a search, from any number of threads."""

    def __init__(self, folder: Path, search: Search, objective: str, *, validate_every: int, steps: int) -> None:
        """Begin or go on with the search in a sweep's folder.

        `validate_every` and `steps` are those of a training where they are not searched. `done` is the number of jobs
        that are not run any more, with those of other seeds that a pruned trial has left out. Raises ConfigError where
        the folder has another search, and StateError, as all methods do, where its study cannot be read or written.
        """
        most = search.most("train.steps", steps)
        _require_search(folder)
        self._folder, self._search, self._steps = folder, search, steps
        self._objective = Objective.named(objective)
        self._begun: dict[int, _Begun] = {}  # by the number of each job
        self._lock = RLock()
        with self._held():
            self._study = Study(folder, search, validate_every=validate_every, steps=most)
            self.done = self._study.ended * max(len(search.seeds), 1)
            for place in self._study.pruned():
                self._end_pruned(place)

    def tasks(self) -> Iterator[Task]:
        """The jobs that are to run, each trial asked for when its first job is taken."""
        trials = self._study.trials()
        while begun := self._next(trials):
            for task in begun.tasks:
                if begun.over:
                    break
                if record := _finished(task):
                    self.note(record)
                else:
                    yield task

    def prunes(self, task: Task) -> str:
        """Why a running job is to end; empty where it goes on."""
        with self._held():
            begun = self._begun[task.number]
            if task is begun.tasks[0]:
                self._judge(begun)
            return begun.over

    def note(self, record: JobRecord) -> None:
        """A job has ended."""
        with self._held():
            begun = self._begun[record.number]
            first = begun.tasks[0].number
            if record.number == first and record.status == "finished":
                self._judge(begun)  # to the end, so that the same search prunes the same however fast its jobs are
            if begun.over:
                return
            if record.status == "failed":
                self._fail(begun, record.number, record.message)
            elif record.status == "finished":
                self._note_objective(begun, record.number)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """In the block, this thread alone looks at the study."""
        with self._lock, storage_faults(self._folder):
            yield

    def _next(self, trials: Iterator[Trial]) -> _Begun | None:
        with self._held():
            trial = next(trials, None)
            if trial is None:
                return None
            overrides = self._search.overrides(trial.values)
            first = trial.place * len(overrides)
            tasks = [Task(number, own, self._folder) for number, own in enumerate(overrides, first)]
            steps = int(trial.values.get("train.steps", self._steps))
            begun = _Begun(trial, tasks, steps, ValidationCurve(tasks[0].folder))
            self._begun |= dict.fromkeys((task.number for task in tasks), begun)
            return begun

    def _judge(self, begun: _Begun) -> None:
        """Have the study look at the validation curve; at its end, there is nothing left to be saved."""
        if not begun.over:
            curve = [point for point in begun.curve.new_points() if point[0] < begun.steps]
            step = self._study.judge(begun.trial, curve)
            begun.over = "" if step is None else f"pruned at step {step:,}"

    def _note_objective(self, begun: _Begun, number: int) -> None:
        task = begun.tasks[number - begun.tasks[0].number]
        try:
            objective = self._objective.read(task.folder)
        except StateError as error:
            return self._fail(begun, number, str(error))
        if objective is None or not math.isfinite(objective):
            return self._fail(begun, number, f"{self._objective.name} must be a number, got {objective}")
        begun.objectives[number] = objective
        if len(begun.objectives) == len(begun.tasks):
            self._study.complete(begun.trial, statistics.fmean(begun.objectives.values()))

    def _fail(self, begun: _Begun, number: int, message: str) -> None:
        begun.over = f"job {number} of the same trial failed"
        self._study.fail(begun.trial, message)

    def _end_pruned(self, place: int) -> None:
        """Record the jobs of a pruned trial as such where the sweep was killed before it could."""
        jobs = max(len(self._search.seeds), 1)
        for task in (Task(number, (), self._folder) for number in range(place * jobs, (place + 1) * jobs)):
            record = _read(task)
            if record and record.status in ("running", "interrupted"):
                replace(record, status="pruned").write(task.folder)


def _require_search(folder: Path) -> None:
    """Raise ConfigError where a sweep has jobs, but no study."""
    if any(records(folder)) and not (folder / FILE).exists():
        must = f"a search that goes on must have a study, got jobs without one in {folder}"
        raise ConfigError(f"{must}; leave sweep.resume out for a new search")


def _read(task: Task) -> JobRecord | None:
    try:
        return read_record(task.folder)
    except (OSError, ValueError):
        return None


def _finished(task: Task) -> JobRecord | None:
    """The record of a job that has its result already."""
    record = _read(task)
    return record if record and record.overrides == task.overrides and is_finished(task.folder, record) else None
