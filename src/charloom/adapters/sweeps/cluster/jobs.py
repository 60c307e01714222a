"""The jobs of a sweep on a Ray cluster, from the first to the last.

A worker takes as many CPUs as a job is to have, and runs one job after the other, each as a process of its own. What a
job writes comes back at every look. A job whose worker or node is gone starts again, elsewhere if there is room, from
the last checkpoint that came back.
"""

import platform
import sys
import time
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from charloom.adapters.process import signals
from charloom.adapters.sweeps.cluster.node import SEEN, News, remove_sweep
from charloom.adapters.sweeps.cluster.shipping import Parcel, sweep_id
from charloom.adapters.sweeps.cluster.worker import PACKAGES, differences, versions, worker_class
from charloom.adapters.sweeps.process import Prunes
from charloom.adapters.sweeps.records import JobRecord, Task
from charloom.core.common.errors import EnvironmentFault
from charloom.core.common.formatting import in_one_line

_SECONDS_OF_A_LOOK = 1.0
_SECONDS_TO_STOP = 40.0  # a job has 30 for its checkpoint
_SECONDS_WITHOUT_ROOM = 60.0
_SECONDS_TO_TIDY_UP = 30.0


class _Running:
    """A job on its way, and the worker that has it."""

    def __init__(self, parcel: Parcel) -> None:
        self.parcel, self.started = parcel, time.time()
        self.worker: Any = None
        self.deaths = 0  # of workers that had it
        self.pruned = ""  # why

    def record(self, status: Any, exit_code: int | None = None, message: str = "") -> JobRecord:
        task = self.parcel.task
        ended = None if status == "running" else time.time()
        return JobRecord(task.number, task.overrides, status, self.started, ended, exit_code, message)


class Jobs:
    """The jobs that are on the cluster, to which this process is connected."""

    def __init__(self, prunes: Prunes | None, *, cores: int, max_retries: int, storage: Path | None) -> None:
        """Give each job `cores` CPUs, and start it `max_retries` times again where its worker or node dies."""
        self._prunes, self._cores, self._max_retries, self._storage = prunes, cores, max_retries, storage
        self._waited_for: dict[Any, _Running] = {}  # by the answer that its worker owes
        self._idle: list[Any] = []  # workers
        self._again = deque[_Running]()  # jobs whose worker is gone
        self._nodes: dict[Any, tuple[str, str]] = {}  # a worker's node and host
        self._contents: dict[str, Any] = {}  # of files, by their sha256, as the cluster has them
        self._had_room = time.monotonic()
        self._stopping = False
        self._worker_class = worker_class()
        self._told: set[str | None] = {None}

    def run(self, tasks: Iterable[Task]) -> Generator[JobRecord]:
        """Run tasks, taken as there is room for them."""
        waiting, sweep = iter(tasks), None
        try:
            while True:
                with signals.held_back():  # a job that is on its way is waited for
                    while len(self._waited_for) < self._room():
                        if self._again:
                            self._send(self._again.popleft())
                        elif (task := next(waiting, None)) is not None:
                            sweep = task.sweep
                            self._send(_Running(Parcel(task, self._cores, self._storage)))
                        else:
                            self._dismiss_idle()
                            break
                if not self._waited_for and not self._again:
                    return
                yield from self._look()
        finally:
            with signals.held_back():
                self._stop()
                if sweep:
                    self._tidy_up(sweep)

    def _room(self) -> int:
        """How many jobs the cluster has room for. Raises EnvironmentFault where it has had none for a while."""
        import ray

        sizes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        room = sum(size // self._cores for size in sizes)
        if room:
            self._had_room = time.monotonic()
        elif time.monotonic() - self._had_room > (_SECONDS_WITHOUT_ROOM if self._nodes else 0.0):
            must = f"a node of the cluster must have hydra.launcher.num_cpus={self._cores} CPUs"
            raise EnvironmentFault(f"{must}, got {max(sizes, default=0)} at most; lower it or add a node")
        return room

    def _send(self, job: _Running) -> None:
        """Give a job to an idle worker, or to a new one."""
        if self._storage:
            job.parcel.task.sweep.mkdir(parents=True, exist_ok=True)
            (job.parcel.task.sweep / SEEN).touch()
        job.record("running").write(job.parcel.task.folder)
        if self._idle:
            job.worker = self._idle.pop()
            self._start(job)
        else:
            job.worker = self._new_worker(job)
            self._waited_for[job.worker.introduce.remote(PACKAGES)] = job

    def _new_worker(self, job: _Running) -> Any:
        from ray.util.scheduling_strategies import NodeLabelSchedulingStrategy, NotIn

        options: dict[str, Any] = {"num_cpus": self._cores, "max_restarts": 0, "max_task_retries": 0}
        if job.worker in self._nodes:  # where the job was before
            avoided = NotIn(self._nodes[job.worker][0])
            options["scheduling_strategy"] = NodeLabelSchedulingStrategy({}, soft={"ray.io/node-id": avoided})
        return self._worker_class.options(**options).remote()

    def _start(self, job: _Running) -> None:
        """Start a job on its worker."""
        import ray

        contents = {}
        for path, sha256 in job.parcel.files.values():
            if sha256 not in self._contents:
                self._contents[sha256] = ray.put(path.read_bytes())
            contents[sha256] = self._contents[sha256]
        self._waited_for[job.worker.start.remote(job.parcel.pack(), contents)] = job

    def _look(self) -> Generator[JobRecord]:
        """Take what is new of all jobs, and yield what became of those that have ended."""
        import ray

        if not self._waited_for:
            time.sleep(_SECONDS_OF_A_LOOK)
            return
        ready, _ = ray.wait(list(self._waited_for), timeout=_SECONDS_OF_A_LOOK)
        for answer in ready:
            with signals.held_back():  # an answer is taken whole, and its job waited for again
                record = self._answered(answer)
            if record is not None:
                yield record

    def _answered(self, answer: Any) -> JobRecord | None:
        """Take what a worker has answered, and note and tell what became of its job where that is known."""
        import ray
        from ray import exceptions

        job = self._waited_for.pop(answer)
        try:
            record = self._take(job, ray.get(answer))
        except exceptions.RayTaskError as error:  # the node's disk is full, for example
            self._dismiss(job.worker)
            host, cause = self._host(job), error.cause
            message = f"on {host}: {type(cause).__name__}: {in_one_line(str(cause))}"
            record = job.record("failed", EnvironmentFault.exit_code, message)
        except exceptions.RuntimeEnvSetupError as error:
            raise EnvironmentFault(f"a node cannot be set up: {in_one_line(str(error))[:500]}") from None
        except exceptions.RayError as error:
            record = self._lose(job, error)
        if record is not None:
            job.parcel.close(record)
        return record

    def _take(self, job: _Running, answer: Any) -> JobRecord | None:
        """Take an answer, ask on, and tell what became of the job where that is known."""
        if not isinstance(answer, News):
            self._nodes[job.worker] = (answer["node"], answer["host"])
            self._tell(differences(versions(), answer["versions"], answer["host"]))
            if self._stopping:
                return job.record("interrupted")
            self._start(job)
            return None
        job.parcel.take(answer)
        if answer.record is not None:
            job.worker.clear.remote()
            self._free(job.worker)
            record = replace(answer.record, started=job.started)
            if self._stopping and record.status == "failed":  # a Ctrl-C goes to a local cluster's jobs, too
                record = replace(record, status="interrupted")
            elif job.pruned and record.status != "finished":
                record = replace(record, status="pruned", message=job.pruned)
            return record
        if self._prunes and not job.pruned and (reason := self._prunes(job.parcel.task)):
            job.pruned = reason
            job.worker.stop.remote()
        self._waited_for[job.worker.look.remote(_SECONDS_OF_A_LOOK)] = job
        return None

    def _free(self, worker: Any) -> None:
        """Give a worker to the job that waits for a new one, which may be waiting for this one's CPUs, or keep it."""
        for answer, job in self._waited_for.items():
            if job.worker not in self._nodes and not self._stopping:
                del self._waited_for[answer]
                self._dismiss(job.worker)
                job.worker = worker
                self._start(job)
                return
        self._idle.append(worker)

    def _lose(self, job: _Running, error: Exception) -> JobRecord | None:
        """A job's worker is gone: the job starts again, or has failed."""
        self._dismiss(job.worker)
        if self._stopping:
            return job.record("interrupted", message="its worker is gone")
        job.deaths += 1
        number, host = job.parcel.task.number, self._host(job)
        if job.deaths > self._max_retries:
            reason = in_one_line(str(error))[:300]
            message = f"{job.deaths} workers or nodes died under it, the last one on {host}: {reason}"
            return job.record("failed", EnvironmentFault.exit_code, message)
        self._tell(f"job {number} lost its worker on {host}, and starts again from what came back of it")
        self._again.append(job)
        return None

    def _host(self, job: _Running) -> str:
        return self._nodes[job.worker][1] if job.worker in self._nodes else "a node"

    def _dismiss(self, worker: Any) -> None:
        """End a worker, if it is still there, and its job with it."""
        import ray

        with suppress(Exception):
            ray.kill(worker)

    def _dismiss_idle(self) -> None:
        while self._idle:
            self._dismiss(self._idle.pop())

    def _tell(self, message: str | None) -> None:
        if message not in self._told:
            print(f"charloom: warning: {message}", file=sys.stderr)
            self._told.add(message)

    def _stop(self) -> None:
        """End the jobs, which keep their checkpoints, and take what they leave."""
        self._stopping = True
        for job in self._again:
            job.parcel.close(job.record("interrupted"))
        for job in self._waited_for.values():
            job.worker.stop.remote()
        give_up = time.monotonic() + _SECONDS_TO_STOP
        while self._waited_for and time.monotonic() < give_up:
            for _ in self._look():
                pass
        for job in self._waited_for.values():
            self._dismiss(job.worker)
            job.parcel.close(job.record("interrupted"))
        self._dismiss_idle()

    def _tidy_up(self, sweep: Path) -> None:
        """Remove the sweep's folders on the nodes that had jobs."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        alive, asked = {node["NodeID"] for node in ray.nodes() if node["Alive"]}, []
        for node, host in set(self._nodes.values()):
            if host == platform.node():
                remove_sweep(sweep_id(sweep), node)
            elif node in alive:
                place: Any = NodeAffinitySchedulingStrategy(node, soft=False)
                remove = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=place)(remove_sweep)
                asked.append(remove.remote(sweep_id(sweep), node))
        if asked:
            ray.wait(asked, num_returns=len(asked), timeout=_SECONDS_TO_TIDY_UP)
