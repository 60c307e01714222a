"""The adapters: one module or package for each outside world. They use the core; the core does not know them."""
