"""The gradient check: every entry of the analytic gradient against two numerical ones."""

from charloom.core.gradcheck.check import SWEEP_STEPS, TRUNCATION, Check, check, compare, rounding_floor, step_sweep
from charloom.core.gradcheck.numerical import COMPLEX_STEP, METHODS, Map, Window, analytic_gradient, numerical_gradient
from charloom.core.gradcheck.table import table

__all__ = [
    "COMPLEX_STEP",
    "METHODS",
    "SWEEP_STEPS",
    "TRUNCATION",
    "Check",
    "Map",
    "Window",
    "analytic_gradient",
    "check",
    "compare",
    "numerical_gradient",
    "rounding_floor",
    "step_sweep",
    "table",
]
