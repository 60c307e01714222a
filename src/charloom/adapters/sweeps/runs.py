"""A sweep in MLflow: the run above the runs of its jobs, and the runs of jobs that failed.

Where MLflow cannot be written to, that is a warning: the sweep goes on.
"""

import logging
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Literal, ParamSpec, TypeVar

import psutil

from charloom.adapters.configuration import Config, TrackingConfig
from charloom.adapters.tracking.payload import NOTE_TAG, as_text, model_name, parameter_texts
from charloom.adapters.tracking.runs import create_run, ended_run, send_parameters, send_table
from charloom.adapters.tracking.store import Store, opened
from charloom.core.common.errors import EnvironmentFault

_log = logging.getLogger(__name__)

_PROCESS_TAG = "charloom.process"  # that runs the sweep
_BEST = "smooth_loss"  # the column whose lowest value is the best job's
_MAX_TAG = 5000  # characters that MLflow takes in a tag's value

Status = Literal["FINISHED", "FAILED", "KILLED"]
P = ParamSpec("P")
T = TypeVar("T")


def _only_warning(work: Callable[P, T]) -> Callable[P, T | None]:
    """Warn and return None where `work` raises EnvironmentFault."""

    @wraps(work)
    def warning(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return work(*args, **kwargs)
        except EnvironmentFault as error:
            _log.warning("%s", error)
            return None

    return warning


@_only_warning
def open_parent(tracking: TrackingConfig, name: str) -> str | None:
    """Make the run that the runs of a sweep go under, and leave it open; end those whose sweep was killed.

    Its id, for `close_parent` and for the runs below it; None where there is none, because tracking is off or
    MLflow cannot be written to.
    """
    if tracking.mode == "off":
        return None
    with opened(tracking, "the sweep goes on without a run above its runs") as store:
        _end_killed_sweeps(store)
        tags = {"charloom.sweep": "true", _PROCESS_TAG: _identify(psutil.Process())}
        return str(create_run(store, name, tags).info.run_id)


@_only_warning
def record_failure(config: Config, message: str, *, parent: str | None = None) -> str | None:
    """Make a failed run of a job that ended in an error, with `message` in the tag `charloom.error`.

    The run's id; None where there is none, because tracking is off or MLflow cannot be written to.
    """
    if config.tracking.mode == "off":
        return None
    tags = {"charloom.error": message[:_MAX_TAG], NOTE_TAG: message[:_MAX_TAG]}
    with opened(config.tracking, "the failed job is not in MLflow") as store:
        run_id = str(create_run(store, f"{model_name(config)}, failed", tags, parent).info.run_id)
        with ended_run(store, run_id, "FAILED"):
            send_parameters(store.client, run_id, parameter_texts(config))
        return run_id


@_only_warning
def close_parent(
    tracking: TrackingConfig, run_id: str | None, rows: Sequence[Mapping[str, object]], *, status: Status = "FINISHED"
) -> None:
    """End a sweep's run with a table of its jobs, `sweep.json`, a row for each: number, overrides, figures.

    The lowest smooth loss becomes the metric `best/smooth_loss`, and its row the run's description.
    """
    if run_id is None:
        return
    figures = [(value, row) for row in rows if isinstance(value := row.get(_BEST), int | float)]
    winner = min(figures, key=lambda figure: figure[0] if math.isfinite(figure[0]) else math.inf, default=None)
    hint = "the sweep's runs are there, its summary is not"
    with opened(tracking, hint) as store, ended_run(store, run_id, status):
        send_table(store.client, run_id, rows, "sweep.json")
        if winner:
            store.client.log_metric(run_id, f"best/{_BEST}", winner[0], synchronous=True)
            note = ", ".join(f"{column} {as_text(value)}" for column, value in winner[1].items())
            store.client.set_tag(run_id, NOTE_TAG, f"Best: {note}", synchronous=True)


def _end_killed_sweeps(store: Store) -> None:
    """End the runs of this machine's sweeps that were left open by a process which is gone."""
    running = "attributes.status = 'RUNNING' and tags.`charloom.sweep` = 'true'"
    for run in store.client.search_runs([store.experiment_id], running):
        identity = run.data.tags.get(_PROCESS_TAG)
        if identity and _has_ended(identity):
            store.client.set_terminated(run.info.run_id, "KILLED")


def _identify(process: psutil.Process) -> str:
    """The machine's name, the id of the process and its start: no other process has the same."""
    return f"{platform.node()} {process.pid} {process.create_time():.2f}"


def _has_ended(identity: str) -> bool:
    """Whether the process with this identity has ended; of another machine's it is not known."""
    host, pid, _ = identity.rsplit(" ", 2)
    try:
        return host == platform.node() and _identify(psutil.Process(int(pid))) != identity
    except psutil.NoSuchProcess:
        return True
