"""Sweeps: many runs of the stages, what became of each, and their figures as mean and standard deviation over seeds."""

from charloom.adapters.sweeps.folder import own
from charloom.adapters.sweeps.jobs import Job
from charloom.adapters.sweeps.parent import note_jobs
from charloom.adapters.sweeps.plugins import register
from charloom.adapters.sweeps.sharing import run_once
from charloom.adapters.sweeps.sweep import SweepError, sweep

__all__ = ["Job", "SweepError", "note_jobs", "own", "register", "run_once", "sweep"]
