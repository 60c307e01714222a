"""What the run of a sweep in MLflow, above the runs of its jobs, holds."""

from pathlib import Path

from charloom.adapters.sweeps.summary import Summary, description
from charloom.adapters.sweeps.writing import WRITTEN
from charloom.adapters.tracking import Journal
from charloom.adapters.tracking.payload import NOTE_TAG

_MAX_TAG = 5000  # characters that MLflow takes in a tag's value


def note_summary(journal: Journal | None, summary: Summary, sweep: Path) -> None:
    """Enter the summary into a sweep's journal: the files in the sweep's folder, and what the run's pages show.

    These are the tables `sweep.json` of the jobs and `summary.json` of the configurations; the best configuration as
    the description, its figures as the metrics `best/…`, with the number of seeds, the deviation over them as
    `best/…_sd` and the lead; and as parameters the keys that differ, with all their values.
    """
    if journal is None:
        return
    journal.log(
        metrics={f"best/{name}": value for name, value in summary.metrics().items()},
        parameters=summary.swept(),
        tags={NOTE_TAG: description(summary)[:_MAX_TAG]},
        files=[(path, "") for name in WRITTEN if (path := sweep / name).is_file()],
        tables={"sweep.json": summary.job_rows(), "summary.json": summary.rows()},
    )
