"""The report: the results of a run on one HTML page. The only package that knows jinja2."""

from charloom.adapters.report.report import page
from charloom.adapters.report.verdict import held_out_loss

__all__ = ["held_out_loss", "page"]
