"""The gradient check: every entry of the analytic gradient against two numerical ones."""

from charloom.core.gradcheck.check import check, step_sweep
from charloom.core.gradcheck.numerical import Map, Window
from charloom.core.gradcheck.table import table

__all__ = ["Map", "Window", "check", "step_sweep", "table"]
