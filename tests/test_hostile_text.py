"""A corpus, a file name and a model that would give orders to a terminal, a browser or MLflow, and do not."""

import os
import pty
import termios
from dataclasses import dataclass
from pathlib import Path

import pytest

from charloom.adapters.configuration import override
from charloom.core.common.formatting import in_one_line, visible
from tests.project import TIMEOUT, Project
from tests.results import CHROMIUM, browser_page

# A window title, colours in seven and in eight bits, a screen that is cleared, letters in reverse, and a line that is
# overwritten.
ORDERS = "\x1b]0;owned\x07\x1b[31m\x9b32m\x1bc\u202e\u2066\r\x00\x7f\ufeff"
MARKUP = "<script>owned=1</script><img src=x onerror='owned=1'></pre><svg onload=owned=1>\n"
NAME = "data/<img src=x onerror=owned=1>.txt"  # a name with control characters is refused
PROMPT = ("synthesize.prime_file=prompt.txt", "data.newline=keep")
SMALL = ("preset=smoke", "model.hidden_size=8", "train.steps=60", "gradcheck.hidden_size=4", "gradcheck.workers=1")


def test_control_characters_are_shown_and_letters_of_every_language_are_not_touched() -> None:
    assert visible("a\x1b[1m\r\x9b\u202e\u2028\tb\n") == "a\\x1b[1m\\r\\x9b\\u202e\\u2028\tb\n"
    assert in_one_line("a\x1b[1m\r\x85\u2028\tb\n") == "a\\x1b[1m\\r\\x85\\u2028\\tb\\n"
    letters = "Žluťoučký ύδωρ 水 שלום \u200d مرحبا 👩\u200d🔬 \U0010ffff"
    assert visible(letters) == in_one_line(letters) == letters


@dataclass(frozen=True)
class Hostile:
    """A project of which every text that a stranger may have written is hostile, and all of its stages have run."""

    project: Project
    result: Path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    project = Project.create(tmp_path_factory.mktemp("hostile") / "a project")
    text = (MARKUP + ORDERS + "![x](http://127.0.0.1:1/x.png) [a](javascript:owned=1) | \x1b[2J\n") * 60
    (project.root / NAME).write_text(text, encoding="utf-8", newline="")
    (project.root / "prompt.txt").write_text(ORDERS + MARKUP, encoding="utf-8", newline="")
    said = project.python("-m", "charloom.experiment", *SMALL, override("data.path", NAME), "tracking=off", *PROMPT)
    assert said.code == 0, said.errors
    (result,) = project.root.glob("outputs/*/*")
    return Hostile(project, result)


def on_a_terminal(project: Project, *arguments: str) -> tuple[int, bytes]:
    """The exit code of Python with these arguments, and what it writes to a terminal."""
    terminal, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 120))
    shown = bytearray()
    with project.start(*arguments, stdout=slave, stderr=slave) as process:
        os.close(slave)
        try:
            while piece := os.read(terminal, 1 << 16):
                shown += piece
        except OSError:  # how Linux tells that nobody writes to it any more
            pass
        os.close(terminal)
        return process.wait(TIMEOUT), bytes(shown)


def test_a_text_gives_a_terminal_no_orders_and_is_written_as_it_is(hostile: Hostile) -> None:
    project = hostile.project
    code, shown = on_a_terminal(
        project, "-m", "charloom.stages.synthesize", f"inp={hostile.result}", "out=anew", *PROMPT
    )
    assert code == 0, shown
    _, _, shown = shown.partition(b"\n")  # after the line that names the model
    assert shown.startswith(b"\\x1b]0;owned\\x07\\x1b[31m\\x9b32m\\x1bc\\u202e\\u2066\\r\\x00\\x7f")
    assert not set(shown) & (set(range(32)) - set(b"\t\r\n"))
    assert shown.count(b"\r") == shown.count(b"\r\n")  # those that the terminal itself adds
    assert (project.root / "anew/sample.txt").read_bytes().startswith((ORDERS + MARKUP).encode())


def test_a_file_or_a_pipe_gets_the_text_as_it_is(hostile: Hostile) -> None:
    project = hostile.project
    with (project.root / "piped.txt").open("wb") as file:
        project.python("-m", "charloom.stages.synthesize", f"inp={hostile.result}", "out=piped", *PROMPT, stdout=file)
    text = (project.root / "piped/sample.txt").read_bytes()
    assert text.startswith((ORDERS + MARKUP).encode())
    assert (project.root / "piped.txt").read_bytes() == text + b"\n"


def test_a_training_shows_its_progress_on_a_terminal_and_the_name_of_a_file_gives_no_orders(hostile: Hostile) -> None:
    code, shown = on_a_terminal(
        hostile.project, "-m", "charloom.experiment", *SMALL, override("data.path", NAME), "tracking=off", "seed=2"
    )
    assert code == 0, shown
    assert b"\rdata/" not in shown
    assert b"onerror=owned=1>.txt: " in shown
    assert b"| step " in shown
    assert b"\x1b" not in shown.replace(b"\x1b[A", b"")  # with which a progress bar may go up a line
    assert b"\x9b" not in shown
    assert b"\x07" not in shown


@pytest.mark.parametrize("where", ["terminal", "pipe"])
def test_an_error_is_one_line_whatever_it_quotes(project: Project, where: str) -> None:
    arguments = ("-m", "charloom.stages.prepare", override("data.path", "a\nb\x1b[31m\u2028c\rd\x85.txt"))
    must = "data.path must have no control characters, got 'a\\nb\\x1b[31m\\u2028c\\rd\\x85.txt'"
    expected = f"charloom: error: {must}; rename the file or folder"
    if where == "pipe":
        assert project.python(*arguments).assert_one_error(2) == expected
    else:
        assert on_a_terminal(project, *arguments) == (2, f"{expected}\r\n".encode())


def test_what_a_sweep_says_of_a_job_is_a_line_whatever_is_in_its_overrides(project: Project) -> None:
    ended = project.python(
        "-m", "charloom.experiment", "-m", *SMALL, override("synthesize.prime", "a\nb\x1b[31m"), "tracking=off"
    )
    assert ended.code == 3
    lines = [line for line in ended.errors.splitlines() if line.split()[:1] == ["0"]]
    assert len(lines) == 3  # when it ended, in the summary, and among those that failed
    assert sum("\\x1b" in line for line in lines) == 2  # one configuration has no overrides that differ
    assert "\x1b" not in ended.errors


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
def test_no_report_of_hostile_texts_runs_a_script_or_asks_a_server(hostile: Hostile, tmp_path: Path) -> None:
    report = (hostile.result / "plot/report.html").read_text(encoding="utf-8")
    # Without the policy in its head, the page has to be safe by its escapes alone.
    unguarded = report.replace("Content-Security-Policy", "X-None")
    pages = {"report": report, "unguarded": unguarded, "hostile": unguarded.replace("&lt;", "<").replace("&gt;", ">")}
    for name, html in pages.items():
        (tmp_path / f"{name}.html").write_text(html, encoding="utf-8")
    with browser_page(tmp_path / "profile") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        owned = {}
        for name in pages:
            page.goto((tmp_path / f"{name}.html").as_uri())
            assert page.get_by_text("The synthesized text").is_visible()
            owned[name] = page.evaluate("() => 'owned' in window")
            if name != "hostile":
                assert page.locator("script, svg, iframe, img:not([src^='data:'])").count() == 0
                assert all(address.startswith(("file://", "data:")) and "x.png" not in address for address in asked)
        assert owned == {"report": False, "unguarded": False, "hostile": True}
        page.goto((hostile.result / "plot/explorer.html").as_uri())
        assert "<script>owned=1</script>" in page.locator("#text").input_value()
        assert not page.evaluate("() => 'owned' in window")
