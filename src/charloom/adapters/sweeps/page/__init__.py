"""The page of a sweep: one HTML file with its tables, charts and samples, that loads nothing."""

from charloom.adapters.sweeps.page.page import page

__all__ = ["page"]
