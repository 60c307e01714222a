"""A team's servers as docs/team.md sets them up: PostgreSQL, a store, MLflow with accounts.

`python -m tests.team` tries more, with DVC's remote, in some minutes.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import team
from tests.results import MLFLOW_WARNINGS

pytestmark = MLFLOW_WARNINGS


@pytest.fixture(scope="module")
def servers() -> Iterator[team.Team]:
    if team.postgres_programs() is None:
        reason = "PostgreSQL is not installed (apt-get install postgresql)"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="charloom-team-") as folder:  # pytest's own is closed to the user postgres
        Path(folder).chmod(0o755)
        with team.servers(Path(folder)) as running:
            yield running


@pytest.mark.parametrize("holds", team.QUICK, ids=lambda holds: holds.__name__)
def test_the_servers_keep_what_the_page_promises(servers: team.Team, holds: Callable[[team.Team], None]) -> None:
    holds(servers)


def test_a_secret_that_is_written_is_found(servers: team.Team) -> None:
    planted = servers.project.root / "planted.txt"
    planted.write_text(servers.variables("ada")["MLFLOW_TRACKING_PASSWORD"], encoding="utf-8")
    with pytest.raises(AssertionError, match=r"MLFLOW_TRACKING_PASSWORD in a project/planted\.txt"):
        team.writes_no_secret_anywhere(servers)
    planted.unlink()
