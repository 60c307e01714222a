"""Sweeps: many runs of the stages, what became of each, and their figures as mean and standard deviation over seeds."""

from charloom.adapters.sweeps.jobs import Job
from charloom.adapters.sweeps.parent import close_parent, open_parent, parent_run, record_failure
from charloom.adapters.sweeps.sweep import SweepError, note_failure, sweep

__all__ = ["Job", "SweepError", "close_parent", "note_failure", "open_parent", "parent_run", "record_failure", "sweep"]
