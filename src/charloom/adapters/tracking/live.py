"""A run that is recorded while it goes on: its journal, and the process that sends the journal to MLflow.

The run waits for that process at its end alone, and there ten seconds at most, or 1.5 after a signal. Knows nothing
about MLflow.
"""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from charloom.adapters.command import environment_fault
from charloom.adapters.configuration import Config, TrackingConfig, project_root
from charloom.adapters.configuration.schema import KEYS
from charloom.adapters.files.formats import CHECKSUMS, hash_file
from charloom.adapters.process import signals
from charloom.adapters.process.signals import Interrupted
from charloom.adapters.tracking import known
from charloom.adapters.tracking.addresses import Target, without_secrets
from charloom.adapters.tracking.journal import FOLDER, Journal, last
from charloom.adapters.tracking.payload import as_text, model_name, parameter_texts
from charloom.adapters.tracking.sending import Sent

SWEEP = "CHARLOOM_SWEEP"  # in a job's environment, the folder of its sweep, which follows the journals of its jobs
ORIGIN = "CHARLOOM_ORIGIN"  # in the environment of a job on a cluster, what `origin` found where its code comes from
_SECONDS_TO_LEAVE = 10.0
_SECONDS_TO_LEAVE_AFTER_A_SIGNAL = 1.5  # the same may be started again at once, as `dvc repro` is


@contextmanager
def live_run(config: Config) -> Iterator[Journal | None]:
    """The journal of a run of all stages in `config.out`, from before the first one to the end of the block.

    How the block ends decides the run's status. Where the run is a job of a sweep, it is below the sweep's run, and
    followed by the sweep; it has a journal even where tracking is off, for the sweep to look at. Any other has none.
    """
    sweep, folder = os.environ.get(SWEEP), Path(config.out) / FOLDER
    target, parameters = Target.named(config.tracking), parameter_texts(config)
    if not sweep:
        if target is None:
            yield None
            return
        with suppress(OSError):  # the journal says it
            known.place(folder, parameters, target)
    journal = Journal(folder)
    parent = Path(sweep) / FOLDER if sweep else None
    journal.start(target, model_name(config), parameters=parameters, tags=origin(), parent=parent)
    with ended(journal) if sweep else followed(journal):
        yield journal


@contextmanager
def live_sweep(tracking: TrackingConfig, folder: Path) -> Iterator[Journal | None]:
    """The journal of a sweep in `folder`, above those of its jobs; None where tracking is off."""
    target, place = Target.named(tracking), folder / FOLDER
    if target is None:
        yield None
        return
    with suppress(OSError):  # the journal says it
        known.note(place, known.runs() / f"sweep-{hashlib.sha256(str(place.absolute()).encode()).hexdigest()[:16]}")
    journal = Journal(place)
    journal.start(target, f"sweep {folder.name}", tags={"charloom.sweep": "true", **origin()})
    with followed(journal):
        yield journal


def live_result(inp: Path) -> Journal | None:
    """The journal of the job of a sweep whose result is in `inp`; None where no sweep goes on that follows it."""
    if SWEEP in os.environ and last(inp / FOLDER, "start"):
        return Journal(inp / FOLDER)
    return None


def close_job(sweep: Path, folder: Path, overrides: Sequence[str], status: str, message: str, log: str) -> None:
    """Let the journal of a sweep's job say how its process ended, where that could not say it itself.

    `log` are the last lines of what a failed job printed.
    """
    parent, start, end = (last(sweep / FOLDER, "start"), *(last(folder / FOLDER, kind) for kind in ("start", "end")))
    if parent is None:
        return
    journal = Journal(folder / FOLDER)
    if start is None:
        tags = {"charloom.overrides": " ".join(overrides), **origin()}
        values = dict(text.split("=", 1) for text in overrides if text.partition("=")[0] in KEYS)
        journal.start(
            Target(**parent["target"]), f"job {folder.name}", parameters=values, tags=tags, parent=sweep / FOLDER
        )
    if log:
        journal.log(tags={"charloom.log": without_secrets(log)})
    if not (start and end and end["time"] >= start["time"] and end["status"] == status):
        journal.end(status, message)


@contextmanager
def live_training(config: Config, fingerprint: str, out: Path, journal: Journal | None) -> Iterator[Journal | None]:
    """The journal of a training: `journal` where it is part of a run, or one of its own where DVC runs it.

    None where tracking is off, and for a stage that a person runs.
    """
    target = Target.named(config.tracking)
    if journal or target is None or "DVC_STAGE" not in os.environ:
        yield journal
        return
    parameters = {key: as_text(value) for key, value in config.stage_parameters("train").items()}
    repeats = config.train.max_seconds is None
    journal = Journal(known.training_journal(fingerprint, parameters, repeats=repeats))
    journal.start(target, model_name(config), parameters=parameters, tags=origin())
    with followed(journal):
        yield journal
        journal.trained(hash_file(out / CHECKSUMS))


@contextmanager
def followed(journal: Journal) -> Iterator[None]:
    """In the block, a process sends the journal, or those of a whole sweep, to MLflow; after it, it is waited for."""
    with signals.starting_processes():
        follower = subprocess.Popen(
            [sys.executable, "-m", "charloom.tracking", "follow", str(journal.folder)],
            stdin=subprocess.PIPE,  # that it closes tells the follower of the end, however that comes
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # a signal to the whole group is for this process
        )
    interrupted = True
    try:
        with ended(journal):
            yield
        interrupted = False
    except Exception:
        interrupted = False
        raise
    finally:
        _leave(follower, journal.folder, interrupted=interrupted)


@contextmanager
def ended(journal: Journal) -> Iterator[None]:
    """End the run as the block ends."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt, GeneratorExit) as error:
        journal.end("KILLED", str(error))
        raise
    except (OSError, MemoryError) as error:
        journal.end("FAILED", str(environment_fault(error)))
        raise
    except BaseException as error:
        is_ours = type(error).__module__.startswith("charloom.")
        journal.end("FAILED", str(error) if is_ours else f"{type(error).__name__}: {error}")
        raise
    journal.end("FINISHED")


def _leave(follower: "subprocess.Popen[bytes]", folder: Path, *, interrupted: bool) -> None:
    """Tell the follower of the end, wait for it, and say what became of the run. After a signal, no process is left."""
    assert follower.stdin is not None
    follower.stdin.close()
    command = shlex.join(["python", "-m", "charloom.tracking", "sync", str(known.run_of(folder))])
    try:
        code = follower.wait(_SECONDS_TO_LEAVE_AFTER_A_SIGNAL if interrupted else _SECONDS_TO_LEAVE)
    except subprocess.TimeoutExpired:
        if interrupted:
            follower.kill()
            follower.wait()
        print(
            f"charloom: warning: MLflow does not have all of this run yet; see to it with `{command}`", file=sys.stderr
        )
        return
    sent = Sent.read(folder)
    if code or sent is None:
        print(f"charloom: warning: MLflow lacks parts of this run; send them with `{command}`", file=sys.stderr)
    elif not sent.gone:
        verb = "already recorded" if sent.found else "recorded"
        print(f"{verb} as {sent.name!r}, run {sent.run_id} at {sent.uri}")
        if sent.registered:
            print(sent.registered)


def origin() -> dict[str, str]:
    """Tags that say where a run comes from: the commit and whether the tree differs from it, where git is there."""
    if ORIGIN in os.environ:
        found: dict[str, str] = json.loads(os.environ[ORIGIN])
        return found
    tags = {"mlflow.source.name": "charloom", "mlflow.source.type": "LOCAL"}
    git = ["git", "-C", str(project_root()), "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    files = ["--", ".", ":!dvc.lock"]  # dvc.lock is DVC's own record of the run that is under way
    try:
        ended = subprocess.run([*git, *files], capture_output=True, check=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return tags
    # "# branch.oid <commit>", more headers, and a line for each changed file.
    commit, *lines = ended.stdout.splitlines()
    if commit.endswith("(initial)"):  # nothing is committed yet
        return tags
    dirty = any(not line.startswith("#") for line in lines)
    return tags | {"mlflow.source.git.commit": commit.split()[-1], "charloom.git_dirty": "true" if dirty else "false"}
