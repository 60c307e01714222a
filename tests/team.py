"""A team's servers, set up as docs/team.md says word by word, used as it says, and then tried to break.

    python -m tests.team   # a minute or two; needs PostgreSQL

The page's ports become free ones, and its home a folder that is thrown away. Prints what was found to hold. Knows
nothing about pytest.
"""

import base64
import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.project import ROOT, Ended
from tests.repository import Repository, stages_run

if TYPE_CHECKING:
    from mlflow.entities import Run

PAGE = ROOT / "docs" / "team.md"
PORTS = ("5432", "9000", "5000")  # of database, store and MLflow, on the page
WRONG = secrets.token_hex(16)
TIMEOUT = 90  # seconds until a server must have answered
CONFIGURATION = 2

# For root, whom PostgreSQL refuses: the same as its own user, who reads what root's here-string holds from a pipe.
_AS_POSTGRES = """#!/bin/sh
cat | runuser -u postgres -- sh -c 'umask 077; cat | "$0" "$@"' {program} "$@"
"""


def postgres_programs() -> Path | None:
    """The folder of initdb and pg_ctl; None without PostgreSQL."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    return next((path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)


def page_blocks() -> dict[str, list[str]]:
    """The commands of the page: by heading, its blocks in order."""
    found = {}
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        blocks = re.findall(r"(?m)^ {4}.*\n(?:(?: {4}.*)?\n)*", text)
        found[heading] = ["\n".join(line[4:] for line in block.rstrip().splitlines()) + "\n" for block in blocks]
    return found


@dataclass(frozen=True)
class Team:
    """The servers in a folder, their users' home among them, and the clones of a project that use them."""

    folder: Path
    project: Repository
    ports: tuple[int, ...] = field(default_factory=lambda: tuple(map(_free_port, PORTS)))

    @classmethod
    def of(cls, folder: Path) -> "Team":
        """A team with one clone, in which nothing has run, and no server yet."""
        project = Repository.small(folder)
        project.commit()
        team = cls(folder, project)
        (team.home / "bin").mkdir()
        programs = postgres_programs()
        assert programs is not None, "PostgreSQL is not installed (apt-get install postgresql)"
        for name in ("initdb", "pg_ctl", "createdb"):
            script = team.home / "bin" / name
            as_root = os.geteuid() == 0 and name != "createdb"
            own = f'#!/bin/sh\nexec {programs / name} "$@"\n'
            script.write_text(_AS_POSTGRES.format(program=programs / name) if as_root else own, encoding="utf-8")
            script.chmod(0o755)
        return team

    @property
    def home(self) -> Path:
        return self.project.home

    @cached_property
    def store(self) -> Any:
        """A client of the store."""
        import boto3  # type: ignore[import-untyped]

        keys = {key.lower(): value for key, value in self.variables("server").items() if key.startswith("AWS_")}
        return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{self.ports[1]}", **keys)

    @property
    def mlflow(self) -> str:
        """The MLflow server's address."""
        return f"http://127.0.0.1:{self.ports[2]}"

    def environment(self, **variables: str) -> dict[str, str]:
        usual = self.project.environment
        return usual | {"PATH": f"{self.home / 'bin'}{os.pathsep}{usual['PATH']}", "PYTHONPATH": "src"} | variables

    def type(self, commands: str, root: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        """Type commands of the page in a clone, by default the first; all must succeed."""
        for port, free in zip(PORTS, self.ports, strict=True):
            commands = re.sub(rf"\b{port}\b", str(free), commands)
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", commands],
            cwd=root or self.project.root,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        return done

    def experiment(self, *arguments: str, **variables: str) -> Ended:
        """An experiment of ada's, with a few quick settings and these environment variables besides hers."""
        quick = ("preset=smoke", "model.hidden_size=4", "train.steps=20", "gradcheck.hidden_size=2")
        command = ("-m", "charloom.experiment", *arguments, *quick, "gradcheck.workers=1")
        return self.project.python(*command, variables=self.as_ada(**variables))

    def as_ada(self, **variables: str) -> dict[str, str]:
        """The environment variables of ada, or of another person."""
        return self.environment() | self.variables("ada") | {"MLFLOW_TRACKING_URI": self.mlflow, **variables}

    def variables(self, name: str) -> dict[str, str]:
        """The environment variables in a file of secrets."""
        text = (self.home / "team" / f"{name}.env").read_text(encoding="utf-8")
        return dict(re.findall(r"(\w+)=(\w+)", text))

    def all_secrets(self) -> dict[str, str]:
        """Every secret by its name."""
        names = (*self.variables("server").items(), *self.variables("ada").items(), ("a wrong password", WRONG))
        return {name: secret for name, secret in names if name != "MLFLOW_TRACKING_USERNAME"}

    def runs(self, filter_string: str = "") -> "list[Run]":
        """The runs on the server, as the administrator sees them."""
        with self.as_admin() as client:
            experiments = [experiment.experiment_id for experiment in client.search_experiments()]
            return list(client.search_runs(experiments, filter_string))

    @contextlib.contextmanager
    def as_admin(self) -> Iterator[Any]:
        """A client of the administrator's."""
        from mlflow import MlflowClient

        own = {"USERNAME": "admin", "PASSWORD": self.variables("server")["MLFLOW_AUTH_ADMIN_PASSWORD"]}
        before = dict(os.environ)
        os.environ.update({f"MLFLOW_TRACKING_{key}": value for key, value in own.items()})
        try:
            yield MlflowClient(self.mlflow)
        finally:
            os.environ.clear()
            os.environ.update(before)

    def status(self, path: str, user: str = "", **headers: str) -> int:
        """The status of the MLflow server's answer to a request, of a `user:password` or of nobody."""
        request = urllib.request.Request(self.mlflow + path, headers=headers)
        if user:
            request.add_header("Authorization", f"Basic {base64.b64encode(user.encode()).decode()}")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def clone(self, name: str) -> Repository:
        """Another person's clone of what is committed."""
        clone = replace(self.project, root=self.folder / name)
        self.project.run("git", "clone", "--quiet", str(self.project.root), str(clone.root))
        return clone


def shown(runs: "list[Run]") -> str:
    """The runs, a line for each."""
    return "\n".join(f"{run.info.run_name}: {run.info.status}, {run.data.tags}" for run in runs)


def _free_port(_: str) -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _wait_for(port: int, log: Path) -> None:
    give_up = time.monotonic() + TIMEOUT
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < give_up, log.read_text(encoding="utf-8")
            time.sleep(0.2)


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[Team]:
    """The page's servers, running, with an account for ada; ended afterwards as the page says."""
    team, blocks = Team.of(folder), page_blocks()
    try:
        for block in blocks["Secrets"]:
            team.type(block)
        if os.geteuid() == 0:
            shutil.chown(team.home / "team", "postgres")
        start, fill = blocks["Database and store"]
        team.type(start)
        _wait_for(team.ports[1], team.home / "team/store.log")
        team.type(fill)
        accounts, serve, account = blocks["The MLflow server"]
        team.type(accounts)
        team.type(serve)
        _wait_for(team.ports[2], team.home / "team/mlflow.log")
        team.type(account)
        yield team
    finally:
        for line in "".join(blocks["Stopping"]).splitlines():
            with contextlib.suppress(AssertionError):  # one that never started
                team.type(line)


def records_what_each_of_the_pages_commands_makes(team: Team) -> None:
    """An experiment, a sweep with its jobs and a `dvc repro` are five runs that FINISHED, with their files."""
    (block,) = page_blocks()["Recording"]
    team.type(block)
    runs = team.runs()
    assert {run.info.status for run in runs} == {"FINISHED"}, shown(runs)
    (parent,) = (run for run in runs if "charloom.sweep" in run.data.tags)
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert (len(runs), len(children)) == (5, 2), shown(runs)
    with team.as_admin() as client:
        for run in runs:
            if run is parent:
                continue
            assert client.list_artifacts(run.info.run_id, "train"), run.info.run_name
    assert team.project.json("artifacts/track/result.json")["result"] in {
        run.data.tags.get("charloom.result") for run in runs
    }


def lets_a_colleague_find_a_result_again(team: Team) -> None:
    """A second person whose result is recorded already gets ada's run, and no error."""
    account = page_blocks()["The MLflow server"][-1].replace("create_user('ada'", "create_user('bob'")
    team.type(account.replace('"$MLFLOW_TRACKING_PASSWORD"', f"'{'b' * 16}'"))
    before = len(team.runs())
    as_bob = team.as_ada(MLFLOW_TRACKING_USERNAME="bob", MLFLOW_TRACKING_PASSWORD="b" * 16)
    clone = team.project.copy_to(team.folder / "bob")
    shutil.rmtree(clone.root / ".charloom")
    for command in (("charloom.stages.track", "out=outputs/again"), ("charloom.experiment", "preset=smoke")):
        ended = clone.python("-m", *command, variables=as_bob)
        assert ended.code == 0, ended.errors
    synced = clone.python("-m", "charloom.tracking", "sync", variables=as_bob)  # where it took more than ten seconds
    assert synced.code == 0, synced.errors
    assert len(team.runs()) == before


def says_once_that_a_password_is_wrong_and_goes_on(team: Team) -> None:
    """A wrong password costs one warning, which shows no secret; the run is sent once the password is right."""
    ended = team.experiment("seed=11", MLFLOW_TRACKING_PASSWORD=WRONG)
    assert ended.code == 0, ended.errors
    (line,) = (line for line in ended.errors.splitlines() if "refuses this user" in line)
    assert "MLFLOW_TRACKING_PASSWORD" in line
    assert not [name for name, secret in team.all_secrets().items() if secret in ended.output + ended.errors]
    assert team.runs("params.seed = '11'") == []
    for _ in range(2):
        synced = team.project.python("-m", "charloom.tracking", "sync", variables=team.as_ada())
        assert synced.code == 0, synced.errors
    (run,) = team.runs("params.seed = '11'")
    assert run.info.status == "FINISHED"


def takes_an_address_with_a_password_from_the_environment_alone(team: Team) -> None:
    """MLFLOW_TRACKING_URI may hold user and password, for runs, sweeps and errors alike; `tracking.uri` may not."""
    own = team.variables("ada")
    user = f"{own['MLFLOW_TRACKING_USERNAME']}:{own['MLFLOW_TRACKING_PASSWORD']}"
    uri = team.mlflow.replace("://", f"://{user}@")
    alone = {"MLFLOW_TRACKING_USERNAME": "", "MLFLOW_TRACKING_PASSWORD": "", "MLFLOW_TRACKING_URI": uri}
    ended = team.experiment("-m", "seed=12", "data.path=data/small.txt,none.txt", **alone)
    assert ended.code == 3, ended.errors
    statuses = [run.info.status for run in team.runs("params.seed = '12'") if "charloom.sweep" not in run.data.tags]
    assert sorted(statuses) == ["FAILED", "FINISHED"]
    for arguments in ([f"tracking.uri={uri}"], ["-m", f"tracking.uri={team.mlflow},{uri}"]):
        refused = team.experiment(*arguments, "tracking=server")
        refused.assert_one_error(CONFIGURATION, "tracking.uri must hold no user name, password or query")
        ended = replace(ended, errors=ended.errors + refused.errors)
    assert not [name for name, secret in team.all_secrets().items() if secret in ended.output + ended.errors]


def lets_a_second_clone_pull_everything_and_run_nothing(team: Team) -> None:
    """What was pushed is pulled, hash by hash, and a `dvc repro` runs no stage and records no run."""
    add, push, pull = page_blocks()["DVC's remote"]
    team.type(add)
    team.project.commit()  # dvc.lock
    team.type(push)
    before = len(team.runs())
    clone = team.clone("second")
    done = team.type(pull, clone.root, MLFLOW_TRACKING_URI=team.mlflow)
    assert stages_run(done.stdout) == []
    assert "up to date" in done.stdout
    assert clone.files("artifacts").keys() == team.project.files("artifacts").keys()
    assert clone.hashes() == team.project.hashes()
    assert len(team.runs()) == before


def refuses_what_was_poisoned_in_the_store(team: Team) -> None:
    """A file that was replaced in the store is not pulled; without `verify` it would be."""
    folder = next(out for out in team.project.locked("train")["outs"] if out["path"] == "artifacts/train")
    digest = folder["md5"].removesuffix(".dir")
    listing = f"dvc/files/md5/{digest[:2]}/{digest[2:]}.dir"
    files = json.loads(team.store.get_object(Bucket="team", Key=listing)["Body"].read())
    (model,) = (file["md5"] for file in files if file["relpath"] == "model.npz")
    key = f"dvc/files/md5/{model[:2]}/{model[2:]}"
    whole = team.store.get_object(Bucket="team", Key=key)["Body"].read()
    team.store.put_object(Bucket="team", Key=key, Body=whole[::-1])
    keys = {name: value for name, value in team.variables("ada").items() if name.startswith("AWS_")}
    pulled = {}
    for verify in ("true", "false"):
        clone = team.clone(f"verify {verify}")
        clone.dvc("remote", "modify", "team", "verify", verify)
        ended = clone.python("-m", "dvc", "pull", variables=team.environment(**keys))
        pulled[verify] = (ended.code == 0, (clone.root / "artifacts/train/model.npz").exists())
    team.store.put_object(Bucket="team", Key=key, Body=whole)
    assert pulled == {"true": (False, False), "false": (True, True)}


def answers_nobody_without_an_account_or_under_another_name(team: Team) -> None:
    """Without a password, and with a wrong one, the server's answer is 401; to another Host, 403."""
    own = team.variables("ada")
    right = f"{own['MLFLOW_TRACKING_USERNAME']}:{own['MLFLOW_TRACKING_PASSWORD']}"
    search = "/api/2.0/mlflow/experiments/search?max_results=1"
    assert team.status(search, right) == 200
    assert team.status(search) == 401
    assert team.status(search, f"ada:{WRONG}") == 401
    assert team.status(search, right, Host="evil.example") == 403
    assert team.status("/", right, Host=f"evil.example:{team.ports[2]}") == 403


def writes_no_secret_anywhere(team: Team) -> None:
    """No secret stands in a file of the clones, the home or the database, in an object of the store, a run or a log."""
    places: dict[str, bytes] = {}
    for path in team.folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.suffix != ".env":
            places[str(path.relative_to(team.folder))] = path.read_bytes() + str(path).encode()
    for bucket_page in team.store.get_paginator("list_objects_v2").paginate(Bucket="team"):
        for found in bucket_page.get("Contents", []):
            places[found["Key"]] = team.store.get_object(Bucket="team", Key=found["Key"])["Body"].read()
    for run in team.runs():
        places[f"run {run.info.run_id}"] = repr(run.to_dictionary()).encode()
    for expected in (".hydra/overrides.yaml", "journal.jsonl", "mlflow.log", "store.log", "postgres.log"):
        assert any(name.endswith(expected) for name in places), expected
    assert sum("/artifacts/train/" in name for name in places) > 5
    standing = [
        f"{name} in {place}"
        for place, content in places.items()
        for name, secret in team.all_secrets().items()
        for form in (secret, base64.b64encode(f"ada:{secret}".encode()).decode())
        if form.encode() in content
    ]
    assert standing == [], standing


# In an order in which each finds what those before it have made.
QUICK = (
    answers_nobody_without_an_account_or_under_another_name,
    says_once_that_a_password_is_wrong_and_goes_on,
    writes_no_secret_anywhere,
)
HOLDS = (
    answers_nobody_without_an_account_or_under_another_name,
    records_what_each_of_the_pages_commands_makes,
    lets_a_colleague_find_a_result_again,
    says_once_that_a_password_is_wrong_and_goes_on,
    takes_an_address_with_a_password_from_the_environment_alone,
    lets_a_second_clone_pull_everything_and_run_nothing,
    refuses_what_was_poisoned_in_the_store,
    writes_no_secret_anywhere,
)


def main() -> int:
    """Set everything up, and try what the page says; the exit code is 1 if something does not hold."""
    folder = Path(tempfile.mkdtemp(prefix="charloom-team-"))
    folder.chmod(0o755)  # the user postgres has its database in it
    broken = 0
    try:
        began = time.monotonic()
        with servers(folder) as team:
            print(f"{time.monotonic() - began:5.1f} s  the servers answer", flush=True)
            for holds in HOLDS:
                began = time.monotonic()
                try:
                    holds(team)
                    verdict = ""
                except Exception:
                    broken, verdict = 1, f"DOES NOT HOLD:\n{traceback.format_exc()}"
                print(f"{time.monotonic() - began:5.1f} s  {verdict}{(holds.__doc__ or '').strip()}", flush=True)
    finally:
        shutil.rmtree(folder)
    return broken


if __name__ == "__main__":
    sys.exit(main())
