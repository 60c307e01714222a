"""The report: the results of a run on one HTML page. The only package that knows jinja2."""

from charloom.adapters.report.report import page

__all__ = ["page"]
