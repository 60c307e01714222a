"""Every promise, in the order of the table in docs/reliability.md."""

from tests.torture import dvc_recovery, files, fuzzing, kills, same_everywhere, security, signals, soak, sweeps
from tests.torture.promise import Promise

PROMISES: tuple[Promise, ...] = (
    *kills.PROMISES,
    *signals.PROMISES,
    *files.PROMISES,
    *dvc_recovery.PROMISES,
    *same_everywhere.PROMISES,
    *fuzzing.PROMISES,
    *soak.PROMISES,
    *security.PROMISES,
    *sweeps.PROMISES,
)
