"""The process that follows runs: it sends their journals to MLflow while they go on, and what is missing of others.

A server that does not answer is asked again after a while, more and more seldom, and that is said once. Nothing waits
for it but this process.
"""

import math
import os
import select
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from charloom.adapters.tracking import known
from charloom.adapters.tracking.addresses import Target
from charloom.adapters.tracking.journal import close_if_left_open, is_open, target_in
from charloom.adapters.tracking.sending import SECONDS_FOR_ANOTHER, Busy, Sender, is_sent
from charloom.adapters.tracking.store import Refused, Store, connect, faults, prepare
from charloom.core.common.errors import CharloomError, ConfigError, EnvironmentFault
from charloom.core.common.formatting import in_one_line

_SECONDS_BETWEEN_ROUNDS = 1.0
_ROUNDS_BETWEEN_LOOKS = 15  # for runs that were killed
_MOST_SECONDS_OF_REST = 60.0
_SECONDS_TO_LEAVE = 9.0  # before a server that does not answer is left alone
_LATER = "the run goes on; what is missing is sent when it answers"


@dataclass
class _Server:
    """An experiment and how it answers: after an error it is left alone until `rested`."""

    target: Target
    store: Store | None = None
    rest: float = 0.0
    rested: float = 0.0
    told: set[str] = field(default_factory=set)

    def send(self, folder: Path) -> bool:
        """Send a journal, and tell whether that went well. Raises Busy."""
        if time.monotonic() < self.rested:
            return False
        try:
            with faults(self.target, _LATER):
                self.store = self.store or connect(self.target)
                sent = Sender(self.store, self.target.experiment, folder).send()
        except Busy:
            raise
        except EnvironmentFault as error:
            self._tell(str(error))
            self.store = None  # where the database is a new one, the experiment is, too
            longer = min(2 * self.rest or 1.0, _MOST_SECONDS_OF_REST)
            self.rest = math.inf if isinstance(error, Refused) else longer
            self.rested = time.monotonic() + self.rest
            return False
        if self.rest:
            self.told.clear()
            print(f"charloom: MLflow at {self.target.address} answers again", file=sys.stderr)
        self.rest = 0.0
        if sent.problem:
            self._tell(f"MLflow lacks the files of a result: {sent.problem}")
        return True

    def _tell(self, message: str) -> None:
        if not self.told:
            print(f"charloom: warning: {in_one_line(message)}", file=sys.stderr)
        self.told.add(message)


class Follower:
    """Sends journals to where each is to go. `busy`: the last time, another process was sending one of them."""

    def __init__(self) -> None:
        self._servers: dict[Target, _Server] = {}
        self.busy = False

    def send(self, folders: Iterable[Path]) -> bool:
        """Send what is missing of these journals, and tell whether nothing is missing any more."""
        self.busy = False
        return all([self._send(folder) for folder in folders])

    def _send(self, folder: Path) -> bool:
        target = target_in(folder)
        if target is None:
            return True
        if not is_sent(folder, str(target.address)):
            server = self._servers.setdefault(target, _Server(target))
            try:
                if not server.send(folder):
                    return False
            except Busy:
                self.busy = True
                return False
        return is_sent(folder, str(target.address))

    def hurry(self) -> None:
        """Ask each server once more, whatever it did."""
        for server in self._servers.values():
            if server.rest != math.inf:
                server.rested = 0.0


def follow(folder: Path) -> int:
    """Follow the runs of a journal's folder until standard input is closed: their process is at its end.

    Then everything is sent that a server takes. The exit code: 5 where something is still missing.
    """
    with suppress(OSError):
        os.nice(5)
    prepare()
    folder = known.run_of(folder)
    follower, rounds = Follower(), 0
    others = [place for place in known.pending() if folder not in (place, *place.parents)]
    while not _is_left(_SECONDS_BETWEEN_ROUNDS if rounds else 0.0):
        if rounds % _ROUNDS_BETWEEN_LOOKS == 0:
            _close(known.within(folder))
        follower.send(known.within(folder))
        if others:
            _close(other := [others.pop()])
            _forget(other) if follower.send(other) else None
        rounds += 1
    give_up = time.monotonic() + _SECONDS_TO_LEAVE
    while True:
        _close(folders := known.within(folder))
        all_ended = not any(map(is_open, folders))  # a job of a sweep that was killed may be at its last checkpoint
        follower.hurry()
        all_sent = follower.send(folders)
        if all_sent and all_ended:
            _forget(folders)
            return 0
        if (all_ended and not all_sent and not follower.busy) or time.monotonic() > give_up:
            return EnvironmentFault.exit_code
        time.sleep(_SECONDS_BETWEEN_ROUNDS)


def sync(folder: Path | None) -> None:
    """Send what MLflow lacks of the runs in a folder, or of all of this project's."""
    folders = known.within(folder) if folder else known.pending()
    if folder and not folders:
        raise ConfigError(f"{folder} must be the folder of a run or of a sweep, got one without a journal")
    problems: dict[str, None] = {}
    sent = 0
    stores: dict[Target, Store] = {}
    for place in folders:
        close_if_left_open(place)
        target = target_in(place)
        if target is None:
            continue
        complete = is_sent(place, str(target.address))
        try:
            with faults(target, "try `python -m charloom.tracking sync` again later"):
                if target not in stores:
                    stores[target] = connect(target)
                sender = Sender(stores[target], target.experiment, place)
                problem = sender.send(wait=SECONDS_FOR_ANOTHER).problem
            if problem:
                problems[f"MLflow lacks the files of a result: {problem}"] = None
        except CharloomError as error:
            problems[str(error)] = None
            continue
        known.forget(place)
        sent += not complete
    if problems:
        raise EnvironmentFault("; ".join(problems))
    print(f"{sent} of {len(folders)} runs had parts to send; MLflow has all of them")


def _is_left(seconds: float) -> bool:
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready)


def _close(folders: Iterable[Path]) -> None:
    for folder in folders:
        close_if_left_open(folder)


def _forget(folders: Iterable[Path]) -> None:
    for folder in folders:
        known.forget(folder)
