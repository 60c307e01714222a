"""The figures, each a function from plain values to the bytes of a PNG. The only package that knows matplotlib.

The same values give the same bytes. Knows nothing about files.
"""

from charloom.adapters.plots.gradient_figures import gradient_errors, step_sweep
from charloom.adapters.plots.inside_figures import dynamics, gradient_flow
from charloom.adapters.plots.loss_figure import loss
from charloom.adapters.plots.quality_figure import quality
from charloom.adapters.plots.samples_page import samples

__all__ = ["dynamics", "gradient_errors", "gradient_flow", "loss", "quality", "samples", "step_sweep"]
