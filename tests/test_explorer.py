"""The explorer: in Chromium, the page shows what Python computes, and it asks nobody for anything."""

import html
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from charloom.adapters import explorer
from charloom.core.common.types import Array
from charloom.core.network import Model
from charloom.core.network.reading import input_gradients
from charloom.core.network.sampling import likeliest
from charloom.core.network.units import compare, vectors
from charloom.core.text import features
from charloom.core.text.ngrams import NGrams
from tests.explored import TEXT, make_model, make_page
from tests.project import ROOT
from tests.results import CHROMIUM, browser_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")

HOSTILE = (
    "a</script><!--<script>owned=1</script>\"'&\0\x1b[31m\x7f\x85\u2028\u202e\u2066\u200d\u0301\ufeff"
    "\u0645水\u05e9👩\U0010ffff\r\n\t`${1}\\"
)
NETWORKS = [("rnn", 1), ("gru", 1), ("lstm", 1), ("rnn", 2), ("gru", 2), ("lstm", 2)]


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
        """Have the text read and written to its end."""
        self.page.evaluate("() => { reading.advance(); show(); changed = 0; work(); write(Infinity); }")

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
    assert mean in browser.page.locator("#detail").inner_text()


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


def test_the_panel_shows_the_text_after_every_edit(browser: Browser) -> None:
    browser.open(make_page(make_model("rnn"), "the cat"), "#at=0")
    for text in (
        "the cat",
        "the the cat",
        "the cat",
        "ththe cat",
        "cat",
        "",
        "a",
        "aa",
        "aaaa",
        "ba\n\na",
        "\n\n",
        "x\n",
    ):
        browser.page.evaluate("(text) => update({ text })", text)
        assert browser.page.locator("#characters").text_content() == text.replace("\n", "↵\n")
        assert browser.value("panel.elements.length") == len(text)
        assert browser.page.locator("#characters [aria-selected=true]").count() == bool(text)


def test_a_text_that_is_too_long_is_cut_and_the_page_says_so(browser: Browser) -> None:
    browser.open(make_page(make_model("rnn")))
    browser.page.locator("#text").fill(TEXT * 5)
    assert browser.value("state.text") == TEXT * 4
    assert "the page reads at most 4,000 characters" in browser.page.locator("#unknown").inner_text()
    assert browser.page.locator("#link").inner_text() == "Link to this view, without the text"
    browser.page.locator("#text").fill("the")
    assert browser.page.locator("#unknown").inner_text() == ""


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


@pytest.mark.parametrize(("cell", "layers"), NETWORKS)
def test_the_gradients_of_a_loss_are_those_of_pythons_backward_pass(browser: Browser, cell: str, layers: int) -> None:
    oracle, t = Oracle(make_model(cell, layers), TEXT), 60
    browser.open(make_page(oracle.model), f"#lens=gradient&at={t}")
    expected = input_gradients(oracle.model.network.astype(np.float64), oracle.ids[: t + 1])
    np.testing.assert_allclose(browser.value(f"reading.gradients({t})"), expected, rtol=0, atol=1e-9)
    lengths = np.sqrt((expected**2).sum(axis=1))
    np.testing.assert_allclose(browser.value("gradients.norm"), lengths, rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        browser.value("gradients.signed"), expected[np.arange(t), oracle.ids[:t]], rtol=0, atol=1e-9
    )
    colours = browser.value("panel.elements.map((element) => Number(element.style.getPropertyValue('--v')))")
    np.testing.assert_allclose(colours[:t], np.sqrt(lengths / lengths.max()), rtol=0, atol=6e-4)
    assert not any(colours[t:])


def ngram_losses(model: Model, training_text: str, text: str, order: int) -> Array:
    """Python's losses of the text by the n-gram model of the training text, from the second character on."""
    vocabulary = model.vocabulary
    ngrams = NGrams(vocabulary.encode(training_text), vocabulary_size=len(vocabulary), order=order)
    return ngrams.losses(vocabulary.encode(text))


@pytest.mark.parametrize("order", [0, 1, 2, 6, 50])
def test_the_difference_to_n_grams_is_that_of_pythons_models(browser: Browser, order: int) -> None:
    oracle = Oracle(make_model("gru"), TEXT[:900])
    browser.open(make_page(oracle.model, TEXT[:900], order=order, training_text=TEXT[100:600]), "#lens=ngram&at=500")
    browser.page.evaluate("() => { while (ngrams.counts.length < ngrams.order) ngrams.countOneOrder(); show(); }")
    expected = oracle.losses - ngram_losses(oracle.model, TEXT[100:600], oracle.text, order)
    shown = browser.value("reading.characters.map((_, index) => ngramDifference(index)).slice(1)")
    np.testing.assert_allclose(shown, expected, rtol=0, atol=1e-5)
    bits = [abs(nats) / np.log(2) for nats in (expected[499], expected.mean())]
    said = browser.page.locator("#detail").inner_text()
    assert re.findall(r"surprise is ([\d.]+) bits", said) == [f"{value:.3f}" for value in bits]
    assert ("lower per character" in said.rpartition("average")[2]) == bool(expected.mean() < 0)


def test_a_typed_text_is_compared_with_n_grams_too(browser: Browser) -> None:
    oracle = Oracle(make_model("rnn"), "the ferryman ate the oars")
    browser.open(make_page(oracle.model), "#lens=ngram")
    browser.page.locator("#text").fill(oracle.text)
    browser.page.locator("#detail", has_text="on average").wait_for()  # the training text is counted in pieces
    browser.read()
    expected = oracle.losses - ngram_losses(oracle.model, TEXT, oracle.text, 4)
    shown = browser.value("reading.characters.map((_, index) => ngramDifference(index)).slice(1)")
    np.testing.assert_allclose(shown, expected, rtol=0, atol=1e-5)


def test_without_the_training_text_the_excerpt_alone_is_compared(browser: Browser) -> None:
    oracle = Oracle(make_model("rnn"), TEXT)
    losses = ngram_losses(oracle.model, TEXT * 2, TEXT, 3)
    browser.open(make_page(oracle.model, training_text=None, ngram_losses=losses.tolist()), "#lens=ngram")
    shown = browser.value("reading.characters.map((_, index) => ngramDifference(index)).slice(1)")
    np.testing.assert_allclose(shown, oracle.losses - losses, rtol=0, atol=1e-5)
    assert "The training text is left out" in browser.page.locator("#notes").inner_text()
    browser.page.locator("#text").fill(TEXT[:50])
    assert "only the text from the corpus is compared" in browser.page.locator("#detail").inner_text()


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_units_and_gates_have_the_values_that_they_have_in_python(browser: Browser, cell: str) -> None:
    oracle = Oracle(make_model(cell, 2), TEXT)
    browser.open(make_page(oracle.model))
    found = vectors(oracle.model.network, oracle.ids)
    assert browser.value("reading.network.cell.vectors") == [name for layer, name in found if layer == 0]
    for (layer, name), values in found.items():
        browser.page.evaluate(f"() => update({{ lens: 'unit', unit: '{layer}.{name}.5' }})")
        shown = browser.value("reading.characters.map((_, index) => unitValue(index))")
        np.testing.assert_allclose(shown, values[:, 5], rtol=0, atol=1e-5, err_msg=name)


def test_the_page_opens_with_the_unit_that_follows_a_feature_most_closely_and_says_how_closely(
    browser: Browser,
) -> None:
    model = make_model("gru")
    units = compare(model.network, model.vocabulary.encode(TEXT), features(TEXT))
    browser.open(make_page(model, units=units), "#lens=unit")
    best = units.ranked[0]
    assert browser.value("state.unit") == f"{best.layer}.{best.vector}.{best.unit}"
    detail = browser.page.locator("#detail").inner_text()
    assert f"“{best.feature}” most closely: r = {best.correlation:.2f}".replace("-", "−") in detail
    rows = [row.inner_text().split("\t") for row in browser.page.locator("#unit-features tr").all()]
    expected = [
        [unit.feature, f"{unit.vector} {unit.unit}", f"{unit.correlation:.2f}", f"{unit.chosen_by:.2f}"]
        for unit in units.by_feature
    ]
    assert rows == [[text.replace("-", "−") for text in row] for row in expected]
    assert f"|r| = {units.by_chance:.2f}" in browser.page.locator("#unit-chance").inner_text()


def drawn(browser: Browser, model: Model, prompt: Array, count: int, hold: tuple[int, int, float] | None) -> str:
    """What Python writes after the prompt with the page's noise of seed 7, a unit of a layer's h held at a value."""
    network, K = model.network.astype(np.float64), len(model.vocabulary)
    noise = browser.value(f"((r) => Array.from({{length: {count}}}, () => gumbelNoise({K}, r)))(randomNumbers(7))")
    state, ids = network.zero_state(1), []
    for given in prompt:
        o, state = network.logits(np.array([[given]]), state)
    for G in np.array(noise):
        kept = likeliest(o[0, 0], 0.8, 9, 0.9)
        ids.append(int((kept + 0.8 * G).argmax()))
        o, state = network.logits(np.array([[ids[-1]]]), state)
        if hold:
            state[hold[0], 0, 0, hold[1]] = hold[2]
            o = (network.parameters["V"] @ state[-1, 0, 0] + network.parameters["c"])[None, None]
    return model.vocabulary.decode(ids)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_a_held_unit_is_held_while_writing_with_the_same_random_numbers(browser: Browser, cell: str) -> None:
    oracle = Oracle(make_model(cell), TEXT)
    options = "temperature=0.8&top_k=9&top_p=0.9&seed=7&length=40&at=50"
    browser.open(make_page(oracle.model), f"#{options}&unit=0.h.3&hold=0.95")
    prompt = oracle.ids[:51]
    written = [browser.page.locator(name).inner_text() for name in ("#written", "#written-held")]
    expected = [drawn(browser, oracle.model, prompt, 40, hold) for hold in (None, (0, 3, 0.95))]
    assert written == expected
    assert expected[0] != expected[1]


def test_the_same_seed_writes_the_same_text_and_another_another(browser: Browser) -> None:
    content, texts = make_page(make_model("gru")), []
    for seed in (1, 1, 2):
        browser.open(content, f"#seed={seed}")
        texts.append(browser.page.locator("#written").inner_text())
    assert texts[0] == texts[1] != texts[2]


def test_the_slider_changes_the_page_to_the_network_of_an_earlier_step(browser: Browser) -> None:
    model, earlier = make_model("lstm"), make_model("lstm")
    earlier.network.parameters.vector[:] *= 0.5
    browser.open(make_page(model, snapshots={1: earlier.network.parameters, 300: model.network.parameters}))
    late = browser.page.locator("#sample").inner_text()
    browser.page.locator("#step").press("Home")
    browser.read()
    losses = Oracle(earlier, TEXT).losses
    np.testing.assert_allclose(browser.value("reading.losses.slice(1)"), losses, rtol=0, atol=1e-5)
    assert "step 1" in browser.page.locator("#step-value").inner_text()
    assert f"{losses.mean() / np.log(2):.2f} bits" in browser.page.locator("#step-mean").inner_text()
    assert browser.page.locator("#sample").inner_text() != late
    browser.page.get_by_text("Back to the trained one").click()
    browser.read()
    assert browser.page.locator("#sample").inner_text() == late


def test_the_bars_are_the_mean_surprise_of_the_text_at_every_step(browser: Browser) -> None:
    model, earlier = make_model("rnn"), make_model("rnn")
    earlier.network.parameters.vector[:] *= 0.5
    browser.open(make_page(model, snapshots={1: earlier.network.parameters, 300: model.network.parameters}))
    browser.page.evaluate("() => { while (!training.measure(reading.characters, Infinity)); }")
    means = [Oracle(each, TEXT).losses.mean() for each in (earlier, model)]
    np.testing.assert_allclose(browser.value("[...training.means.values()]"), means, rtol=0, atol=1e-5)


def test_the_panel_is_operated_by_the_keyboard(browser: Browser) -> None:
    browser.open(make_page(make_model("rnn")), "#at=200")
    panel = browser.page.locator("#characters")
    at = {"ArrowRight": 201, "ArrowLeft": 200, "PageDown": 300, "PageUp": 200, "Home": 0, "End": -1}
    for key, expected in at.items():
        panel.press(key)
        assert browser.value("state.at") == expected, key
    panel.press("ArrowUp")
    up = browser.value("state.at")
    assert TEXT[up + 1 :].count("\n") == TEXT.count("\n") - TEXT[:up].count("\n") >= 1
    panel.press("ArrowDown")
    assert browser.value("committed()") == len(TEXT) - 1
    selected = browser.page.locator("#characters [aria-selected=true]")
    assert selected.count() == 1
    assert selected.get_attribute("id") == panel.get_attribute("aria-activedescendant")
    assert "bits of surprise" in str(selected.get_attribute("aria-label"))
    browser.page.locator("#candidates button").first.press("Enter")
    assert len(browser.value("state.text")) == len(TEXT) + 1


def test_a_link_leads_back_to_the_same_view(browser: Browser) -> None:
    content = make_page(make_model("gru", 2))
    browser.open(content)
    browser.page.locator("#text").fill("so & the #+cat's ↵ 100%")
    browser.page.get_by_label("a unit").check()
    browser.page.locator("#unit-name").select_option("1.z")
    browser.page.locator("#unit-number").fill("5")
    browser.page.locator("#unit-number").press("Enter")
    browser.page.get_by_label("Beside it").check()
    browser.page.locator("#temperature").fill("0.65")
    browser.page.locator("#seed").fill("77")
    browser.page.get_by_label("nats", exact=True).check()
    browser.page.locator("#characters").press("Home")
    browser.read()
    state, link = browser.value("state"), browser.page.locator("#link").get_attribute("href")
    shown = browser.page.locator("main").inner_text()
    assert state["unit"] == "1.z.5"
    assert (state["hold"], state["seed"], state["at"], state["temperature"]) == ("0", 77, 0, 0.65)
    assert browser.page.url.endswith(str(link))
    browser.open(content, str(link))
    assert browser.value("state") == state
    assert browser.page.locator("main").inner_text() == shown.replace("Undo\n", "")


def test_an_address_with_wrong_values_opens_the_page_as_it_is(browser: Browser) -> None:
    browser.open(
        make_page(make_model("rnn")),
        "#lens=x&unit=9.q.-1&temperature=NaN&top_k=1.5&top_p=0&seed=-1&length=1e99&hold=a&step=7&at=x&__proto__=1&q=2",
    )
    assert browser.value("Object.entries(state).every(([key, value]) => value === defaults[key])")


@pytest.mark.parametrize("how", ["srcdoc", "src"])
def test_the_page_works_in_a_frame_that_may_run_scripts_and_nothing_else(browser: Browser, how: str) -> None:
    content = make_page(make_model("gru"))
    (browser.folder / "inner.html").write_bytes(content)
    value = "inner.html" if how == "src" else html.escape(content.decode())
    frame = f'<!DOCTYPE html><iframe sandbox="allow-scripts" width="1000" height="3000" {how}="{value}"></iframe>'
    path = browser.folder / "outer.html"
    path.write_text(frame, encoding="utf-8")
    browser.page.goto(path.as_uri())
    inside = browser.page.frame_locator("iframe")
    inside.locator("#text").fill("the cat")
    assert "bits of surprise" in inside.locator("#chosen").inner_text()
    inside.get_by_label("gradient").check()
    assert "99% of the sum of these lengths" in inside.locator("#detail").inner_text()


def test_a_page_of_the_default_size_is_below_5_mb_with_its_snapshots_and_says_of_nothing_that_it_is_left_out() -> None:
    text = (ROOT / "data/corpus.txt").read_text(encoding="utf-8")
    model = make_model("rnn", text=text, hidden_size=100)
    snapshots = {step: model.network.parameters for step in range(16)}
    made = explorer.page(
        model=model,
        step=16,
        corpus="corpus.txt",
        excerpt=text[:600],
        training_text=text,
        order=6,
        ngram_losses=[],
        units=compare(model.network, model.vocabulary.encode(text[:6000]), features(text[:6000])),
        snapshots=snapshots,
    )
    assert len(made.content) < 5_000_000
    assert made.notes == []


def test_a_larger_network_is_rounded_to_float16_and_a_still_larger_one_left_out(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = Oracle(make_model("gru"), TEXT)
    size = oracle.model.network.parameters.vector.size
    module = sys.modules["charloom.adapters.explorer.explorer"]
    monkeypatch.setattr(module, "_NETWORK", {"float32": 3 * size, "float16": 3 * size})
    browser.open(make_page(oracle.model))
    said = f"The network’s {size:,} weights are rounded to float16, so its figures are rounded too."
    assert browser.page.locator("#notes").inner_text() == said
    rounded = make_model("gru")
    rounded.network.parameters.vector[:] = rounded.network.parameters.vector.astype(np.float16)
    np.testing.assert_allclose(browser.value("reading.losses.slice(1)"), Oracle(rounded, TEXT).losses, atol=1e-5)
    monkeypatch.setattr(module, "_NETWORK", {"float32": 2 * size, "float16": 2 * size})
    (browser.folder / "left_out.html").write_bytes(make_page(oracle.model))
    browser.page.goto((browser.folder / "left_out.html").as_uri())
    assert f"The network is left out: its {size:,} weights take" in browser.page.locator("main").inner_text()


def test_snapshots_that_do_not_fit_are_thinned_out(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model("rnn")
    size = model.network.parameters.vector.size
    monkeypatch.setattr(sys.modules["charloom.adapters.explorer.explorer"], "_ALL", len(TEXT) + 6 * size + 8 * size)
    browser.open(make_page(model, snapshots={step: model.network.parameters for step in range(10)}))
    assert browser.value("training.steps") == [0, 4, 8, 300]
    assert (
        "Of the training’s 10 snapshots, 3 are here, rounded to float16." in browser.page.locator("#notes").inner_text()
    )


def test_the_same_network_gives_the_same_bytes() -> None:
    assert make_page(make_model("lstm", 2)) == make_page(make_model("lstm", 2))
