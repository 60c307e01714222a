"""A project that was moved or copied with its runs: MLflow's database takes their files from where they are now.

MLflow keeps the absolute address of every run's files, and has no call that changes it. Without this, a project that
was moved could record nothing, and a copy would write its files into the original's folder.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from charloom.core.common.errors import EnvironmentFault

# Where MLflow's tables hold addresses of files.
_ADDRESSES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}


def follow(database: Path, found: str, artifacts: Path) -> None:
    """Let the addresses below `found`, in the database, be those of the same files in the folder `artifacts`.

    Where there is no such folder, the files have stayed, and only those of new runs will be in it. Raises
    EnvironmentFault where the database cannot be written to.
    """
    here = artifacts.as_uri()
    tables = _ADDRESSES if artifacts.is_dir() else {"experiments": _ADDRESSES["experiments"]}
    try:
        with closing(sqlite3.connect(database, timeout=20)) as connection, connection:
            for table, columns in tables.items():
                for column in columns:
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (here, len(found) + 1, found, len(found) + 1, f"{found}/"),
                    )
    except sqlite3.Error as error:
        raise EnvironmentFault(
            f"{database} cannot be written to ({error}), and its runs have their files elsewhere"
        ) from None
    print(f"{database} was moved or copied here: the files of its runs are now in {artifacts}", file=sys.stderr)
