"""How fast charloom is, compared with other implementations: the same weights, the same text, the same run.

    python benchmarks/bench.py [--only a,b] [--rounds 9] [--quick] [--full]      or      make bench ARGS=--quick

    a  an update at the reference settings       d  preparing a large text
    b  an update with many units and streams     e  how the cost of a character grows
    c  sampling                                  f  the parts of an update
    g  what checkpoints cost

The contenders take turns in rounds, so that whatever else the machine does meets all of them; a figure is the median of
its rounds, a ratio the median of the rounds' ratios. Before anything is timed, all must find the same losses for the
first two windows, with one update between them. Prints tables in Markdown, and writes them, the figures of every round
and a chart of the ratios to `outputs/bench/`.

A benchmark is a function of the `Arguments` and the `Text` that returns a `Table`; a new one is a line in `BENCHMARKS`.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from charloom.adapters.process import kernels  # noqa: E402  (after the paths are set)

kernels.select("native")  # before the rest imports NumPy; the contenders' processes inherit it

from benchmarks.checkpoints import checkpoints  # noqa: E402
from benchmarks.phases import phases  # noqa: E402
from benchmarks.preparing import preparing  # noqa: E402
from benchmarks.speed import WrongLoss, growth, large_updates, reference_updates, sampling  # noqa: E402
from benchmarks.tasks import OUTPUT, Arguments, Table, Text  # noqa: E402
from charloom.adapters.files.corpus import prepare  # noqa: E402

BENCHMARKS: dict[str, Callable[[Arguments, Text], Table]] = {
    "a": reference_updates,
    "b": large_updates,
    "c": sampling,
    "d": preparing,
    "e": growth,
    "f": phases,
    "g": checkpoints,
}


def machine() -> dict[str, str]:
    """What the figures depend on besides the code."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    facts = {
        "CPU": f"{cpu}, {os.cpu_count()} cores",
        "Python": platform.python_version(),
        "kernels": f"{kernels.chosen()}, {kernels.loaded()}",
    }
    for name, distribution in (("PyTorch", "torch"), ("JAX", "jax")):
        try:
            facts[name] = version(distribution)
        except PackageNotFoundError:
            facts[name] = "not installed"
    if hasattr(os, "getloadavg"):
        facts["load at the start"] = f"{os.getloadavg()[0]:.1f}"
    return facts


def parse(argv: list[str]) -> tuple[list[str], Arguments]:
    """The benchmarks to run, and how."""
    parser = argparse.ArgumentParser(description="The speed of charloom, compared with other implementations.")
    parser.add_argument("--only", default=",".join(BENCHMARKS), help="benchmarks to run, such as a,b (default all)")
    parser.add_argument("--rounds", type=int, default=9, help="rounds in which the contenders take turns (default 9)")
    parser.add_argument("--quick", action="store_true", help="two short rounds, to see that everything runs")
    parser.add_argument("--full", action="store_true", help="prepare a text of 1 GB too")
    given = parser.parse_args(argv)
    if given.rounds < 1:
        parser.error(f"--rounds must be 1 or more, got {given.rounds}")
    chosen = given.only.split(",")
    if unknown := [letter for letter in chosen if letter not in BENCHMARKS]:
        parser.error(f"--only must be letters out of {', '.join(BENCHMARKS)}, got {unknown[0]!r}")
    if given.quick:
        arguments = Arguments(rounds=2, updates=20, characters=500, seconds=0.02, megabytes=[3], quick=True)
    else:
        megabytes = [100, 1000] if given.full else [100]
        arguments = Arguments(given.rounds, updates=100, characters=5000, seconds=0.2, megabytes=megabytes, quick=False)
    return sorted(set(chosen)), arguments


def main() -> None:
    """Run the benchmarks; print and keep their tables."""
    chosen, arguments = parse(sys.argv[1:])
    facts, tables = machine(), {}
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=OUTPUT, prefix="work-") as name:
        folder = Path(name)
        corpus = ROOT / "data" / "corpus.txt"
        summary = prepare(corpus, folder, encoding="utf-8", newline="universal", validation_fraction=0.0)
        text = Text(folder / "ids.npy", summary.vocabulary_size, folder)
        for letter in chosen:
            try:
                tables[letter] = BENCHMARKS[letter](arguments, text)
            except WrongLoss as error:
                sys.exit(f"bench: {error}")
            print(tables[letter].markdown(), flush=True)
    note = (
        f"Medians of {arguments.rounds} rounds unless a table says otherwise; each contender runs in a process of its "
        "own, with the threads that its table names. " + " · ".join(f"{name}: {value}" for name, value in facts.items())
    )
    print(note)

    written = "\n".join(table.markdown() for table in tables.values())
    (OUTPUT / "bench.md").write_text(f"{written}\n{note}\n", encoding="utf-8")
    content = {
        "machine": facts,
        "arguments": asdict(arguments),
        "tables": {letter: asdict(table) for letter, table in tables.items()},
    }
    (OUTPUT / "bench.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if panels := {table.title.split(":")[0]: table.ratios for table in tables.values() if table.ratios}:
        from benchmarks.figure import draw_ratios  # here, because the measuring processes do without matplotlib

        draw_ratios(panels, OUTPUT / "bench.png")


if __name__ == "__main__":
    main()
