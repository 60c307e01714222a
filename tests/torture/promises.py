"""Every promise, in the order of the table in docs/reliability.md."""

from tests.torture.fuzzing import FUZZING
from tests.torture.promise import Promise

PROMISES: tuple[Promise, ...] = FUZZING
