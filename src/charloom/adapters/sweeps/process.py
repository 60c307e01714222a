"""A job of a sweep as a process of its own: started, watched and recorded, whatever becomes of it.

A job is the command `python -m charloom.experiment` with the job's overrides. What it prints goes to `job.log` in its
folder. An exception, an exit, a kill or a lack of memory is an exit code here.
"""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from charloom.adapters.configuration import override
from charloom.adapters.process.workers import CORES
from charloom.adapters.sweeps.records import LOG, JobRecord, Task, is_finished
from charloom.adapters.tracking import SWEEP, close_job
from charloom.core.common.formatting import in_one_line, visible

_ENDS = {"finished": "FINISHED", "failed": "FAILED", "pruned": "KILLED", "interrupted": "KILLED"}  # in MLflow
_ERROR = "charloom: error: "
_SECONDS_TO_END = 30.0  # after SIGTERM, for a checkpoint
_SECONDS_BETWEEN_LOOKS = 0.2
_END_OF_LOG = 16_384  # bytes that are searched for the reason of a failure
_LAST_LINES = 20  # of the log, in the record of a job that failed

Prunes = Callable[[Task], str]  # why a running job is to end; empty where it goes on


class Supervisor:
    """Runs jobs, each as a process, from any number of threads."""

    def __init__(
        self, cores: int, prunes: Prunes | None = None, *, environment: Mapping[str, str] | None = None
    ) -> None:
        """Give each job `cores` cores and this `environment`, by default that of this process.

        A running job for which `prunes` gives a reason is ended, recorded as pruned.
        """
        self._cores, self._prunes = cores, prunes
        self._environment = os.environ if environment is None else environment
        self._running: dict[int, subprocess.Popen[bytes]] = {}  # by the thread that waits for it and records its end
        self._changing = threading.Condition()
        self._stopping = threading.Event()

    def run(self, task: Task) -> JobRecord:
        """Run a job to its end, and return what is recorded of it."""
        task.folder.mkdir(parents=True, exist_ok=True)
        with (task.folder / LOG).open("ab") as log:
            self._lock(log)
            running, from_here = (
                JobRecord(task.number, task.overrides, "running", time.time()),
                log.seek(0, os.SEEK_END),
            )
            if not (process := self._start(task, log)):
                return JobRecord(**vars(running) | {"status": "interrupted"})
            pruned = ""
            try:
                running.write(task.folder)
                pruned = self._wait(task, process)
            except BaseException:  # a signal, where this thread is the main one
                self.stop()
                raise
            finally:
                record = self._record(running, task.folder, process.returncode, pruned, from_here)
                note_end(task, record)
                with self._changing:
                    del self._running[threading.get_ident()]
                    self._changing.notify_all()
        return record

    def stop(self) -> None:
        """End all jobs, which keep their checkpoints, let none start, and wait until their ends are recorded."""
        with self._changing:
            self._stopping.set()
            running = list(self._running.values())
        for process in running:
            process.terminate()
        give_up = time.monotonic() + _SECONDS_TO_END
        for process in running:
            try:
                process.wait(max(give_up - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                process.kill()
        with self._changing:
            self._changing.wait_for(lambda: self._running.keys() <= {threading.get_ident()}, _SECONDS_TO_END)

    def _lock(self, log: BinaryIO) -> None:
        """Wait until no other process runs this job.

        The lock is the open file's, which the job has as its output. Where a sweep is killed, its job holds the lock
        until it, too, has ended.
        """
        while not self._stopping.is_set():
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                self._stopping.wait(_SECONDS_BETWEEN_LOOKS)

    def _start(self, task: Task, log: BinaryIO) -> "subprocess.Popen[bytes] | None":
        """Start the job's process; None where no more jobs are to start."""
        command = [sys.executable, "-m", "charloom.experiment", *task.overrides]
        command.append(override("hydra.run.dir", str(task.folder)))
        cores = str(self._cores)
        own = {SWEEP: str(task.sweep), CORES: cores, "OPENBLAS_NUM_THREADS": cores, "CHARLOOM_PARENT": str(os.getpid())}
        environment = {**self._environment, **own}
        with self._changing:
            if self._stopping.is_set():
                return None
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
            self._running[threading.get_ident()] = process
            return process

    def _wait(self, task: Task, process: "subprocess.Popen[bytes]") -> str:
        """Wait for the end, and tell why the job was pruned; empty where it was not."""
        if self._prunes is None:
            process.wait()
            return ""
        while True:
            try:
                process.wait(_SECONDS_BETWEEN_LOOKS)
                return ""
            except subprocess.TimeoutExpired:
                if reason := self._prunes(task):
                    process.terminate()
                    process.wait()
                    return reason

    def _record(self, running: JobRecord, folder: Path, returncode: int, pruned: str, from_here: int) -> JobRecord:
        """What became of a job, whose own output begins at the byte `from_here` of its log."""
        code = returncode if returncode >= 0 else 128 - returncode
        values = vars(running) | {"ended": time.time(), "exit_code": code}
        finished = JobRecord(**values | {"status": "finished"})
        if code == 0 and is_finished(folder, finished):
            return finished
        if self._stopping.is_set():
            return JobRecord(**values | {"status": "interrupted", "message": "the sweep was interrupted"})
        if pruned:
            return JobRecord(**values | {"status": "pruned", "message": pruned})
        lines = _last_lines(folder / LOG, from_here)
        message = _reason(lines, code) if code else "ended before its result"
        tail = "\n".join(map(visible, lines[-_LAST_LINES:]))
        return JobRecord(**values | {"status": "failed", "exit_code": code or 1, "message": message, "log": tail})


def note_end(task: Task, record: JobRecord) -> None:
    """Write what became of a job into its folder, and into its journal where that does not say so."""
    record.write(task.folder)
    close_job(task.sweep, task.folder, task.overrides, _ENDS[record.status], record.message, record.log)


def _last_lines(log: Path, from_here: int) -> list[str]:
    with log.open("rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - _END_OF_LOG, from_here))
        return file.read().decode(errors="replace").splitlines()


def _reason(lines: Sequence[str], code: int) -> str:
    """Why a job failed: the error that it printed last, or the signal that killed it."""
    errors = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
    if errors:
        return errors[-1]
    if code > 128 and code - 128 in set(signal.Signals):
        name = signal.Signals(code - 128).name
        return f"ended by {name}" + (": out of memory?" if name == "SIGKILL" else "")
    last = next((line for line in reversed(lines) if line.strip()), "")
    return in_one_line(f"exit code {code}: {last}" if last else f"exit code {code}")
