"""The summary of a sweep in its folder: written from local files alone, at its end and whenever it is asked for."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from charloom.adapters.files.formats import replacing
from charloom.adapters.sweeps.jobs import Job
from charloom.adapters.sweeps.objectives import Objective
from charloom.adapters.sweeps.page import page
from charloom.adapters.sweeps.reading import read_history, read_jobs, read_sample
from charloom.adapters.sweeps.summary import Summary, summarize

JOBS, CONFIGURATIONS, PAGE = "sweep.csv", "summary.csv", "sweep.html"
WRITTEN = (JOBS, CONFIGURATIONS, PAGE)
_SWEEP = "sweep.json"  # what the sweep itself left of what it is
_DEFAULT = "validation_nats_per_char"


def write_summary(sweep: Path, objective: str | None = None) -> Summary:
    """Sum up the jobs in a sweep's folder, and write the tables and the page there.

    They are compared by `objective`, or by what the sweep was started with. Raises ConfigError for a folder that is no
    sweep's, and StateError where it is damaged.
    """
    summary = summarize(read_jobs(sweep), Objective.named(objective or _objective(sweep)))
    _write_csv(sweep / JOBS, summary.job_rows())
    _write_csv(sweep / CONFIGURATIONS, summary.rows())
    with replacing(sweep / PAGE) as file:
        histories = {job.number: read_history(sweep, job) for job in summary.jobs}
        file.write(page(summary, sweep.absolute().name, histories, _samples(sweep, summary)).encode())
    return summary


def _samples(sweep: Path, summary: Summary) -> Iterator[tuple[str, Job, str]]:
    """What the best and the worst configuration write, each by its best job, with a title and the job."""
    for title, configuration in {"The best": summary.best, "The worst": summary.worst}.items():
        if configuration and (text := read_sample(sweep, job := summary.first_job(configuration))):
            yield title, job, text


def _objective(sweep: Path) -> str:
    """The objective that a sweep was started with."""
    try:
        return str(json.loads((sweep / _SWEEP).read_text(encoding="utf-8"))["objective"])
    except (OSError, ValueError, KeyError, TypeError):
        return _DEFAULT


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    with replacing(path) as file:
        file.write(text.getvalue().encode(errors="backslashreplace"))
