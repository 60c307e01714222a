"""Runs in MLflow: a journal beside the results is the truth, and a process of its own sends it, now or later.

MLflow is imported where it is used, because that takes a second and a half. A tracking server that is down costs
seconds and an error of one line, never a result.
"""

from charloom.adapters.tracking.fingerprint import hash_result, verify
from charloom.adapters.tracking.journal import FOLDER, Journal
from charloom.adapters.tracking.live import (
    ORIGIN,
    SWEEP,
    close_job,
    live_result,
    live_run,
    live_sweep,
    live_training,
    origin,
)
from charloom.adapters.tracking.registry import register
from charloom.adapters.tracking.runs import Recorded, record

__all__ = [
    "FOLDER",
    "ORIGIN",
    "SWEEP",
    "Journal",
    "Recorded",
    "close_job",
    "hash_result",
    "live_result",
    "live_run",
    "live_sweep",
    "live_training",
    "origin",
    "record",
    "register",
    "verify",
]
