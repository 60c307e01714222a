"""Sweeps: many runs of the stages, what became of each, and their figures as mean and standard deviation over seeds."""

from charloom.adapters.sweeps.folder import own
from charloom.adapters.sweeps.jobs import Job
from charloom.adapters.sweeps.parent import note_summary
from charloom.adapters.sweeps.plugins import register
from charloom.adapters.sweeps.presets import write_best_preset
from charloom.adapters.sweeps.records import records
from charloom.adapters.sweeps.summary import lines
from charloom.adapters.sweeps.sweep import SweepError, sweep
from charloom.adapters.sweeps.terminal import failures
from charloom.adapters.sweeps.writing import PAGE, write_summary

__all__ = [
    "PAGE",
    "Job",
    "SweepError",
    "failures",
    "lines",
    "note_summary",
    "own",
    "records",
    "register",
    "sweep",
    "write_best_preset",
    "write_summary",
]
