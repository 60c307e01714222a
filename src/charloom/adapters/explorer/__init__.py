"""The explorer: a page on which a trained network reads, predicts and writes, computed by the browser.

network.js has the cells, forward and backward, sampling.js and ngrams.js what their names say; the other scripts show
what these find. The page is explorer.html with its files put in their places.
"""

from charloom.adapters.explorer.explorer import LONGEST_TRAINING_TEXT, Page, page

__all__ = ["LONGEST_TRAINING_TEXT", "Page", "page"]
