"""Every promise, in the order of the table in docs/reliability.md."""

from tests.torture.promise import Promise
from tests.torture.security import SECURITY

PROMISES: tuple[Promise, ...] = (*SECURITY,)
