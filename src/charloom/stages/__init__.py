"""The stages of the pipeline, one module each: read, call, write, report."""
