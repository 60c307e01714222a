"""The command `python -m charloom.fetch`: download a published corpus."""

import sys

from charloom.adapters.fetch import main

if __name__ == "__main__":
    sys.exit(main())
