"""Sweeps: what became of each job, in the sweep's folder and under one run in MLflow."""

from charloom.adapters.sweeps.sweeps import SweepError, note_failure, parent_run, sweep

__all__ = ["SweepError", "note_failure", "parent_run", "sweep"]
