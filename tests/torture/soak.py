"""A long training, interrupted over and over: the same bytes as without, flat memory, flat descriptors."""

import random
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.project import Project, end
from tests.torture.promise import Promise

UPDATES = 1_000_000
INTERRUPTIONS = 20
CODES = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGINT: 128 + signal.SIGINT}
GROWTH = 2 << 20  # bytes, for the rows of the history; a leak of three bytes in each update is more
SECONDS_BETWEEN_LOOKS = 0.1


class Look(NamedTuple):
    """What a training held at one moment."""

    memory: int  # resident, bytes
    descriptors: int


def soak(seed: int, folder: Path, updates: int = UPDATES, interruptions: int = INTERRUPTIONS) -> None:
    """Train once undisturbed and watched, and once with SIGKILL, SIGTERM and SIGINT in turn at steps from the seed."""
    rng = random.Random(seed)
    project = Project.create(folder / "a project")
    project.corpus.write_text("".join(rng.choices("abcdefgh \n", k=20_000)), encoding="utf-8")
    project.stage("prepare")
    overrides = (
        *("model.hidden_size=8", "train.seq_length=4", f"train.steps={updates}", "train.log_every=1000"),
        *(f"train.checkpoint_every={updates // 500}", f"train.validate_every={updates // 10}"),
        *(f"train.sample_every={updates // 10}", f"train.sample_until={updates}"),
    )

    undisturbed = project.copy_to(folder / "undisturbed/a project")
    assert_flat(list(watch(undisturbed, overrides)))

    signals = list(CODES)
    for number, step in enumerate(sorted(rng.sample(range(updates * 9 // 10), interruptions))):
        signum = signals[number % len(signals)]
        process = project.start_training(*overrides)
        project.wait_for_step(step, process)
        process.send_signal(signum)
        ended = end(process)
        assert ended.code == CODES[signum], f"{signum.name} at step {step}: {ended}"
    project.stage("train", *overrides)
    assert project.hashes() == undisturbed.hashes()


def watch(project: Project, overrides: Sequence[str]) -> Iterator[Look]:
    """Train to the end, and tell from time to time what the process holds."""
    process = project.start_training(*overrides)
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            yield Look(watched.memory_info().rss, watched.num_fds())
        except psutil.Error:  # it has just ended
            break
        time.sleep(SECONDS_BETWEEN_LOOKS)
    ended = end(process)
    assert ended.code == 0, ended


def assert_flat(looks: Sequence[Look]) -> None:
    """The last third of the looks holds what the second third held: by then, everything has happened once.

    A checkpoint that is being written is open for a moment, so the fewest descriptors count.
    """
    third = len(looks) // 3
    assert third > 3, f"{len(looks)} looks are too few"
    early, late = looks[third : 2 * third], looks[-third:]
    grown = max(look.memory for look in late) - max(look.memory for look in early)
    assert grown <= GROWTH, f"memory grew by {grown:,} bytes"
    before, after = (min(look.descriptors for look in some) for some in (early, late))
    assert after <= before, f"open descriptors grew from {before} to {after}"


PROMISES = (
    Promise(
        f"{UPDATES:,} updates with {INTERRUPTIONS} interruptions: the same bytes, flat memory, flat descriptors",
        soak,
        tries=1,
        short=0,
    ),
)
