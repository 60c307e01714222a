"""Results as runs in MLflow: one run for each result, found again by the hashes of its files.

MLflow is imported where it is used, because that takes a second and a half. A tracking server that is down costs
seconds and an error of one line, never a result.
"""

from charloom.adapters.tracking.fingerprint import hash_result, verify
from charloom.adapters.tracking.registry import register
from charloom.adapters.tracking.runs import Recorded, record

__all__ = ["Recorded", "hash_result", "record", "register", "verify"]
