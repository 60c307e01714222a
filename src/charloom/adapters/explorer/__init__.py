"""The explorer: a page on which a trained network reads, predicts and writes, computed by the browser.

The scripts that compute are network.js (the cells, forward and backward), sampling.js and ngrams.js; the others show
what these find. The page is explorer.html with its files put in their places.
"""

from charloom.adapters.explorer.page import page

__all__ = ["page"]
