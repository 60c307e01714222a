"""The run of a sweep in MLflow, above the runs of its jobs. Where MLflow cannot be written to, that is a warning."""

import logging
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil

from charloom.adapters.configuration import Config, TrackingConfig
from charloom.adapters.sweeps.jobs import Job, configurations
from charloom.adapters.tracking.payload import NOTE_TAG, as_text, model_name, parameter_texts
from charloom.adapters.tracking.runs import create_run, ended_run, send_parameters, send_table
from charloom.adapters.tracking.store import Store, opened
from charloom.core.common.errors import EnvironmentFault
from charloom.core.common.formatting import in_one_line

PARENT = "CHARLOOM_SWEEP_RUN"  # in the environment, which every job's process inherits
_PROCESS_TAG = "charloom.process"  # that runs the sweep
_MAX_TAG = 5000  # characters that MLflow takes in a tag's value


def parent_run() -> str | None:
    """MLflow's run of the sweep that this job belongs to, if any."""
    return os.environ.get(PARENT) or None


def open_parent(tracking: TrackingConfig, name: str) -> str | None:
    """Make the run that the runs of a sweep go under, and leave it open; end those whose sweep was killed.

    Its id, for `close_parent` and for the runs below it; None where there is none, because tracking is off or
    MLflow cannot be written to.
    """
    if tracking.mode == "off":
        return None
    run_id = None
    with _only_warning(), opened(tracking, "the sweep goes on without a run above its runs") as store:
        _end_killed_sweeps(store)
        run_id = create_run(store, name, {"charloom.sweep": "true", _PROCESS_TAG: _identify(os.getpid())})
    return run_id


def record_failure(config: Config, message: str, *, parent: str | None = None) -> None:
    """Make a failed run of a job that ended in an error, with `message` in the tag `charloom.error`."""
    if config.tracking.mode == "off":
        return
    note = f"    {in_one_line(message)}"  # indented: of code, Markdown shows every character
    tags = {"charloom.error": message[:_MAX_TAG], NOTE_TAG: note[:_MAX_TAG]}
    with _only_warning(), opened(config.tracking, "the failed job is not in MLflow") as store:
        run_id = create_run(store, f"{model_name(config)}, failed", tags, parent)
        with ended_run(store, run_id, "FAILED"):
            send_parameters(store.client, run_id, parameter_texts(config))


def close_parent(
    tracking: TrackingConfig, run_id: str | None, jobs: Sequence[Job], *, status: str = "FINISHED"
) -> None:
    """End a sweep's run with two tables: `sweep.json`, a row for each job, and `summary.json`, for each configuration.

    The best configuration is the run's description, and its figures are the metrics `best/…`: the mean over the seeds,
    their number, and where it is more than one the standard deviation as `best/…_sd`.
    """
    if run_id is None:
        return
    found = configurations(jobs)
    hint = "the sweep's runs are there, its summary is not"
    with _only_warning(), opened(tracking, hint) as store, ended_run(store, run_id, status):
        send_table(store.client, run_id, [job.row() for job in jobs], "sweep.json")
        send_table(store.client, run_id, [configuration.row() for configuration in found], "summary.json")
        if found and found[0].figures:
            for name, value in found[0].metrics().items():
                store.client.log_metric(run_id, f"best/{name}", value, synchronous=True)
            note = ", ".join(f"{column} {as_text(value)}" for column, value in found[0].row().items())
            store.client.set_tag(run_id, NOTE_TAG, f"Best: {note}", synchronous=True)


@contextmanager
def _only_warning() -> Iterator[None]:
    """Warn of an EnvironmentFault instead of raising it."""
    try:
        yield
    except EnvironmentFault as error:
        logging.getLogger(__name__).warning("%s", in_one_line(str(error)))


def _end_killed_sweeps(store: Store) -> None:
    """End the runs of this machine's sweeps that were left open by a process which is gone."""
    running = f"attributes.status = 'RUNNING' and tags.`{_PROCESS_TAG}` != ''"
    for run in store.client.search_runs([store.experiment_id], running):
        identity = run.data.tags[_PROCESS_TAG]
        host, pid, _ = identity.rsplit(" ", 2)
        if host == platform.node() and _identify(int(pid)) != identity:
            store.client.set_terminated(run.info.run_id, "KILLED")


def _identify(pid: int) -> str:
    """The machine's name, the id of a process and its start, if there is one: no other process has the same."""
    try:
        start = f"{psutil.Process(pid).create_time():.2f}"
    except psutil.NoSuchProcess:
        start = "none"
    return f"{platform.node()} {pid} {start}"
