"""Every promise under fault: what was tried, what held, and the seeds that did not.

    python -m tests.torture                   # every promise; hours on two cores, goes on where it was interrupted
    python -m tests.torture --only "kill -9"  # those with this text in their names
    python -m tests.torture --tries 20        # at most so many tries of each
    python -m tests.torture --write           # put the table into docs/reliability.md

The outcomes are kept in .charloom/torture/, one file for each state of the code, so that outcomes of other code are not
counted. The exit code is 0 if every promise was kept, 1 if one was broken, and 130 after Ctrl-C.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import platform
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from charloom.adapters.process.signals import end_with_parent
from tests.torture.promise import Promise
from tests.torture.promises import PROMISES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
SOURCES = ("src", "conf", "tests/torture", "tests/project.py", "tests/results.py", "params.yaml", "dvc.yaml", "data")
PROCESSES = 2
SEEDS = 10  # of broken promises, that a row of the table has at most
Outcomes = dict[tuple[str, int], str]  # of a promise's name and a seed: "" where it held, else what was found


def outcomes_file() -> Path:
    """Where the outcomes of this state of the code are kept."""
    sha256 = hashlib.sha256()
    for source in SOURCES:
        for path in sorted([ROOT / source, *(ROOT / source).rglob("*.*")]):
            if path.is_file() and path.suffix != ".pyc":
                sha256.update(f"{path.relative_to(ROOT)} {path.stat().st_size} ".encode() + path.read_bytes())
    return ROOT / ".charloom" / "torture" / f"{sha256.hexdigest()[:16]}.jsonl"


def read(path: Path) -> Outcomes:
    """The outcomes in a file; a line that an interruption cut short is left out."""
    outcomes: Outcomes = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            name, seed, found = json.loads(line)
        except ValueError:
            continue
        outcomes[name, seed] = found
    return outcomes


class Attempts(threading.local):
    """Attempts in a process of this thread's own, which may die of one of them and is then replaced."""

    pool: ProcessPoolExecutor | None = None

    def make(self, promise: Promise, seed: int) -> str:
        """What `Promise.find` returns."""
        self.pool = self.pool or ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), initializer=end_with_parent, initargs=(signal.SIGKILL,)
        )
        try:
            return self.pool.submit(promise.find, seed).result()
        except BrokenProcessPool:
            self.pool = None
            return "the process in which it was tried has died\n"


def run(promises: Sequence[Promise], tries: int, path: Path) -> Outcomes:
    """Make the attempts that the file has no outcome of yet, and keep each outcome in it."""
    outcomes, attempts = read(path), Attempts()
    todo = [(promise, seed) for promise in promises for seed in range(min(promise.tries, tries))]
    todo = [(promise, seed) for promise, seed in todo if (promise.name, seed) not in outcomes]
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        path.open("a", encoding="utf-8") as file,
        ThreadPoolExecutor(PROCESSES) as threads,
        tqdm(total=len(todo), unit="try", disable=None) as progress,
    ):
        futures = {threads.submit(attempts.make, *work): work for work in todo}
        try:
            for future in as_completed(futures):
                promise, seed = futures[future]
                outcomes[promise.name, seed] = found = future.result()
                # The line break stands first: it ends a line that an interruption cut short.
                file.write("\n" + json.dumps([promise.name, seed, found]))
                file.flush()
                progress.update()
                if found:
                    progress.write(f"{promise.name}, seed {seed}:\n{found}", file=sys.stderr)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return outcomes


def table(promises: Sequence[Promise], outcomes: Outcomes) -> Iterator[str]:
    """The lines of the table, in Markdown."""
    yield "| promise | tries | held | seeds that did not |"
    yield "|---|---:|---:|---|"
    for promise in promises:
        tried = {seed: found for (name, seed), found in outcomes.items() if name == promise.name}
        broken = sorted(seed for seed, found in tried.items() if found)
        seeds = ", ".join(map(str, broken[:SEEDS])) or "none"
        more = f" and {len(broken) - SEEDS:,} more" if len(broken) > SEEDS else ""
        yield f"| {promise.name} | {len(tried):,} | {len(tried) - len(broken):,} | {seeds}{more} |"


def write_page(lines: Sequence[str]) -> None:
    """Put the table into the page, between its marks, with the date and the kind of machine."""
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    heading = f"{datetime.now(UTC):%Y-%m-%d}, {machine}, `make torture`:"
    block = "\n".join(["<!-- table -->", heading, "", *lines, "<!-- end of table -->"])
    page = PAGE.read_text(encoding="utf-8")
    marked = re.compile("<!-- table -->.*<!-- end of table -->", re.DOTALL)
    PAGE.write_text(marked.sub(lambda _: block, page), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try to break every promise, and print a table of what held."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=main.__doc__)
    parser.add_argument("--only", metavar="TEXT", default="", help="the promises with this text in their names")
    parser.add_argument("--tries", type=int, default=sys.maxsize, help="at most so many of each promise")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    parser.add_argument("--list", action="store_true", help="print the promises, and try none")
    args = parser.parse_args(arguments)
    promises = [promise for promise in PROMISES if args.only in promise.name]
    if not promises:
        parser.error(f"no promise has {args.only!r} in its name; --list prints them")
    if args.list:
        print(*(f"{promise.tries:>7,}  {promise.name}" for promise in promises), sep="\n")
        return 0
    path = outcomes_file()
    try:
        outcomes = run(promises, args.tries, path)
    except KeyboardInterrupt:
        print(f"interrupted; the same command goes on from {path}", file=sys.stderr)
        return 130
    print(*table(promises, outcomes), sep="\n")
    if args.write:
        write_page(list(table(PROMISES, outcomes)))
    names = {promise.name for promise in promises}
    return int(any(found for (name, _), found in outcomes.items() if name in names))


if __name__ == "__main__":
    sys.exit(main())
