"""A real Ray cluster of two nodes on this machine, started as people start one, of which one node can be killed.

    python -m tests.ray_cluster

runs a sweep of eight jobs on it, kills a node in the middle, and compares the models with those of a serial sweep.
"""

import hashlib
import json
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.project import Project, clean_environment, wait_for

_QUICK_TO_FIND_DEAD = {"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "4"}
SMALL = (
    *("preset=smoke", "model.hidden_size=8", "gradcheck.hidden_size=4", "gradcheck.workers=1", "baseline.order=1"),
    *("synthesize.quality_length=0", "sweep.plot=none"),
    *("train.steps=30000", "train.checkpoint_every=200", "train.validate_every=2000"),
)  # a training long enough to kill the node under it


class Cluster:
    """Two nodes with a CPU each: the head, and one that can be killed."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self._folder = folder
        self._nodes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the head, and the second node."""
        _, _, port = self.address.partition(":")
        self._start("--head", f"--port={port}", "--include-dashboard=false", "--temp-dir", str(self._folder))
        self.start_second()

    def start_second(self) -> None:
        """Start the second node, once the head is there."""
        self._start("--address", self.address)

    def kill_second(self) -> None:
        """End the second node and all that runs there, as if its power went off."""
        kill_tree(self._nodes.pop())

    def jobs(self, *, second: bool = False) -> set[str]:
        """The numbers of the jobs that run, on all nodes or on the second one."""
        found = set()
        for node in self._nodes[1:] if second else self._nodes:
            for process in psutil.Process(node.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    command = process.cmdline()
                    folders = [text for text in command if text.startswith("hydra.run.dir=")]
                    found |= {Path(folder).name for folder in folders}
        return found

    def options(self) -> tuple[str, str]:
        """The overrides of a sweep that runs here."""
        return ("hydra/launcher=ray", f"hydra.launcher.address={self.address}")

    def stop(self) -> None:
        """End all processes of all nodes."""
        while self._nodes:
            kill_tree(self._nodes.pop())

    def _start(self, *options: str) -> None:
        common = ("--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats", "--block")
        ray = Path(sys.executable).with_name("ray")
        environment = clean_environment(**self.variables, **_QUICK_TO_FIND_DEAD)
        with (self._folder / "ray.log").open("ab") as log:
            command = [str(ray), "start", *options, *common]
            self._nodes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))
        self._wait_for(len(self._nodes))

    def _wait_for(self, nodes: int) -> None:
        asked = (
            "import ray, sys; ray.init(sys.argv[1], log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
        )
        environment, give_up = clean_environment(**self.variables), time.monotonic() + 120
        while time.monotonic() < give_up:
            command = [sys.executable, "-c", asked, self.address]
            answer = subprocess.run(command, capture_output=True, text=True, env=environment)
            if answer.stdout.strip() == str(nodes):
                return
            time.sleep(0.5)
        raise AssertionError((self._folder / "ray.log").read_text(errors="replace"))


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster that ends with the block; its folder's path is short, as those of sockets must be."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        made = Cluster(Path(folder))
        try:
            made.start()
            yield made
        finally:
            made.stop()


def kill_tree(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL a process and all that it started."""
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(process.pid)
        for found in [top, *top.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                found.send_signal(signal.SIGKILL)
    process.wait()


def models(sweep: Path, job: str = "*") -> dict[str, str]:
    """The sha256 of the model files of a job or of all, by their paths without the job's where it is given."""
    top = sweep if job == "*" else sweep / job
    paths = sorted(top.glob("*/train/*.npz" if job == "*" else "train/*.npz"))
    return {str(path.relative_to(top)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def sweep_folder(project: Project, pid: int) -> Path:
    """The folder of the sweep that this process ran."""
    (folder,) = project.root.glob(f"multirun/*/*-{pid}")
    return folder


def records(sweep: Path) -> dict[int, dict[str, Any]]:
    """What the sweep's folder says of each job, by its number."""
    found = (json.loads(path.read_text(encoding="utf-8")) for path in sweep.glob("*/job.json"))
    return {record["number"]: record for record in sorted(found, key=lambda record: record["number"])}


def trains_on_second(made: Cluster, project: Project, pid: int) -> bool:
    """Whether a job of the sweep trains on the second node, and a checkpoint of it has come back."""
    marks = [sweep_folder(project, pid) / number / "training" for number in made.jobs(second=True)]
    trainings = [mark.read_text() for mark in marks if mark.exists()]
    return any(path.parent.name in trainings for path in project.checkpoints())


def main() -> None:
    """Run the sweep of eight jobs, and say what was found."""
    with tempfile.TemporaryDirectory() as place, cluster() as made:
        project = Project.create(Path(place) / "project")
        command = ("-m", "charloom.experiment", "-m", *SMALL, "seed=1,2,3,4,5,6,7,8")
        started = time.monotonic()
        process = project.start(*command, *made.options(), variables=made.variables)
        wait_for(lambda: list(project.root.glob("multirun/*/*/1/track/result.json")), process)
        sweep = sweep_folder(project, process.pid)
        wait_for(lambda: trains_on_second(made, project, process.pid), process)
        before = Counter(record["status"] for record in records(sweep).values())
        made.kill_second()
        print(f"a node was killed after {time.monotonic() - started:.0f} s; jobs: {dict(before)}")
        output, errors = process.communicate()
        print(output, errors, sep="\n")
        print(f"exit code {process.returncode} after {time.monotonic() - started:.0f} s")
        project.python("-m", "charloom.tracking", "sync")
        results = [run.data.tags["charloom.result"] for run in project.runs("tags.`charloom.result` != ''")]
        print(f"jobs: {dict(Counter(record['status'] for record in records(sweep).values()))}")
        print(f"in MLflow: {len(results)} runs of {len(set(results))} results")
        moved = [line for log in sweep.glob("*/job.log") for line in log.read_text().splitlines() if "going on" in line]
        print(*moved, sep="\n")
        serial = project.python(*command, "tracking=off")
        same = models(sweep) == models(sweep_folder(project, serial.pid))
        print(f"{len(models(sweep))} model files, {'the same' if same else 'NOT THE SAME'} as those of a serial sweep")


if __name__ == "__main__":
    main()
