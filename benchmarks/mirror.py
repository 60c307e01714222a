"""What tracking costs a training, and whether the server has all of a run whatever happens to it meanwhile.

    python benchmarks/mirror.py speed [--rounds 5] [key=value …]     # at the reference settings: some minutes
    python benchmarks/mirror.py outages [--only killed,hung]         # a real server: some minutes
    python benchmarks/mirror.py start [--rounds 10] [--processes 16]

`speed` switches tracking off and on again every 5,000 updates of a training: without it, the journal gets no rows, and
the process that sends it is stopped. Each stretch is compared with the two beside it: from one process to the next, the
speed of the same training varies by more than tracking costs. It says too how long an update waited for the journal.
`outages` runs an experiment for each fault of the server and each moment at which it begins; then the server is well
again, `python -m charloom.tracking sync` runs twice, and what the server has is compared with the files. `start` starts
processes at once that record into a database that is not there yet.
"""

import argparse
import csv
import json
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charloom.core.training.training import Update

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from charloom.adapters.process import kernels  # noqa: E402 - once it is on the path

kernels.select("portable")  # before NumPy is imported

from tests.mlflow_server import Gate, MlflowServer, mlflow_server  # noqa: E402 - once they are on the path
from tests.project import Project  # noqa: E402

SMALL = ("preset=smoke", "gradcheck.workers=1", "synthesize.quality_length=0")
LONGER = (*SMALL, "train.steps=12000", "train.log_every=20", "train.validate_every=1000")
FAULTS = ("killed", "hung", "500", "401")
STRETCH = 5000  # updates
MOMENTS = ("before the run", "as it starts", "in the training", "after the training")


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "outages", "start", "child", "switching"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--only", default=",".join(FAULTS))
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_intermixed_args()
    if given.what in ("child", "switching"):
        return child(given.overrides, switches=given.what == "switching")
    with TemporaryDirectory() as folder:
        if given.what == "speed":
            speed(Path(folder), given.rounds, given.overrides)
        elif given.what == "outages":
            outages(Path(folder), given.only.split(","))
        else:
            start(Path(folder), given.rounds, given.processes)


def child(overrides: list[str], *, switches: bool) -> None:
    """An experiment whose waits for the journal are timed; the figures go to standard output.

    One that `switches` is tracked in every other stretch of updates, beginning with the first; what the updates and the
    journal take is timed.
    """
    import psutil

    from charloom import experiment
    from charloom.adapters.command import exit_code
    from charloom.adapters.tracking import Journal
    from charloom.core.training import Training

    waits: list[float] = []
    stretches: list[float] = []

    def timed(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        before = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            waits.append(time.perf_counter() - before)

    def row_where_tracked(*arguments: Any) -> None:
        if len(stretches) % 2 == 0:
            timed(row, *arguments)

    def switched(training: Training) -> "Iterator[Update]":
        (follower,) = (each for each in psutil.Process().children() if "follow" in each.cmdline())
        own, waited, spent = updates(training), 0, 0.0
        try:
            while True:
                before = time.perf_counter()
                update = next(own)
                spent += time.perf_counter() - before
                yield update
                if update.step % STRETCH == 0:
                    stretches.append(spent + sum(waits[waited:]))
                    waited, spent = len(waits), 0.0
                    follower.resume() if len(stretches) % 2 == 0 else follower.suspend()
        finally:
            follower.resume()

    row, updates = Journal.row, Training.updates
    Journal.row = row_where_tracked  # type: ignore[method-assign]
    if switches:
        Training.updates = switched  # type: ignore[method-assign]
    sys.argv = ["charloom.experiment", *overrides]
    code = exit_code(experiment.main)
    figures = {"longest wait": max(waits, default=0.0), "stretches": stretches}
    print(f"figures {json.dumps(figures)}", flush=True)
    sys.exit(code)


def run_child(project: Project, *overrides: str, what: str = "child", **variables: str) -> "subprocess.Popen[str]":
    """Start an experiment that is timed, in the project."""
    return project.start(str(Path(__file__)), what, *overrides, variables=variables)


def figures_of(output: str) -> dict[str, Any]:
    """What a child printed of itself."""
    (line,) = (line for line in output.splitlines() if line.startswith("figures "))
    figures: dict[str, Any] = json.loads(line.removeprefix("figures "))
    return figures


def speed(folder: Path, rounds: int, overrides: list[str]) -> None:
    """Switch tracking off and on within trainings, and print how the stretches compare."""
    project = Project.create(folder / "project")
    shutil.copy(ROOT / "data/corpus.txt", project.corpus)
    ratios, waits = list[float](), list[float]()
    for number in range(rounds):
        process = run_child(project, *overrides, f"seed={number + 1}", what="switching")
        output, errors = process.communicate()
        if process.returncode:
            sys.exit(errors)
        figures = figures_of(output)
        found = list(compared(figures["stretches"]))
        if len(found) < 2:
            sys.exit(f"mirror.py: a training must have four times {STRETCH:,} updates, got {len(figures['stretches'])}")
        print(f"training {number + 1}: {' '.join(f'{ratio:.3f}' for ratio in found)}", flush=True)
        ratios += found
        waits.append(figures["longest wait"])
    low, median, high = statistics.quantiles(ratios)
    print(f"{len(ratios)} stretches of {STRETCH:,} updates, with tracking for without: median {median:.3f}, ", end="")
    print(f"half of them {low:.3f} to {high:.3f}, mean {statistics.fmean(ratios):.3f}")
    print(f"longest wait of an update for the journal: {1000 * max(waits):.2f} ms")


def compared(stretches: list[float]) -> Iterator[float]:
    """The seconds of a stretch with tracking for those of one without: of each and the two beside it."""
    for i in range(1, len(stretches) - 1):
        beside = (stretches[i - 1] + stretches[i + 1]) / 2
        yield stretches[i] / beside if i % 2 == 0 else beside / stretches[i]


def outages(folder: Path, faults: list[str]) -> None:
    """An experiment for each fault and moment, and what the server has of it in the end."""
    with mlflow_server(folder / "server") as server, Gate(server.port).open() as gate:
        problems = 0
        for seed, (fault, moment) in enumerate(product(faults, MOMENTS)):
            project = Project.create(folder / f"{fault} {moment}")
            uri = gate.uri if fault.isdecimal() else server.uri
            line, wrong = outage(project, server, gate, uri, fault, moment, seed)
            problems += bool(wrong)
            print(f"{fault:>6} {moment:18} {line}: {wrong or 'all is there, and once'}", flush=True)
        print(f"{problems} of {len(faults) * len(MOMENTS)} lack something or have it twice")
        sys.exit(bool(problems))


def outage(
    project: Project, server: MlflowServer, gate: Gate, uri: str, fault: str, moment: str, seed: int
) -> tuple[str, str]:
    """Run an experiment through an outage, and heal the server; the figures as a line, and what is wrong then."""
    begin, heal = controls(server, gate, fault)
    variables = {"MLFLOW_TRACKING_URI": uri}
    if moment == MOMENTS[0]:
        begin()
    process = run_child(project, *LONGER, f"seed={seed}", **variables)  # another result each
    journal = wait_for(process, lambda: next(project.root.glob("outputs/*/*/tracking/journal.jsonl"), None))
    reached = {
        MOMENTS[0]: lambda _: True,
        MOMENTS[1]: lambda _: (journal.parent / "sent.json").exists(),
        MOMENTS[2]: lambda text: text.count('"row"') > 200,
        MOMENTS[3]: lambda text: '"step": 12000' in text,
    }[moment]
    wait_for(process, lambda: process.poll() is not None or reached(journal.read_text(encoding="utf-8")))
    if moment != MOMENTS[0]:
        begin()
    output, errors = process.communicate()
    figures = figures_of(output)
    heal()
    server.wait()
    codes = [
        project.python("-m", "charloom.tracking", "sync", *arguments, variables=variables).code
        for arguments in ([], [str(journal.parents[1])])
    ]
    said = errors.count("charloom: warning: MLflow at")
    line = (
        f"exit {process.returncode}, longest wait {1000 * figures['longest wait']:.1f} ms, told {said}×, sync {codes}"
    )
    wrong = compare(server, journal.parents[1])
    if process.returncode or any(codes) or figures["longest wait"] > 0.05 or said > 2:
        wrong += "; not as it should end"
    if wrong:
        wrong += f"\n{errors}"
    return line, wrong


def controls(server: MlflowServer, gate: Gate, fault: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """How the fault begins, and how it ends."""
    if fault == "killed":
        return server.kill, server.start
    if fault == "hung":
        return partial(server.signal, signal.SIGSTOP), partial(server.signal, signal.SIGCONT)
    return partial(setattr, gate, "status", int(fault)), partial(setattr, gate, "status", None)


def compare(server: MlflowServer, out: Path) -> str:
    """What the server lacks of the result in a folder, or has twice; empty where all is there."""
    client = server.client
    result = json.loads((out / "track/result.json").read_text(encoding="utf-8"))
    name = json.loads((out / "tracking/sent.json").read_text(encoding="utf-8"))["run_id"]
    journal = json.loads((out / "tracking/journal.jsonl").read_text(encoding="utf-8").splitlines()[0])["id"]
    experiment = client.get_experiment_by_name("charloom")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], f"tags.`charloom.journal` = '{journal}'")
    if [run.info.run_id for run in runs] != [name]:
        return f"{len(runs)} runs"
    (run,) = runs
    problems = [] if run.info.status == "FINISHED" else [run.info.status]
    if run.data.tags.get("charloom.result") != result["result"]:
        problems.append("another result")
    with (out / "train/history.csv").open(encoding="ascii", newline="") as file:
        rows = list(csv.DictReader(file))
    for column in ("loss", "smooth_loss", "validation_nats_per_char"):
        expected = [(int(row["step"]), float(row[column])) for row in rows if row[column]]
        points = client.get_metric_history(name, f"curves/{column}")
        if sorted((point.step, point.value) for point in points) != expected:
            problems.append(f"{len(points)} points of {column}, not {len(expected)}")
    problems += [
        f"{len(points)} points of {metric}"
        for metric in run.data.metrics
        if not metric.startswith(("curves/", "inside/")) and len(points := client.get_metric_history(name, metric)) != 1
    ]
    files = {entry.path for stage in result["files"] for entry in client.list_artifacts(name, stage.split("/")[0])}
    problems += sorted(set(result["files"]) - files - {"prepare/ids.npy", "train/samples.jsonl"})
    return ", ".join(problems)


def start(folder: Path, rounds: int, processes: int) -> None:
    """Start processes that record into a database that is not there yet, and count their runs."""
    for number in range(rounds):
        project = Project.create(folder / f"round {number}")
        before = time.monotonic()
        running = [
            project.start("-m", "charloom.experiment", *SMALL, f"seed={seed}", "train.steps=20")
            for seed in range(processes)
        ]
        ended = [(process.communicate(), process.returncode) for process in running]
        codes = [code for _, code in ended]
        errors = sorted({line for (_, text), _ in ended for line in text.splitlines() if line.startswith("charloom")})
        runs = project.runs()
        finished = sum(run.info.status == "FINISHED" for run in runs)
        print(
            f"round {number + 1}: {len(runs)} runs, {finished} finished, exit codes {sorted(set(codes))}, "
            f"{time.monotonic() - before:.0f} s {errors}",
            flush=True,
        )
        if any(codes) or finished != processes or len(runs) != processes:
            sys.exit(1)


def wait_for(process: "subprocess.Popen[str]", there: Callable[[], Any]) -> Any:
    """What `there` returns once it is true."""
    while not (found := there()):
        if process.poll() is not None:
            sys.exit(f"the experiment has ended too early: {process.communicate()}")
        time.sleep(0.05)
    return found


if __name__ == "__main__":
    main()
