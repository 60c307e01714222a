"""Every promise, in the order of the table in docs/reliability.md."""

from tests.torture import dvc_recovery, files, kills, same_everywhere, security, signals, soak
from tests.torture.promise import Promise

PROMISES: tuple[Promise, ...] = (
    *kills.PROMISES,
    *signals.PROMISES,
    *files.PROMISES,
    *dvc_recovery.PROMISES,
    *same_everywhere.PROMISES,
    *soak.PROMISES,
    *security.PROMISES,
)
