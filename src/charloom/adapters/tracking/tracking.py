"""The runs in MLflow: one for each result, found again by the fingerprint of its files.

The only module that knows MLflow, which it imports where it is used, because that takes a second and a half.
It reads what the stages left behind and knows nothing about how it came about. A tracking server that is gone
costs seconds and one clear line, never a result.

`python -m charloom.tracking` opens MLflow's pages on the loopback address.
"""

import argparse
import csv
import hashlib
import json
import logging
import math
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, NoReturn
from urllib.parse import urlsplit

import filelock
import psutil

from charloom.adapters.command import exit_code
from charloom.adapters.configuration import Config, TrackingConfig, flatten, load, project_root
from charloom.core.common.errors import ConfigError, EnvironmentFault, StateError
from charloom.core.common.records import Result

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_log = logging.getLogger(__name__)

_STAGES = ("prepare", "gradcheck", "baseline", "train", "synthesize", "plot")
_PROCESS = "charloom.process"  # of a sweep, while it runs
_NEEDED = (
    "prepare/summary.json",
    "gradcheck/errors.json",
    "gradcheck/errors.csv",
    "train/model.npz",
    "train/history.csv",
    "train/samples.jsonl",
    "train/metrics.json",
    "synthesize/sample.txt",
    "synthesize/metrics.json",
)
_NOT_SENT = (
    "prepare/ids.npy",  # as large as the corpus
    "train/samples.jsonl",  # sent as a text for each sample
)

_RESULT = "charloom.result"
_PARENT = "mlflow.parentRunId"  # MLflow's own tags have no public constants
_NOTE = "mlflow.note.content"  # what its page of a run shows as the description, in Markdown

_POINTS = 1000  # metrics that MLflow takes at once
_PARAMETERS = 100

# The most telling error first: of a wide table, the page shows what fits.
_ERROR_COLUMNS = (
    "weights",
    "method",
    "tensor",
    "max_relative_error",
    "max_absolute_error",
    "max_scaled_error",
    "entries",
    "exact_zeros",
)

# What the list of runs shows, under the name by which the page finds it among the experiment's tags.
_VIEW_NAME = "charloom"
_VIEW = {
    "searchFilter": "",
    "orderByKey": "attributes.start_time",
    "orderByAsc": False,
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
    "selectedColumns": [
        "metrics.`smooth_loss`",
        "metrics.`validation_bits_per_char`",
        "params.`model.cell`",
        "params.`model.hidden_size`",
        "params.`optimizer.name`",
        "params.`optimizer.learning_rate`",
        "params.`train.steps`",
    ],
}

# MLflow's own defaults wait four minutes for a server that is gone and twenty for one that hangs. What is set
# outside stays.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@dataclass(frozen=True)
class Recorded:
    """The MLflow run that holds a result; `new` is false where it was there already."""

    run_id: str
    name: str
    uri: str
    new: bool


def result_of(config: Config, inp: Path) -> Result:
    """What the stage folders in `inp` hold, as hashes that are the same on every machine.

    Raises StateError where a stage has not left its files.
    """
    for name in _NEEDED:
        if not (inp / name).is_file():
            raise StateError(f"{inp / name} is missing; run the {name.split('/')[0]} stage first")
    files = {}
    for stage in _STAGES:
        for path in (inp / stage).rglob("*"):
            if path.is_file() and not path.name.startswith("."):
                with path.open("rb") as file:
                    files[path.relative_to(inp).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    files = dict(sorted(files.items()))
    whole = json.dumps({"files": files, "parameters": config.parameters()}, sort_keys=True)
    return Result(hashlib.sha256(whole.encode()).hexdigest(), files)


def record(config: Config, inp: Path, result: Result, *, parent: str | None = None) -> Recorded | None:
    """Make the one MLflow run of the result in `inp`, or find it.

    A finished run with the tag `charloom.result` under the same `parent` is that run, and nothing is written.
    One that was left unfinished, by a kill half-way, is deleted and made anew. None where tracking is off.

    Raises EnvironmentFault where MLflow cannot be written to; the result itself is whole, and recording can
    be repeated. Raises StateError where the files cannot be read as a result.
    """
    if config.tracking.mode == "off":
        return None
    contents = _read(config, inp, result)
    comfort = f"the result is whole in {inp}; record it later with `{_retry(inp)}`"
    with _opened(config.tracking, comfort) as store:
        for run in store.runs_of(result, parent):
            if run.info.status == "FINISHED":
                return Recorded(run.info.run_id, run.info.run_name or "", _shown(store.uri), new=False)
            store.client.delete_run(run.info.run_id)
        with _run(store, contents.name, contents.tags | _origin_tags(parent)) as run:
            _send(store.client, run, contents)
        return Recorded(run.info.run_id, contents.name, _shown(store.uri), new=True)


def record_failure(config: Config, message: str, *, parent: str | None = None) -> str | None:
    """Make a failed run of a job that ended in an error, with `message` in the tag `charloom.error`.

    The run's id; None where tracking is off or MLflow cannot be written to, which is a warning.
    """
    if config.tracking.mode == "off":
        return None
    tags = {"charloom.error": message[:5000], _NOTE: message[:5000]} | _origin_tags(parent)
    try:
        with (
            _opened(config.tracking, "the failed job is not in MLflow") as store,
            _run(store, f"{_model_name(config)}, failed", tags, status="FAILED") as run,
        ):
            _send_parameters(store.client, run.info.run_id, _texts(config))
            return str(run.info.run_id)
    except (ConfigError, EnvironmentFault) as error:  # of a job that was refused, the address may be what is wrong
        _log.warning("%s", error)
        return None


def open_parent(tracking: TrackingConfig, name: str) -> str | None:
    """Make the run that the runs of a sweep go under, and leave it open; end those whose sweep was killed.

    Its id, for `record` and `close_parent`; None where tracking is off or MLflow cannot be written to, which
    is a warning: the sweep goes on, and its runs stand alone.
    """
    if tracking.mode == "off":
        return None
    try:
        with _opened(tracking, "the sweep goes on without a run above its runs") as store:
            _end_killed_sweeps(store)
            tags = {"charloom.sweep": "true", _PROCESS: _identity(psutil.Process())} | _origin_tags(None)
            return str(store.client.create_run(store.experiment_id, tags=tags, run_name=name).info.run_id)
    except EnvironmentFault as error:
        _log.warning("%s", error)
        return None


def close_parent(
    tracking: TrackingConfig,
    run_id: str | None,
    rows: Sequence[Mapping[str, object]],
    *,
    status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED",
    best: str = "smooth_loss",
) -> None:
    """End a sweep's run with a table of its jobs, `sweep.json`, a row for each: number, overrides, figures.

    The lowest value in the column `best` becomes the metric `best/<column>`, and its row the run's
    description. Where MLflow cannot be written to, that is a warning.
    """
    if run_id is None or tracking.mode == "off":
        return
    columns = list(dict.fromkeys(column for row in rows for column in row))
    figures = [(value, row) for row in rows if isinstance(value := row.get(best), int | float)]
    winner = min(figures, key=lambda figure: figure[0] if math.isfinite(figure[0]) else math.inf, default=None)
    try:
        with _opened(tracking, "the sweep's runs are there, its summary is not") as store:
            try:
                if columns:
                    # As text: of numbers, log_table keeps ten decimals.
                    table = {column: [_text(row.get(column, "")) for row in rows] for column in columns}
                    store.client.log_table(run_id, table, "sweep.json")
                if winner:
                    store.client.log_metric(run_id, f"best/{best}", winner[0], synchronous=True)
                    note = ", ".join(f"{column} {_text(value)}" for column, value in winner[1].items())
                    store.client.set_tag(run_id, _NOTE, f"Best: {note}", synchronous=True)
            except BaseException:
                _end(store.client, run_id, "FAILED")
                raise
            store.client.set_terminated(run_id, status)
    except EnvironmentFault as error:
        _log.warning("%s", error)


def home() -> Path:
    """The project's root, where the database is.

    A queued or temporary DVC experiment runs in a copy of the project that is thrown away; there, it is the
    root of the project that was copied.
    """
    root = project_root()
    copy = next((folder for folder in (root, *root.parents) if (folder / ".dvc").is_dir()), root)
    origin, is_copy, _ = copy.as_posix().partition("/.dvc/tmp/exps/")
    if not is_copy:  # or .dvc/tmp is a link to elsewhere; in an experiment, DVC_ROOT is the project copied
        origin = os.environ.get("DVC_ROOT", "") if "DVC_EXP_NAME" in os.environ else ""
    original = Path(origin) / root.relative_to(copy)
    return original if origin and (original / "params.yaml").is_file() else root


def tracking_uri(tracking: TrackingConfig) -> str:
    """Where runs go: `MLFLOW_TRACKING_URI` where it is set, else `tracking.uri`, else mlflow.db in `home`.

    A relative path to a database is taken from there. Raises ConfigError for a server without an address.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or tracking.uri
    if not uri:
        if tracking.mode == "server":
            raise ConfigError(
                "tracking.uri must be the address of an MLflow server: None; try tracking.uri=http://127.0.0.1:5000"
            )
        uri = "sqlite:///mlflow.db"
    database = _database(uri)
    return uri if database is None else f"sqlite:///{database}"


@dataclass(frozen=True)
class _Store:
    """An experiment that can be written to."""

    client: "MlflowClient"
    experiment_id: str
    uri: str

    def runs_of(self, result: Result, parent: str | None) -> list["Run"]:
        """The runs of a result under the same parent, finished or not; finished ones first."""
        runs = self.client.search_runs([self.experiment_id], f"tags.`{_RESULT}` = '{result.result}'")
        same = [run for run in runs if run.data.tags.get(_PARENT) == parent]
        return sorted(same, key=lambda run: run.info.status != "FINISHED")


@dataclass(frozen=True)
class _Contents:
    """What is sent to MLflow of a result, read before anything is sent."""

    name: str
    tags: dict[str, str]
    parameters: dict[str, str]
    metrics: list[tuple[str, float, int]]  # name, value, step
    error_table: dict[str, list[str]]
    samples: dict[str, str]  # file name: text
    artifacts: list[tuple[Path, str]]  # file, folder among the artifacts
    corpus: dict[str, Any]


def _read(config: Config, inp: Path, result: Result) -> _Contents:
    try:
        corpus = json.loads((inp / "prepare/summary.json").read_text(encoding="utf-8"))
        errors = json.loads((inp / "gradcheck/errors.json").read_text(encoding="utf-8"))
        with (inp / "gradcheck/errors.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        with (inp / "train/history.csv").open(encoding="utf-8", newline="") as file:
            history = list(csv.DictReader(file))
        with (inp / "train/samples.jsonl").open(encoding="utf-8") as file:
            samples = [json.loads(line) for line in file]
        curves = list(_curves(history, config.train.seq_length))
        figures, words = [], {}
        for stage in ("baseline", "train", "synthesize"):
            if (path := inp / stage / "metrics.json").is_file():
                for key, value in flatten(json.loads(path.read_text(encoding="utf-8"))).items():
                    if isinstance(value, int | float):
                        figures.append((f"{stage}/{key}", float(value), 0))
                    elif value is not None:
                        words[f"charloom.{stage}.{key}"] = str(value)
        exact = {tensor: found["max_relative_error"] for tensor, found in errors["complex_step"].items()}
        central = {tensor: found["max_relative_error"] for tensor, found in errors["central"].items()}
        relative = [(f"rel_error/{tensor}", float(error), 0) for tensor, error in exact.items()]
        relative += [(f"rel_error_central/{tensor}", float(error), 0) for tensor, error in central.items()]
        smooth = f"smooth loss {float(history[-1]['smooth_loss']):.1f}" if history else "no steps"
        return _Contents(
            name=f"{_model_name(config)}, {smooth}",
            tags={
                _RESULT: result.result,
                "charloom.corpus_sha256": corpus["sha256"],
                "charloom.gradcheck": "passed" if errors["passed"] else "failed",
                _NOTE: _note(exact, central),
                **words,
            },
            parameters=_texts(config),
            metrics=relative + figures + curves,
            error_table={column: [_brief(row[column]) for row in rows] for column in _ERROR_COLUMNS},
            samples={f"samples/step-{sample['step']:08d}.txt": sample["text"] for sample in samples},
            artifacts=[(inp / name, str(Path(name).parent)) for name in result.files if name not in _NOT_SENT],
            corpus=corpus,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateError(f"{inp} does not hold a whole result ({error!r}); run the stages again") from error


def _curves(history: list[dict[str, str]], seq_length: int) -> Iterator[tuple[str, float, int]]:
    """The columns of the history as points, and the same in bits for each character."""
    for row in history:
        step = int(row["step"])
        for name in ("loss", "smooth_loss", "validation_nats_per_char"):
            if row.get(name):
                yield name, float(row[name]), step
        yield "bits_per_char", float(row["smooth_loss"]) / (seq_length * math.log(2)), step
        if row.get("validation_nats_per_char"):
            yield "validation_bits_per_char", float(row["validation_nats_per_char"]) / math.log(2), step


def _note(exact: dict[str, float], central: dict[str, float]) -> str:
    rows = [f"| {tensor} | {exact[tensor]:.2e} | {central[tensor]:.2e} |" for tensor in exact if tensor in central]
    return "\n".join(
        [
            "The gradient's largest relative error, by the complex step and by central differences:",
            "",
            "| tensor | complex step | central difference |",
            "|---|---|---|",
            *rows,
            "",
            "The whole story is among the artifacts, in plot/report.html.",
        ]
    )


def _send(client: "MlflowClient", run: "Run", contents: _Contents) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric

    run_id = run.info.run_id
    _send_parameters(client, run_id, contents.parameters)
    # One time for all points: they carry their steps, and a batch that is sent twice then changes nothing.
    points = (Metric(name, value, run.info.start_time, step) for name, value, step in contents.metrics)
    while batch := list(islice(points, _POINTS)):
        client.log_batch(run_id, metrics=batch, synchronous=True)
    # As text: of numbers, log_table keeps ten decimals, and 1e-12 becomes 0.
    client.log_table(run_id, contents.error_table, "gradcheck/relative_errors.json")
    for path, folder in contents.artifacts:
        client.log_artifact(run_id, str(path), folder)
    for name, text in contents.samples.items():
        client.log_text(run_id, text, name)
    corpus = contents.corpus
    dataset = Dataset(
        name=Path(corpus["path"]).name,
        digest=corpus["sha256"][:16],
        source_type="local",
        source=json.dumps({"uri": corpus["path"]}),
        profile=json.dumps({key: corpus[key] for key in corpus if key not in ("path", "sha256")}),
    )
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _send_parameters(client: "MlflowClient", run_id: str, parameters: dict[str, str]) -> None:
    from mlflow.entities import Param

    every = (Param(key, value) for key, value in parameters.items())
    while batch := list(islice(every, _PARAMETERS)):
        client.log_batch(run_id, params=batch, synchronous=True)


def _texts(config: Config) -> dict[str, str]:
    """The parameters, flat and spelt as in params.yaml."""
    return {key: _text(value) for key, value in flatten(config.parameters()).items()}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _brief(figure: str) -> str:
    """A number's digits cut to what a table's cell shows: of more, it would hide the exponent."""
    with suppress(ValueError):  # a word
        return figure if figure.isdigit() else f"{float(figure):.3e}"
    return figure


def _model_name(config: Config) -> str:
    """A short name for a configuration, such as `rnn 100, adagrad 0.1`."""
    layers = f"{config.model.layers}×" if config.model.layers > 1 else ""
    size = f"{layers}{config.model.hidden_size}"
    return f"{config.model.cell} {size}, {config.optimizer.name} {config.optimizer.learning_rate:g}"


def _retry(inp: Path) -> str:
    return "dvc repro track" if "DVC_STAGE" in os.environ else f"python -m charloom.stages.track inp={inp}"


def _origin_tags(parent: str | None) -> dict[str, str]:
    """Where a run comes from: its parent; the commit and whether the tree differs, where git is there."""
    tags = {"mlflow.source.name": "charloom", "mlflow.source.type": "LOCAL"}
    if parent is not None:
        tags[_PARENT] = parent
    try:
        commit = _git("rev-parse", "--verify", "HEAD").strip()
        # dvc.lock is DVC's own record of the run that is under way.
        changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock").strip()
    except (OSError, subprocess.SubprocessError):
        return tags
    return tags | {
        "mlflow.source.git.commit": commit,
        "charloom.git_commit": commit,
        "charloom.git_dirty": "true" if changes else "false",
    }


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(project_root()), *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=10).stdout


def _database(uri: str) -> Path | None:
    """The file of an sqlite address; None for any other."""
    if not uri.startswith("sqlite:///"):
        return None
    return (home() / uri.removeprefix("sqlite:///")).absolute()


def _shown(uri: str) -> str:
    """An address without the password that may be in it."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else uri


@contextmanager
def _opened(tracking: TrackingConfig, comfort: str) -> Iterator[_Store]:
    """The experiment, made where it is not there yet, with one process of this project at a time in it.

    The lock is for what MLflow cannot do: processes that create a database together all fail, and two that
    look for a result together both record it. A failure of MLflow's becomes an EnvironmentFault of one line
    that ends in `comfort`.
    """
    uri = tracking_uri(tracking)
    database = _database(uri)
    lock = database.with_name(f"{database.name}.lock") if database else home() / ".charloom/tracking.lock"
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    from mlflow.exceptions import MlflowException  # sets its loggers' levels, so ours come after it
    from sqlalchemy.exc import SQLAlchemyError

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(lock, timeout=120):
            yield _open(uri, database, tracking.experiment)
    except filelock.Timeout:
        raise EnvironmentFault(f"another process has held {lock} for two minutes; {comfort}") from None
    except (MlflowException, SQLAlchemyError, OSError) as error:
        failed = f"MLflow at {_shown(uri)} cannot be written to ({_cause(error)})"
        raise EnvironmentFault(f"{failed}; {comfort}") from error


def _open(uri: str, database: Path | None, name: str) -> _Store:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(uri)
    files = database.parent / "mlartifacts" if database else None
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            made = client.create_experiment(
                name,
                artifact_location=files.as_uri() if files else None,
                tags={
                    "mlflow.experimentKind": "custom_model_development",  # opens on runs, not on traces
                    "mlflow.experiment.primaryMetric.name": "smooth_loss",
                    "mlflow.experiment.primaryMetric.greaterIsBetter": "false",
                },
            )
            return _Store(client, made, uri)
        except MlflowException:  # on a server, another machine may have been first
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage != "active":
        raise EnvironmentFault(
            f"the experiment {name!r} at {_shown(uri)} was deleted; restore it or set tracking.experiment"
        )
    location = experiment.artifact_location
    if files and location != files.as_uri() and not _is_there(location):
        raise EnvironmentFault(
            f"the experiment {name!r} keeps its files in {location}, which is gone (was the project moved?); "
            f"set tracking.experiment to a new name, or remove {database} and {files} to start anew"
        )
    return _Store(client, experiment.experiment_id, uri)


def _is_there(location: str) -> bool:
    parts = urlsplit(location)
    return parts.scheme not in ("", "file") or Path(urllib.request.url2pathname(parts.path)).is_dir()


@contextmanager
def _run(store: _Store, name: str, tags: dict[str, str], status: str = "FINISHED") -> Iterator["Run"]:
    """A run that ends with `status`, or as failed or killed where the block does; never left open."""
    run = store.client.create_run(store.experiment_id, tags=tags, run_name=name)
    try:
        yield run
        store.client.set_terminated(run.info.run_id, status)
    except BaseException as error:
        _end(store.client, run.info.run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise


def _end(client: "MlflowClient", run_id: str, status: str) -> None:
    """End a run after an error, trying once: the server may be what failed."""
    before = os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    with suppress(Exception):
        client.set_terminated(run_id, status)
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = before


def _end_killed_sweeps(store: _Store) -> None:
    """End the runs of this machine's sweeps that were left open by a process which is gone."""
    running = "attributes.status = 'RUNNING' and tags.`charloom.sweep` = 'true'"
    for run in store.client.search_runs([store.experiment_id], running):
        identity = run.data.tags.get(_PROCESS)
        if identity and _has_ended(identity):
            store.client.set_terminated(run.info.run_id, "KILLED")


def _identity(process: psutil.Process) -> str:
    """The machine's name, the id of the process and its start: no other process has the same."""
    return f"{platform.node()} {process.pid} {process.create_time():.2f}"


def _has_ended(identity: str) -> bool:
    """Whether the process with this `_identity` has ended; of another machine's it is not known."""
    host, pid, _ = identity.rsplit(" ", 2)
    try:
        return host == platform.node() and _identity(psutil.Process(int(pid))) != identity
    except psutil.NoSuchProcess:
        return True


def _cause(error: BaseException) -> str:
    """The first of what went wrong, in one line."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".")


def serve(tracking: TrackingConfig, *, port: int | None = None, browser: bool = True) -> NoReturn:
    """Show MLflow's pages, on the experiment's runs, until a signal ends it.

    `port` is the first free one from 5000 where it is None. Where the runs are on a server, its page is
    opened. Ends by SystemExit, 130 for Ctrl-C. Raises EnvironmentFault where the port is taken or the server
    does not start.
    """
    with _opened(tracking, "its pages cannot be shown") as store:
        empty = not store.client.search_runs([store.experiment_id], max_results=1)
        store.client.set_experiment_tag(store.experiment_id, f"mlflow.sharedViewState.{_VIEW_NAME}", json.dumps(_VIEW))
    if empty:
        print(
            "There are no runs yet; `make repro` or `python -m charloom.experiment` makes the first.",
            flush=True,
        )
    view = f"#/experiments/{store.experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={_VIEW_NAME}"
    if store.uri.startswith(("http://", "https://")):
        _show(f"{_shown(store.uri).rstrip('/')}/{view}", browser)
        raise SystemExit(0)
    port = _free_port(port)
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log, _server(store.uri, port, log) as server:
        try:
            _wait_until_up(server, address, log)
            _show(f"{address}/{view}", browser)
            server.wait()
        except KeyboardInterrupt:
            raise SystemExit(128 + signal.SIGINT) from None
        raise EnvironmentFault(f"MLflow's server has ended ({_last_line(log)}); start it again")


@contextmanager
def _server(uri: str, port: int, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server and its workers, which all end with the block."""
    database = _database(uri)
    files = ["--artifacts-destination", str(database.parent / "mlartifacts")] if database else []
    here = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, *files, *here],
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=log,
        stderr=log,
        start_new_session=True,  # so that Ctrl-C reaches this process alone, which then ends the whole group
    )
    try:
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait_until_up(server: subprocess.Popen[bytes], address: str, log: IO[bytes]) -> None:
    for _ in range(600):
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{address}/health", timeout=2):
            return
        if server.poll() is not None:
            raise EnvironmentFault(f"MLflow's server does not start ({_last_line(log)})")
        time.sleep(0.1)
    raise EnvironmentFault(f"MLflow's server at {address} does not answer ({_last_line(log)}); try again")


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "it says nothing"


def _show(page: str, browser: bool) -> None:
    print(f"MLflow: {page}", flush=True)
    has_display = sys.platform == "darwin" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    if browser and has_display:  # without a display, webbrowser would start a text browser in this terminal
        with suppress(webbrowser.Error):
            webbrowser.open(page)


def _free_port(wanted: int | None) -> int:
    for port in [wanted] if wanted is not None else range(5000, 5100):
        with socket.socket() as probe, suppress(OSError, OverflowError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    if wanted is None:
        raise EnvironmentFault("the ports from 5000 to 5099 are all taken; name a free one with --port")
    raise EnvironmentFault(f"port {wanted} cannot be had; name another with --port, or none for the first free one")


def main() -> NoReturn:
    """Run what the command line says, and exit."""
    parser = argparse.ArgumentParser(prog="python -m charloom.tracking", description="Show the runs in MLflow.")
    parser.add_argument("--port", type=int, help="default: the first free one from 5000")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("overrides", nargs="*", help="such as tracking=server tracking.uri=http://host:5000")
    given = parser.parse_args()

    def work() -> None:
        tracking = load(given.overrides).tracking
        if tracking.mode == "off":
            raise ConfigError("tracking.mode is off, which keeps no runs to show; try tracking=sqlite")
        serve(tracking, port=given.port, browser=not given.no_browser)

    sys.exit(exit_code(work))
