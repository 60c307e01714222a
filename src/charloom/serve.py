"""The command `python -m charloom.serve`: a model answers prompts, on a page and through MLflow's API."""

from charloom.adapters.serving import main

if __name__ == "__main__":
    main()
