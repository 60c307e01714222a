"""The adapters: a module or package for each tool that the core does not know, from the command line to MLflow."""
