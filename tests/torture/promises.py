"""Every promise, in the order of the table in docs/reliability.md."""

from tests.torture.promise import Promise
from tests.torture.signals import SIGNALS

PROMISES: tuple[Promise, ...] = (*SIGNALS,)
