"""Every promise, in the order of the table in docs/reliability.md."""

from tests.torture.files import FILES
from tests.torture.promise import Promise

PROMISES: tuple[Promise, ...] = (*FILES,)
