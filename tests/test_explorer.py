"""The explorer: in Chromium, the page shows what Python computes, and it asks nobody for anything."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from charloom.adapters import explorer
from charloom.core.common.types import Array
from charloom.core.network import Model, Network
from charloom.core.network.sampling import likeliest
from charloom.core.text import Vocabulary
from tests.project import ROOT
from tests.results import CHROMIUM, browser_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")

TEXT = (ROOT / "data/corpus.txt").read_text(encoding="utf-8")[100:1100]
HOSTILE = (
    "a</script><!--<script>owned=1</script>\"'&\0\x1b[31m\x7f\x85\u2028\u202e\u2066\u200d\u0301\ufeff"
    "\u0645水\u05e9👩\U0010ffff\r\n\t`${1}\\"
)
NETWORKS = [("rnn", 1), ("gru", 1), ("lstm", 1), ("rnn", 2), ("gru", 2), ("lstm", 2)]


def make_model(cell: str, layers: int = 1, text: str = TEXT, hidden_size: int = 24) -> Model:
    """A network with weights large enough for gates to open and close."""
    vocabulary = Vocabulary.of(text)
    sizes: dict[str, Any] = {
        "vocabulary_size": len(vocabulary),
        "hidden_size": hidden_size,
        "cell": cell,
        "layers": layers,
    }
    network = Network(**sizes, dtype=np.float32)
    network.initialize(0.2, rng=np.random.default_rng(1))
    for name, array in network.parameters.items():
        if array.ndim == 1:
            array[...] = np.random.default_rng(len(name)).normal(0, 0.3, array.shape)
    return Model(network, vocabulary)


def make_page(model: Model, text: str = TEXT, **options: Any) -> bytes:
    return explorer.page(model=model, corpus="corpus.txt", excerpt=text, **options)


@dataclass
class Browser:
    """One page of Chromium for all tests; `problems` are its errors and what it asked for beyond its own file."""

    page: "Page"
    folder: Path
    problems: list[str]

    def open(self, content: bytes, hash: str = "") -> None:
        """Open a page that holds these bytes, and wait until it has read its text."""
        path = self.folder / f"{len(list(self.folder.iterdir()))}.html"
        path.write_bytes(content)
        self.page.goto(path.as_uri() + hash)
        self.read()

    def read(self) -> None:
        """Have the text read to its end."""
        self.page.evaluate("() => { reading.advance(); show(); }")

    def value(self, expression: str) -> Any:
        """The value of an expression of the page's own scripts; typed arrays as lists."""
        plain = "(_, value) => ArrayBuffer.isView(value) ? Array.from(value) : value"
        return json.loads(self.page.evaluate(f"() => JSON.stringify({expression}, {plain})"))


@pytest.fixture(scope="module")
def one_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("pages")
    with browser_page(tmp_path_factory.mktemp("profile"), reduced_motion="reduce") as page:
        browser = Browser(page, folder, [])
        page.on("console", lambda message: browser.problems.append(message.text))
        page.on("pageerror", lambda error: browser.problems.append(str(error)))
        page.on("request", lambda request: browser.problems.append(request.url) if "file:" not in request.url else None)
        yield browser


@pytest.fixture
def browser(one_browser: Browser) -> Iterator[Browser]:
    """The browser, and after the test the check that no page had an error or asked for anything."""
    one_browser.problems.clear()
    yield one_browser
    assert one_browser.problems == []


@dataclass
class Oracle:
    """What Python computes of a text."""

    model: Model
    text: str

    @cached_property
    def ids(self) -> Array:
        return self.model.vocabulary.encode(self.text).astype(np.intp)

    @cached_property
    def outputs(self) -> Array:
        """o_t after each character, (T, K)."""
        o, _ = self.model.network.logits(self.ids[:, None], self.model.network.zero_state(1))
        return o[:, 0].copy()

    @cached_property
    def losses(self) -> Array:
        """-log p of each character but the first, (T - 1,)."""
        o = self.outputs[:-1].astype(np.float64)
        log_sum = np.log(np.exp(o).sum(axis=1))
        losses: Array = log_sum - o[np.arange(len(o)), self.ids[1:]]
        return losses


@pytest.mark.parametrize(("cell", "layers"), NETWORKS)
def test_the_forward_pass_is_that_of_numpy(browser: Browser, cell: str, layers: int) -> None:
    oracle = Oracle(make_model(cell, layers), TEXT)
    browser.open(make_page(oracle.model))
    outputs = browser.value("reading.steps.slice(1).map((now) => reading.network.outputs(now))")
    np.testing.assert_allclose(outputs, oracle.outputs, rtol=0, atol=1e-5)
    np.testing.assert_allclose(browser.value("reading.losses.slice(1)"), oracle.losses, rtol=0, atol=1e-5)
    model = Model(oracle.model.network.astype(np.float64), oracle.model.vocabulary)  # as the page computes
    np.testing.assert_allclose(outputs, Oracle(model, TEXT).outputs, rtol=0, atol=1e-10)


def test_the_surprise_on_the_page_is_the_loss_of_the_character(browser: Browser) -> None:
    oracle = Oracle(make_model("gru"), TEXT)
    browser.open(make_page(oracle.model), "#at=41&measure=nats")
    loss = oracle.losses[40]
    shown = f"{loss:.2f} nats of surprise (p = {np.exp(-loss):.3g})"
    assert shown in browser.page.locator("#chosen").inner_text()
    mean = f"{oracle.losses.mean() / np.log(2):.3f} bits"
    browser.page.get_by_label("bits", exact=True).check()
    assert mean in browser.page.locator("#summary").inner_text()


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.5, 0, 1.0), (0.0, 0, 1.0), (2.0, 5, 1.0), (0.7, 9, 0.55)]
)
def test_the_distribution_is_what_python_draws_from(
    browser: Browser, temperature: float, top_k: int, top_p: float
) -> None:
    oracle = Oracle(make_model("lstm"), TEXT)
    browser.open(make_page(oracle.model), f"#temperature={temperature}&top_k={top_k}&top_p={top_p}")
    o = oracle.outputs[-1]
    kept = likeliest(o, temperature, top_k, top_p).astype(np.float64)
    p = np.exp((kept - kept.max()) / temperature) if temperature else (np.arange(len(o)) == o.argmax()).astype(float)
    p /= p.sum()
    shown = browser.value("distribution(reading.network.outputs(reading.after(reading.characters.length)), state)")
    np.testing.assert_allclose(shown, p, rtol=0, atol=1e-5)
    order = np.argsort(-o, kind="stable")[:12]
    labels = [button.get_attribute("aria-label") for button in browser.page.locator("#candidates button").all()]
    found = [float(re.search(r"([\d.]+)%", label)[1]) for label in labels]  # type: ignore[index, arg-type]
    np.testing.assert_allclose(found, 100 * p[order], rtol=0, atol=0.051)


def test_a_candidate_lets_the_text_go_on_with_it_from_the_chosen_character(browser: Browser) -> None:
    oracle = Oracle(make_model("rnn"), TEXT)
    browser.open(make_page(oracle.model), "#at=99")
    browser.page.locator("#candidates button").nth(2).click()
    third = int(np.argsort(-oracle.outputs[99], kind="stable")[2])
    assert browser.value("state.text") == TEXT[:100] + oracle.model.vocabulary.characters[third]


def test_an_edit_computes_again_only_what_comes_after_it(browser: Browser) -> None:
    model = make_model("gru", 2)
    browser.open(make_page(model))
    browser.page.evaluate("() => { globalThis.before = reading.steps.slice(); }")
    edited = TEXT[:700] + "the" + TEXT[720:]
    browser.page.locator("#text").fill(edited)
    browser.read()
    assert browser.value("reading.steps.findIndex((step, t) => step !== before[t])") == 701
    np.testing.assert_allclose(browser.value("reading.losses.slice(1)"), Oracle(model, edited).losses, atol=1e-5)


def test_unknown_characters_are_named_and_skipped(browser: Browser) -> None:
    model = make_model("rnn")
    browser.open(make_page(model), "#text=the+%E6%B0%B4cat")
    assert "does not know “水” and skips it" in browser.page.locator("#unknown").inner_text()
    np.testing.assert_allclose(browser.value("reading.losses.slice(1)"), Oracle(model, "the cat").losses, atol=1e-5)


def test_a_vocabulary_of_hostile_characters_is_shown_and_gives_no_orders(browser: Browser) -> None:
    text = HOSTILE * 3
    model = make_model("rnn", text=text)
    content = make_page(model, text)
    assert content.count(b"</script>") == content.count(b"<script")
    browser.open(content)
    assert browser.value("state.text") == text
    assert browser.value("vocabulary.join('')") == model.vocabulary.characters
    assert not browser.page.evaluate("() => 'owned' in window")
    shown = browser.page.locator("#characters").inner_text()
    assert not re.search("[\0\x1b\x7f\x85\u2028\u202e\u2066\u200d\ufeff]", shown)
    browser.page.locator("#text").press_sequentially("a")  # control characters survive typing beside them
    assert browser.value("state.text") == text + "a"


def test_the_same_network_gives_the_same_bytes() -> None:
    assert make_page(make_model("lstm", 2)) == make_page(make_model("lstm", 2))
