"""The faults of `tests/faults.py`, planted one by one in a copy of the source: which test fails, if any does.

    python -m tests.mutations                   # every fault; less than ten minutes on two cores
    python -m tests.mutations --only "GRU: z"   # those with this text in their names
    python -m tests.mutations --list

Prints a table in Markdown. The exit code is 1 if a fault survives. PyTorch is hidden from the tests, because most
machines that run them do not have it.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.faults import FAULTS, Edits

ROOT = Path(__file__).parents[1]
PROCESSES = 2
TIMEOUT = 600  # seconds
GRADIENT_CHECK = (
    "test_gradcheck.py::test_the_right_gradient_passes",
    "test_engine.py::test_the_gradient_under_a_fixed_dropout_mask_is_that_of_the_complex_step",
)
TESTS = (
    "test_cells_by_hand.py",
    "test_network.py",
    "test_textbook.py",
    "test_sampling.py",
    "test_engine.py::test_a_mask_of_zeros_cuts_the_layers_apart",
    "test_engine.py::test_evaluation_after_a_window_with_dropout_has_none",
    "test_engine.py::test_the_forget_gates_bias_starts_at_one_and_all_others_at_zero",
)


def plant(source: str, edits: Mapping[str, str]) -> str:
    """The source with every old text replaced by its new one, all at once.

    Raises ValueError where an old text does not occur exactly once.
    """
    for old in edits:
        if source.count(old) != 1:
            raise ValueError(f"must occur once, occurs {source.count(old)} times: {old}")
    planted, count = re.subn("|".join(map(re.escape, edits)) or "$^", lambda found: edits[found[0]], source)
    if count < len(edits):
        raise ValueError(f"old texts overlap: {', '.join(edits)}")
    return planted


@contextmanager
def planted(edits: Edits) -> Iterator[Path]:
    """A folder with a copy of the source and the tests, with these edits in place."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("src", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        (copy / "data").symlink_to(ROOT / "data")
        (copy / "src" / "torch.py").write_text("raise ModuleNotFoundError(name='torch')\n", encoding="utf-8")
        for file, changes in edits.items():
            path = copy / "src" / "charloom" / "core" / file
            path.write_text(plant(path.read_text(encoding="utf-8"), changes), encoding="utf-8")
        yield copy


def run_planted(edits: Edits, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What becomes of Python with these arguments where these edits are in place."""
    with planted(edits) as copy:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": "src", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )


def first_failure(edits: Edits, tests: Sequence[str] = TESTS) -> str | None:
    """The first of the tests that fails with these edits in place, or None."""
    options = ["-x", "-q", "--tb=no", "--hypothesis-seed=0", "-p", "no:cacheprovider"]
    done = run_planted(edits, "-m", "pytest", *options, *(f"tests/{test}" for test in tests))
    if done.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) tests/(.*?::.*?)(?: - .*)?$", done.stdout, re.MULTILINE)
    if done.returncode != 1 or not failed:
        raise RuntimeError(f"the tests did not run:\n{done.stdout}{done.stderr}")
    return failed[1]


def row(name: str, *, tests: Sequence[str]) -> tuple[str, bool, str | None]:
    """A fault's name, whether the gradient check finds it, and the first test that fails: of that check, if it does."""
    failed = first_failure(FAULTS[name], GRADIENT_CHECK)
    return name, failed is not None, failed or first_failure(FAULTS[name], tests)


def main(arguments: Sequence[str] | None = None, tests: Sequence[str] = TESTS) -> int:
    """Plant faults in a copy of the cells and the network, and print which test fails for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=main.__doc__)
    parser.add_argument("--only", metavar="TEXT", default="", help="the faults with this text in their names")
    parser.add_argument("--list", action="store_true", help="print the names of the faults, and plant none")
    args = parser.parse_args(arguments)
    names = [name for name in FAULTS if args.only in name]
    if not names:
        parser.error(f"no fault has {args.only!r} in its name; --list prints the names")
    if args.list:
        print(*names, sep="\n")
        return 0
    if failure := first_failure({}, [*GRADIENT_CHECK, *tests]):
        print(f"the tests must pass before a fault is planted, but this one fails: {failure}", file=sys.stderr)
        return 1
    print("| fault | gradient check | first test that fails |\n|---|---|---|")
    caught = found = 0
    with ThreadPoolExecutor(PROCESSES) as pool:
        for name, seen, test in pool.map(partial(row, tests=tests), names):
            print(f"| {name} | {'finds it' if seen else 'passes'} | {f'`{test}`' if test else 'none'} |", flush=True)
            caught, found = caught + bool(test), found + seen
    print(f"\n{caught} of {len(names)} caught; the gradient check finds {found} of them")
    return int(caught < len(names))


if __name__ == "__main__":
    sys.exit(main())
