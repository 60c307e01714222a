"""The gradient check: the analytic gradient against two numerical ones, entry by entry."""

from charloom.core.gradcheck.check import Check, check, step_sweep
from charloom.core.gradcheck.copies import Copies, Window
from charloom.core.gradcheck.numerical import Map
from charloom.core.gradcheck.table import table
from charloom.core.gradcheck.windows import second_window, well_conditioned

__all__ = ["Check", "Copies", "Map", "Window", "check", "second_window", "step_sweep", "table", "well_conditioned"]
