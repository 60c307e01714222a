"""The command `python -m charloom.tracking`: the runs in MLflow's pages."""

from charloom.adapters.ui import main

if __name__ == "__main__":
    main()
