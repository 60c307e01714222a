"""The download of published corpora, against a real HTTP server on the loopback address."""

import gc
import hashlib
import io
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from charloom.adapters import fetch
from charloom.core.common.errors import ConfigError, DataError, EnvironmentFault
from tests.project import Project

# pooch leaves the connection of a failed download to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

TEXT = b"To be, or not to be, that is the question.\n" * 4000  # several of the downloader's pieces


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


class Server(ThreadingHTTPServer):
    """Answers each request with the next of `answers`, the last one for ever, and counts the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = ["good"]
        self.requests = 0
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/input.txt"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        answer = self.server.answers[min(self.server.requests, len(self.server.answers) - 1)]
        self.server.requests += 1
        if answer == "hang":
            self.server.closing.wait(30)
            return
        if answer.isdigit():
            self.send_error(int(answer))
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(TEXT)))
        self.end_headers()
        match answer:
            case "good":
                self.wfile.write(TEXT)
            case "other":
                self.wfile.write(TEXT.replace(b"be", b"me"))
            case "cut":
                self.wfile.write(TEXT[: len(TEXT) // 2])
            case "stall":
                self.wfile.write(TEXT[: len(TEXT) // 2])
                self.server.closing.wait(30)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: standard error is under test."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()
        gc.collect()  # here, where the warning is ignored, and not in a later test
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # each command sets its own


@pytest.fixture(autouse=True)
def project(workspace: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project to work in, a corpus `small` on the test's server, and no long waits."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    small = fetch.Published(server.url, hashlib.sha256(TEXT).hexdigest(), "small.txt")
    monkeypatch.setitem(fetch.CORPORA, "small", small)
    monkeypatch.setattr(fetch, "_TIMEOUT", (5.0, 5.0))
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)  # between attempts
    return workspace


def downloads(project: Path) -> dict[str, bytes]:
    """Every file in the default folder, hidden ones too."""
    folder = project / "data" / "downloads"
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def test_a_good_file_arrives_whole_and_alone(project: Path) -> None:
    assert fetch.main(["small"]) == 0
    assert downloads(project) == {"small.txt": TEXT}


def test_the_last_lines_say_where_the_file_is_and_how_to_use_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch.main(["small"])
    assert capsys.readouterr().out.splitlines() == [
        f"downloaded to {project}/data/downloads/small.txt, sha256 as published",
        "train on it: python -m charloom.experiment data.path=data/downloads/small.txt",
    ]


def test_the_project_is_found_from_a_folder_below_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "conf")
    assert fetch.main(["small"]) == 0
    assert downloads(project) == {"small.txt": TEXT}


def test_nothing_is_written_to_standard_error_that_is_not_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    fetch.main(["small"])
    assert capsys.readouterr().err == ""


def test_a_terminal_sees_the_progress_up_to_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert fetch.main(["small"]) == 0
    assert "100%" in terminal.getvalue()
    assert "172k/172k" in terminal.getvalue()


def test_a_failure_on_a_terminal_starts_a_line_of_its_own(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    server.answers = ["cut"]
    assert fetch.main(["small"]) == 5
    assert terminal.getvalue().splitlines()[-1].startswith("charloom: error: ")


def test_a_file_already_there_is_not_asked_for_again(
    project: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch.main(["small"])
    capsys.readouterr()
    assert fetch.main(["small"]) == 0
    assert server.requests == 1
    assert capsys.readouterr().out.splitlines()[0] == (
        f"already there: {project}/data/downloads/small.txt, sha256 as published"
    )


def test_fetch_returns_whether_a_download_was_needed(project: Path) -> None:
    assert fetch.fetch(fetch.CORPORA["small"], project / "texts") is True
    assert fetch.fetch(fetch.CORPORA["small"], project / "texts") is False


def test_a_good_file_survives_a_server_that_has_gone_bad(project: Path, server: Server) -> None:
    fetch.main(["small"])
    server.answers = ["other"]
    assert fetch.main(["small"]) == 0
    assert downloads(project) == {"small.txt": TEXT}


def test_a_file_with_other_content_is_replaced_by_the_published_one(project: Path) -> None:
    (project / "data" / "downloads").mkdir(parents=True)
    (project / "data" / "downloads" / "small.txt").write_bytes(b"old")
    assert fetch.main(["small"]) == 0
    assert downloads(project) == {"small.txt": TEXT}


def test_to_names_another_folder_and_the_command_names_the_file_in_it(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch.main(["small", "--to", str(tmp_path / "my texts")]) == 0
    assert (tmp_path / "my texts" / "small.txt").read_bytes() == TEXT
    assert downloads(project) == {}
    assert capsys.readouterr().out.splitlines()[1] == (
        f"train on it: python -m charloom.experiment 'data.path={tmp_path}/my texts/small.txt'"
    )


def test_with_to_no_project_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert fetch.main(["small", "--to", "texts"]) == 0
    assert (tmp_path / "texts" / "small.txt").read_bytes() == TEXT


def test_url_names_a_mirror(project: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = fetch.Published("http://127.0.0.1:9/gone", hashlib.sha256(TEXT).hexdigest(), "small.txt")
    monkeypatch.setitem(fetch.CORPORA, "small", elsewhere)
    assert fetch.main(["small", "--url", server.url]) == 0
    assert downloads(project) == {"small.txt": TEXT}


@pytest.mark.parametrize("answer", ["cut", "503", "429"])
def test_a_transient_failure_is_tried_again(answer: str, project: Path, server: Server) -> None:
    server.answers = [answer, answer, "good"]
    assert fetch.main(["small"]) == 0
    assert server.requests == 3
    assert downloads(project) == {"small.txt": TEXT}


FAILURES = [
    # answer, requests, exit code, what the line says
    ("other", 1, DataError.exit_code, "is not the published small.txt: sha256 must be"),
    ("cut", 3, EnvironmentFault.exit_code, "could not be downloaded (IncompleteRead(86000 bytes read, 86000 more"),
    ("stall", 3, EnvironmentFault.exit_code, "could not be downloaded (timed out)"),
    ("hang", 3, EnvironmentFault.exit_code, "could not be downloaded (timed out)"),
    ("404", 3, EnvironmentFault.exit_code, "could not be downloaded (the server answered 404 Not Found)"),
    ("503", 3, EnvironmentFault.exit_code, "could not be downloaded (the server answered 503 Service Unavailable)"),
]


@pytest.mark.parametrize("before", [{}, {"small.txt": b"a text of one's own"}], ids=["empty folder", "other file"])
@pytest.mark.parametrize(("answer", "requests", "exit_code", "says"), FAILURES, ids=[row[0] for row in FAILURES])
def test_a_failed_download_is_one_line_and_leaves_the_folder_as_it_was(
    answer: str,
    requests: int,
    exit_code: int,
    says: str,
    before: dict[str, bytes],
    project: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (project / "data" / "downloads").mkdir(parents=True)
    for name, content in before.items():
        (project / "data" / "downloads" / name).write_bytes(content)
    if answer in ("hang", "stall"):
        monkeypatch.setattr(fetch, "_TIMEOUT", (0.2, 0.2))
    server.answers = [answer]

    assert fetch.main(["small"]) == exit_code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"charloom: error: {server.url} {says}")
    assert err.count("\n") == 1
    assert downloads(project) == before
    assert server.requests == requests


def test_the_error_about_other_content_has_both_hashes(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers = ["other"]
    fetch.main(["small"])
    err = capsys.readouterr().err
    assert f"sha256 must be {hashlib.sha256(TEXT).hexdigest()}" in err
    assert f"got {hashlib.sha256(TEXT.replace(b'be', b'me')).hexdigest()}" in err


def test_a_port_where_nobody_listens_is_one_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as held:  # bound and not listening: refused for certain
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/input.txt"
        assert fetch.main(["small", "--url", url]) == 5
    assert capsys.readouterr().err == (
        f"charloom: error: {url} could not be downloaded (Connection refused); "
        "check the network or give a mirror with --url\n"
    )
    assert downloads(project) == {}


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/input.txt", "input.txt", "http://", ""])
def test_a_mirror_that_is_no_web_address_is_a_configuration_error(
    url: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch.main(["small", "--url", url]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"charloom: error: --url must be an http or https address, got '{url}'")
    assert err.count("\n") == 1
    assert downloads(project) == {}


def test_the_error_about_an_unknown_name_lists_the_known_ones(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch.main(["shakespear"]) == ConfigError.exit_code == 2
    assert capsys.readouterr().err == (
        "charloom: error: the name of a corpus must be one of tinyshakespeare, small, got 'shakespear'\n"
    )
    assert server.requests == 0


@pytest.mark.parametrize("argv", [[], ["small", "--too", "x"]], ids=["no name", "misspelt option"])
def test_a_wrong_command_line_is_one_line(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch.main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("charloom: error: ")
    assert err.count("\n") == 1


def test_outside_a_project_and_without_to_it_is_a_configuration_error(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fetch.main(["small"]) == 2
    assert capsys.readouterr().err.startswith("charloom: error: no params.yaml")
    assert server.requests == 0


def test_a_file_where_the_folder_should_be_is_one_line_and_stays(
    project: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "taken").write_bytes(b"mine")
    assert fetch.main(["small", "--to", "taken"]) == EnvironmentFault.exit_code
    assert capsys.readouterr().err == (
        f"charloom: error: {project}/taken/small.txt could not be written (Not a directory); "
        "make room for it or give another folder with --to\n"
    )
    assert (project / "taken").read_bytes() == b"mine"
    assert server.requests == 0


def test_a_folder_where_the_file_should_be_is_one_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "data" / "downloads" / "small.txt").mkdir(parents=True)
    assert fetch.main(["small"]) == 5
    assert "small.txt could not be written (Is a directory)" in capsys.readouterr().err
    assert [path.name for path in (project / "data" / "downloads").iterdir()] == ["small.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_one_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = project / "data" / "downloads"
    folder.mkdir(parents=True)
    folder.chmod(0o555)
    try:
        assert fetch.main(["small"]) == 5
    finally:
        folder.chmod(0o755)
    err = capsys.readouterr().err
    assert "small.txt could not be written (Permission denied)" in err
    assert err.count("\n") == 1
    assert downloads(project) == {}


def test_an_interrupt_ends_with_130_and_leaves_nothing(project: Path, server: Server) -> None:
    server.answers = ["stall"]
    with Project(project).start("-m", "charloom.fetch", "tinyshakespeare", "--url", server.url) as process:
        until = time.monotonic() + 30
        while not any(downloads(project).values()) and time.monotonic() < until:
            time.sleep(0.01)
        half_written = downloads(project)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert len(half_written) == 1
    assert process.returncode == 130
    assert err == "charloom: error: ended by SIGINT\n"
    assert downloads(project) == {}


def test_the_command_gives_its_exit_code_to_the_shell(project: Path) -> None:
    ended = Project(project).python("-m", "charloom.fetch", "nothing")
    assert ended.code == 2
    assert ended.output == ""
    assert ended.errors == "charloom: error: the name of a corpus must be one of tinyshakespeare, got 'nothing'\n"
