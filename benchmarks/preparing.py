"""(d) Preparing a large text: its time and its memory."""

import json
import os
import random
import re
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.tasks import ROOT, Arguments, Table, Text

ROUNDS = 3

# The peak is VmHWM where the system has it: on Linux, a process's ru_maxrss starts at its parent's.
PREPARE = """
import json, re, resource, sys, time
from pathlib import Path
from charloom.adapters.files.corpus import prepare
start = time.perf_counter()
prepare(Path(sys.argv[1]), Path(sys.argv[2]), encoding="utf-8", newline="universal", validation_fraction=0.1)
took, status = time.perf_counter() - start, Path("/proc/self/status")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
if status.exists() and (found := re.search(r"VmHWM:\\s*(\\d+) kB", status.read_text())):
    peak = int(found[1]) * 1024
print(json.dumps([took, peak]))
"""


def preparing(arguments: Arguments, text: Text) -> Table:
    """Seconds, speed and peak memory for texts of several sizes."""
    table = Table(
        "(d) Preparing a text: the bundled one's sentences, shuffled",
        ["MB", "rounds", "s, median", "MB/s", "peak memory of the process, MB"],
        unit="seconds",
        note="MB are 10⁶ bytes. The memory includes some 30 MB for Python and NumPy.",
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for megabytes in arguments.megabytes:
        path, folder = text.folder / "text.txt", text.folder / "prepared"
        write_shuffled(path, megabytes * 1_000_000)
        rounds = 1 if megabytes >= 1000 else ROUNDS
        command = [sys.executable, "-c", PREPARE, str(path), str(folder)]
        answers = [
            json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout)
            for _ in range(rounds)
        ]
        took = statistics.median(seconds for seconds, _ in answers)
        peak = max(memory for _, memory in answers)
        row = [f"{megabytes}", f"{rounds}", f"{took:.2f}", f"{megabytes / took:.0f}", f"{peak / 1e6:.0f}"]
        table.rows.append(row)
        table.rounds[f"{megabytes} MB"] = [seconds for seconds, _ in answers]
        table.rounds[f"{megabytes} MB, peak memory in bytes"] = [float(memory) for _, memory in answers]
        path.unlink()
    return table


def write_shuffled(path: Path, size: int) -> None:
    """Write `size` bytes: the bundled text's sentences over and over, in a new order each time."""
    text = (ROOT / "data" / "corpus.txt").read_text(encoding="utf-8")
    sentences = re.split(r"(?<=[.!?])\s+", text)
    rng, written = random.Random(1), 0
    with path.open("wb") as file:
        while written < size:
            rng.shuffle(sentences)
            written += file.write(" ".join([*sentences, ""]).encode()[: size - written])
