"""What the run of a sweep in MLflow, above the runs of its jobs, holds."""

from collections.abc import Sequence

from charloom.adapters.sweeps.jobs import Job, configurations
from charloom.adapters.tracking import Journal
from charloom.adapters.tracking.payload import NOTE_TAG, as_text


def note_jobs(journal: Journal | None, jobs: Sequence[Job]) -> None:
    """Enter two tables into a sweep's journal: `sweep.json` of the jobs, and `summary.json` of the configurations.

    The best configuration is the run's description, and its figures are the metrics `best/…`: the mean over the seeds,
    their number, and where it is more than one the standard deviation as `best/…_sd`.
    """
    if journal is None:
        return
    found = configurations(jobs)
    rows = [job.row() for job in jobs]
    journal.log(tables={"sweep.json": rows, "summary.json": [configuration.row() for configuration in found]})
    if found and found[0].figures:
        note = ", ".join(f"{column} {as_text(value)}" for column, value in found[0].row().items())
        best = {f"best/{name}": value for name, value in found[0].metrics().items()}
        journal.log(metrics=best, tags={NOTE_TAG: f"Best: {note}"})
