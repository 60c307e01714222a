"""The gradient check: two numerical gradients, the errors of the analytic one, and the step sweep."""

from charloom.core.gradcheck.gradcheck import (
    COMPLEX_STEP,
    METHODS,
    SWEEP_STEPS,
    TRUNCATION,
    Check,
    Window,
    analytic_gradient,
    check,
    compare,
    numerical_gradient,
    rounding_floor,
    step_sweep,
    table,
)

__all__ = [
    "COMPLEX_STEP",
    "METHODS",
    "SWEEP_STEPS",
    "TRUNCATION",
    "Check",
    "Window",
    "analytic_gradient",
    "check",
    "compare",
    "numerical_gradient",
    "rounding_floor",
    "step_sweep",
    "table",
]
