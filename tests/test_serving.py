"""A served model: what it answers and refuses, its page in Chromium, and that it ends with all of its processes."""

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest

import charloom
from charloom.adapters.configuration import load
from charloom.adapters.files import models
from charloom.adapters.serving.sources import find
from charloom.core.common.errors import StateError
from tests.explored import make_model
from tests.project import Project, end
from tests.results import CHROMIUM, MLFLOW_WARNINGS, browser_page

pytestmark = MLFLOW_WARNINGS

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Server:
    """A model that is being served by a process of its own."""

    model: charloom.Model
    port: int
    process: subprocess.Popen[str]

    def ask(self, path: str, body: Any, headers: dict[str, str] = JSON, method: str = "POST") -> tuple[int, str]:
        """The status and the text of the answer to a request; `body` is sent as JSON, where it is no text."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body if isinstance(body, str | bytes) else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@contextmanager
def start(project: Project) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process that serves the project's model, and its port, once its page is up."""
    with project.start("-m", "charloom.serve", "--model", "model.npz", "--no-browser") as process:
        try:
            assert process.stdout is not None
            printed = process.stdout.readline()
            assert printed.startswith("model.npz, gru, 1 layer of 24 units, "), printed
            yield process, int(printed.rpartition(":")[2])
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.create(tmp_path_factory.mktemp("served") / "a project")
    models.save(make_model("gru"), project.root / "model.npz")
    return project


@pytest.fixture(scope="module")
def server(served: Project) -> Iterator[Server]:
    with start(served) as (process, port):
        assert process.stdout is not None
        assert process.stdout.readline() == f"MLflow's API is up: http://127.0.0.1:{port}/invocations\n"
        yield Server(charloom.load(served.root / "model.npz"), port, process)


OPTIONS: list[dict[str, Any]] = [
    {"length": 300, "seed": 3},
    {"length": 300, "seed": 3, "temperature": 0.5, "top_k": 9, "top_p": 0.9},
    {"length": 0},
    {},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_text_is_the_librarys_with_the_same_seed(server: Server, options: dict[str, Any]) -> None:
    expected = server.model.generate(prime="the ferry", **options)
    status, text = server.ask("/stream", {"prompt": "the ferry", **options})
    assert (status, "the ferry" + text) == (200, expected)
    for body in (
        {"inputs": ["the ferry"], "params": options},
        {"inputs": {"prompt": "the ferry"}, "params": options},
        {"instances": [{"prompt": "the ferry"}], "params": options},
        {"dataframe_records": [{"prompt": "the ferry"}], "params": options},
        {"dataframe_split": {"columns": ["prompt"], "data": [["the ferry"]]}, "params": options},
    ):
        status, text = server.ask("/invocations", body)
        assert (status, json.loads(text)) == (200, {"predictions": [expected]})


def test_forty_requests_from_four_clients_have_each_its_text(server: Server) -> None:
    together = threading.Barrier(4)

    def client(number: int) -> list[tuple[int, str]]:
        together.wait()
        asked = {"inputs": ["the", "a"], "params": {"length": 100, "seed": number}}
        return [server.ask("/invocations", asked) for _ in range(10)]

    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(client, range(4)))
    for number, own in enumerate(answers):
        expected = [server.model.generate(100, prime=prompt, seed=number) for prompt in ("the", "a")]
        assert {(status, *json.loads(text)["predictions"]) for status, text in own} == {(200, *expected)}


OPTION_ERRORS = [
    ({"temperature": -1}, "temperature must be >= 0, got -1"),
    ({"temperature": "hot"}, "temperature must be a number, got 'hot'"),
    ({"top_p": 0}, "top_p must be > 0, got 0"),
    ({"top_k": True}, "top_k must be a whole number, got true"),
    ({"length": 100_001}, "length must be at most 100,000 in all, got 100,001"),
    ({"length": 1.5}, "length must be a whole number, got 1.5"),
    ({"seed": 10**400}, "seed must be <= 9,223,372,036,854,775,807, got a number of about 400 digits"),
    ({"tempratur": 1}, "a request has no 'tempratur'; did you mean 'temperature'?"),
]


@pytest.mark.parametrize(("options", "message"), OPTION_ERRORS)
@pytest.mark.parametrize("path", ["/stream", "/invocations"])
def test_a_wrong_option_is_refused_in_one_line(
    server: Server, path: str, options: dict[str, Any], message: str
) -> None:
    body = {"prompt": "the", **options} if path == "/stream" else {"inputs": ["the"], "params": options}
    assert_refused(server.ask(path, body), 400, message)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/stream", {"prompt": "the €"}, "the prompt has '€' not among the vocabulary's"),
        ("/stream", {"prompt": "\ud800"}, "prompt must be text that UTF-8 can write, got '\\ud800'"),
        ("/stream", {"prompt": "a" * 10_001}, "prompt must have at most 10,000 characters"),
        ("/stream", {"prompt": 5}, 'prompt must be text, got 5; give "" to start without one'),
        ("/stream", {}, "prompt must be text, got null"),
        ("/stream", [], "the body must be a JSON object"),
        ("/stream", "the", "the body must be JSON"),
        ("/stream", b"\xff", "the body must be JSON"),
        ("/stream", '{"length": ' + "1" * 5000, "the body must be JSON"),
        ("/stream", "[" * 100_000, "the body must be JSON, got one nested too deeply"),
        ("/invocations", {"inputs": ["the €"]}, "the prompt has '€' not among the vocabulary's"),
        ("/invocations", {"inputs": [None]}, "prompt must be text, got null"),
        ("/invocations", {"inputs": "the"}, 'inputs must have prompts; try {"inputs": ["Once"]}'),
        ("/invocations", {"inputs": [{"promt": "the"}]}, "prompt must be text, got {'promt': 'the'}"),
        ("/invocations", {"inputs": ["the"] * 1001}, "a request must have at most 1,000 prompts, got 1,001"),
        ("/invocations", {"inputs": ["the"] * 101}, "at most 100,000 in all, got 1,000 for each of 101 prompts"),
        ("/invocations", {"inputs": ["the"], "params": [1]}, "params must be an object"),
        ("/invocations", {"dataframe_split": {"columns": ["text"], "data": [["a"]]}}, "dataframe_split must have"),
        ("/invocations", {"inputs": ["the"], "length": 5}, "a request must be such as"),
        ("/invocations", {"messages": [{"role": "user", "content": "the"}]}, "a request must be such as"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(server: Server, path: str, body: Any, message: str) -> None:
    assert_refused(server.ask(path, body), 400, message)


def test_what_is_no_request_of_these_is_refused_too(server: Server) -> None:
    large = b" " * ((1 << 20) + 1)
    for path in ("/stream", "/invocations"):
        assert_refused(server.ask(path, large), 413, "a request must have at most 1,048,576 bytes")
        assert_refused(server.ask(path, "a=b", {"Content-Type": "text/plain"}), 415, "the Content-Type must be")
        assert_refused(server.ask(path, "a=b", {}), 415, "the Content-Type must be application/json, got nothing")
        assert_refused(server.ask(path, "", method="GET"), 405, "Method Not Allowed")
    assert_refused(server.ask("/nothing", "", method="GET"), 404, "Not Found")


def test_a_page_under_another_name_gets_no_answer(server: Server) -> None:
    assert server.ask("/model", "", {"Host": "example.org"}, "GET")[0] == 400
    assert server.ask("/model", "", {"Host": f"localhost:{server.port}"}, "GET")[0] == 200


def assert_refused(answer: tuple[int, str], status: int, message: str) -> None:
    """An answer has the status and, as its one line, a text with this in it."""
    assert answer[0] == status, answer
    said = json.loads(answer[1])
    assert said.keys() == {"error_code", "message"}
    assert message in said["message"]
    assert "\n" not in said["message"]
    assert "Traceback" not in said["message"]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
def test_the_page_streams_a_text_by_keyboard_alone_and_asks_its_own_server_alone(
    server: Server, tmp_path: Path
) -> None:
    address = f"http://127.0.0.1:{server.port}/"
    with browser_page(tmp_path / "profile", viewport={"width": 390, "height": 800}, color_scheme="dark") as page:
        asked: list[str] = []
        problems: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(address)
        page.locator("#name", has_text="model.npz").wait_for()
        page.keyboard.press("Tab")
        page.keyboard.type("the ferry")
        page.locator("#temperature").press("End")
        page.locator("#seed").fill("3")
        page.locator("#prompt").press("Control+Enter")
        page.locator("#progress", has_text="1,000 characters").wait_for()
        expected = server.model.generate(prime="the ferry", seed=3, temperature=2.0)
        assert page.locator("#text").text_content() == expected
        assert "'the ferry'" in page.locator("#curl-stream").text_content().replace('"', "'")  # type: ignore[union-attr]

        page.locator("#length").fill("100000")
        page.locator("#length").press("Enter")
        page.locator("#written:not(:empty)").wait_for()
        page.keyboard.press("Escape")
        page.locator("#progress", has_text="stopped").wait_for()
        assert 0 < len(page.locator("#written").text_content() or "") < 100_000
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 28)"
        assert problems == []

        hostile = "<img src=x onerror='owned=1'>‮"
        page.locator("#prompt").fill(hostile)
        page.locator("#write").click()
        page.locator("#problem", has_text="the prompt has").wait_for()
        assert page.locator("#given").text_content() == hostile
        assert page.evaluate("'owned' in window") is False
        assert all(url.startswith(address) or url == "data:," for url in asked), asked


def test_ctrl_c_ends_the_server_and_every_process_of_it(served: Project) -> None:
    with start(served) as (process, _):
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(signal.SIGINT)
        ended = end(process)
        assert (ended.code, ended.errors) == (130, "")
        _, alive = psutil.wait_procs(children, timeout=2)
        assert alive == []


def test_the_server_ends_with_an_error_when_mlflows_server_ends(served: Project) -> None:
    with start(served) as (process, _):
        for child in psutil.Process(process.pid).children():
            child.kill()
        end(process).assert_one_error(5, "MLflow's server has ended (no output); start it again")


def test_a_model_that_is_not_there_is_said_in_one_line(served: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(served.root)
    for choice, message in (
        (None, "there is no model artifacts; run `make repro` first, or give --model"),
        ("no.npz", "there is no model no.npz"),
        ("params.yaml", "params.yaml is not a whole model file"),
        ("models:/story@champion", "has no models:/story@champion"),
    ):
        with pytest.raises(StateError, match=message):
            find(choice, load(), served.root)
