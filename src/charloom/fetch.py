"""The command `python -m charloom.fetch`: download a published corpus."""

from charloom.adapters.fetch import main

if __name__ == "__main__":
    raise SystemExit(main())
