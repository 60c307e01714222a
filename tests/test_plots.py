"""The figures and the page: what they show, and that the same values give the same bytes."""

import csv
import json
import math
import struct
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from charloom.adapters.configuration import Config, flatten, load
from charloom.adapters.plots import plots
from charloom.adapters.report import report
from charloom.core.common.errors import StateError
from charloom.stages import plot

RNN = ("W", "V", "U", "b", "c")
DEEP = (*(f"{layer}{name}" for layer in ("", "layer1.", "layer2.", "layer3.") for name in "WUb"), "V", "c", "layer4.W")
T, K = 25, 65
WORDS = """The ferryman of the river Lull wore two watches, one in each waistcoat
pocket, and he consulted both of them before he would say good morning.

"Nine minutes past ten," he announced to the woman on the landing,
having looked at """


def config() -> Config:
    """The configuration of the results below."""
    return load([f"train.seq_length={T}"])


def tensor_errors(tensors: Sequence[str], scale: float, rng: np.random.Generator) -> dict[str, dict[str, Any]]:
    """Errors of one method around a size."""
    found = {}
    for tensor in tensors:
        absolute = scale * 10 ** rng.uniform(-1, 0.5)
        found[tensor] = {
            "max_absolute_error": absolute,
            "max_relative_error": absolute * 10 ** rng.uniform(1, 3),
            "max_scaled_error": absolute * 2,
            "entries": 100,
            "exact_zeros": 3,
            "worst": {"index": [0], "analytic": 0.1, "numerical": 0.1},
        }
    return found


def gradient_check(tensors: Sequence[str] = RNN) -> dict[str, Any]:
    """The errors of a check that passed, one of them exactly zero."""
    rng = np.random.default_rng(2)
    sizes = {"central": 3e-9, "complex_step": 2e-16}
    initial, large = ({method: tensor_errors(tensors, size, rng) for method, size in sizes.items()} for _ in range(2))
    initial["complex_step"][tensors[-1]] |= {
        "max_absolute_error": 0.0,
        "max_relative_error": 0.0,
        "max_scaled_error": 0.0,
    }
    large["complex_step"][tensors[0]]["max_scaled_error"] = 4.56e-15
    return {"passed": True, "step": 1e-5, "threshold": 1e-9, **initial, "large_weights": large}


def sweep(tensors: Sequence[str] = RNN) -> list[tuple[str, float, str, float]]:
    """Truncation and rounding as theory has them, with some noise."""
    rng = np.random.default_rng(3)
    rows = []
    for method, steps in (
        ("central", [10 ** (-n / 2) for n in range(2, 25)]),
        ("complex_step", [10.0**-n for n in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30, 50, 70, 100)]),
    ):
        for xi in steps:
            rounding = 3e-15 / xi if method == "central" else 2e-15
            errors = [min(1.0, (xi**2 + rounding) * 10 ** rng.uniform(-0.7, 0)) for _ in tensors]
            rows += [(method, xi, tensor, error) for tensor, error in zip(tensors, errors, strict=True)]
            rows.append((method, xi, "all", max(errors)))
    return rows


def history(rows: int = 1001) -> tuple[list[int], list[float], list[float], dict[int, float]]:
    """Steps, losses, smooth losses, and nats per character of the validation."""
    rng = np.random.default_rng(4)
    steps = [1, *range(100, 100 * rows, 100)]
    smooth = [41.3 + (106.2 - 41.3) * (0.7 * math.exp(-step / 3000) + 0.3 * math.exp(-step / 30000)) for step in steps]
    smooth[0] = 106.2
    losses = [value + rng.normal(0, 5) for value in smooth]
    validation = {step: value / T + 0.16 for step, value in zip(steps, smooth, strict=True) if step % 10_000 == 0}
    return steps, losses, smooth, validation


def noise_to_words() -> list[dict[str, Any]]:
    """Samples that get less random."""
    rng = np.random.default_rng(5)
    characters = np.array(sorted(set(WORDS)))
    samples = []
    for step in (1, *range(10_000, 100_001, 10_000)):
        text = np.array(list((WORDS * 5)[: 1000 if step == 100_000 else 200]))
        random = rng.random(len(text)) > step / 100_000
        text[random] = rng.choice(characters, random.sum())
        samples.append({"step": step, "smooth_loss": 41.0 + 65 * math.exp(-step / 20_000), "text": "".join(text)})
    return samples


def results(folder: Path) -> Path:
    """What the stages before leave behind, made up; the samples try to break out of the page."""
    steps, losses, smooth, validation = history()
    samples = noise_to_words()
    samples[0]["text"] = "<script>alert(1)</script>\x00\x07$\\frac{ \udc80" + samples[0]["text"]
    files: dict[str, Any] = {
        "prepare/summary.json": {
            "path": "data/corpus.txt",
            "encoding": "utf-8",
            "newline": "universal",
            "sha256": "5f2b" * 16,
            "characters": 145_391,
            "vocabulary_size": K,
            "train_characters": 130_852,
            "validation_characters": 14_539,
        },
        "gradcheck/errors.json": gradient_check(),
        "train/metrics.json": {
            "steps": 100_000,
            "epochs": 19,
            "loss": 39.8,
            "smooth_loss": 41.32,
            "nats_per_char": 1.653,
            "bits_per_char": 2.3847,
            "validation_nats_per_char": 1.812,
            "validation_bits_per_char": 2.6141,
            "stopped": "steps",
        },
        "synthesize/metrics.json": {"characters": 1000, "known_word_fraction": 0.61234, "longest_copy": 23},
    }
    for stage in ("prepare", "gradcheck", "train", "synthesize"):
        (folder / stage).mkdir(parents=True)
    for name, values in files.items():
        (folder / name).write_text(json.dumps(values))
    (folder / "train/samples.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    (folder / "synthesize/sample.txt").write_text("\n" + WORDS * 4)
    with (folder / "train/history.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("step", "epoch", "loss", "smooth_loss", "validation_nats_per_char"))
        rows.writerows((s, 0, x, y, validation.get(s, "")) for s, x, y in zip(steps, losses, smooth, strict=True))
    with (folder / "gradcheck/step_sweep.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("method", "step", "tensor", "max_relative_error"))
        rows.writerows(sweep())
    return folder


Drawn = Callable[..., Figure]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Calls a function of `plots` and gives the figure behind its bytes."""
    figures: list[Figure] = []
    savefig = Figure.savefig

    def keep(figure: Figure, *args: Any, **kwargs: Any) -> None:
        figures.append(figure)
        savefig(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)

    def draw(function: Callable[..., bytes], *args: Any, **kwargs: Any) -> Figure:
        assert function(*args, **kwargs).startswith(b"\x89PNG")
        return figures[-1]

    return draw


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def boxes(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Bbox]]:
    """What is written, with its place in pixels; a tick beyond its axis is a Text, but is not written."""
    found = []
    draw = Text.draw

    def note(text: Text, renderer: Any, *args: Any, **kwargs: Any) -> None:
        if text.get_text().strip() and text.get_visible():
            found.append((text.get_text(), text.get_window_extent(renderer)))
        draw(text, renderer, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", note)
        figure.draw_without_rendering()
    return found


def loss(rows: int = 1001, *, validated: bool = True) -> tuple[Any, ...]:
    steps, losses, smooth, validation = history(rows)
    return steps, losses, smooth, validation if validated else {}


SIZES: dict[str, Any] = {"seq_length": T, "vocabulary_size": K}


def test_running_the_stage_twice_gives_identical_bytes(tmp_path: Path) -> None:
    inp = results(tmp_path / "inp")
    plot.run(config(), inp, tmp_path / "first")
    with matplotlib.rc_context({"font.size": 30, "xtick.major.size": 20, "figure.dpi": 20}):
        plot.run(config(), inp, tmp_path / "second")

    names = {path.name for path in (tmp_path / "first").iterdir()}
    assert names == {"loss.png", "gradcheck.png", "step_sweep.png", "samples.png", "report.html"}
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name


def test_drawing_leaves_the_style_of_others_alone() -> None:
    with matplotlib.rc_context({"font.size": 30}):
        plots.samples([])
        assert matplotlib.rcParams["font.size"] == 30


def test_other_values_give_other_bytes() -> None:
    steps, losses, smooth, validation = history(11)
    first = plots.loss(steps, losses, smooth, validation, **SIZES)
    assert plots.loss(steps, losses, [*smooth[:-1], smooth[-1] + 1], validation, **SIZES) != first


def test_a_missing_file_is_named_with_the_stage_that_writes_it(tmp_path: Path) -> None:
    inp = results(tmp_path)
    (inp / "train/history.csv").unlink()
    with pytest.raises(StateError, match=r"history\.csv is missing; run the stage train first"):
        plot.run(config(), inp, tmp_path / "out")


def test_a_png_is_1200_pixels_wide_and_holds_pixels_only() -> None:
    png = plots.loss(*loss(), **SIZES)
    width, height = struct.unpack(">II", png[16:24])
    assert (width, height) == (1200, 735)
    kinds, place = set(), 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        kinds.add(png[place + 4 : place + 8])
        place += length + 12
    assert kinds == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}


@pytest.mark.parametrize("tensors", [RNN, DEEP], ids=len)
def test_no_text_is_cut_off(drawn: Drawn, monkeypatch: pytest.MonkeyPatch, tensors: Sequence[str]) -> None:
    figures = [
        drawn(plots.loss, *loss(), **SIZES),
        drawn(plots.loss, [1], [106.0], [106.2], {}, **SIZES),
        drawn(plots.gradient_errors, gradient_check(tensors)),
        drawn(plots.step_sweep, sweep(tensors), step=1e-5),
        drawn(plots.samples, noise_to_words()),
        drawn(plots.samples, [{"step": 1, "smooth_loss": 106.2, "text": "W" * 1000}]),
    ]
    for figure in figures:
        width, height = figure.get_size_inches() * figure.dpi
        for text, box in boxes(figure, monkeypatch):
            assert 0 <= box.x0 < box.x1 <= width, text
            assert 0 <= box.y0 < box.y1 <= height, text


@pytest.mark.parametrize("last", [1.5, 42.0, 103.0, 104.5, 106.0])
def test_no_text_of_the_loss_lies_on_another(drawn: Drawn, monkeypatch: pytest.MonkeyPatch, last: float) -> None:
    figure = drawn(plots.loss, [1, 100], [106.0, last], [106.0, last], {100: last / T}, **SIZES)
    for (first, a), (second, b) in combinations(boxes(figure, monkeypatch), 2):
        assert not a.padded(-1).overlaps(b.padded(-1)), (first, second)


def test_the_title_of_the_loss_states_the_finding(drawn: Drawn) -> None:
    steps, losses, smooth, validation = history()
    smooth[-1] = 41.3
    figure = drawn(plots.loss, steps, losses, smooth, validation, **SIZES)
    assert "Smooth loss falls from 106.2 to 41.3 nats per window in 100,000 updates" in texts(figure)


def test_a_loss_that_rises_is_said_to_rise(drawn: Drawn) -> None:
    figure = drawn(plots.loss, [1, 2], [104.0, 111.0], [104.0, 105.0], {}, **SIZES)
    assert "Smooth loss rises from 104.0 to 105.0 nats per window in 2 updates" in texts(figure)


def test_validation_is_drawn_in_nats_per_window(drawn: Drawn) -> None:
    figure = drawn(plots.loss, [1, 100], [104.0, 60.0], [104.0, 80.0], {50: 3.0, 100: 2.0}, **SIZES)
    (points,) = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert points.get_xydata().tolist() == [[50, 75], [100, 50]]  # type: ignore[union-attr]  # an array once drawn
    assert "Validation 50.0" in texts(figure)


def test_without_validation_there_is_no_word_of_it(drawn: Drawn) -> None:
    figure = drawn(plots.loss, *loss(validated=False), **SIZES)
    assert not [text for text in texts(figure) if "Validation" in text]


def test_the_axis_at_the_right_has_bits_per_character(drawn: Drawn) -> None:
    figure = drawn(plots.loss, *loss(), **SIZES)
    (ax,) = figure.axes
    (bits,) = ax.child_axes
    assert bits.get_ylim() == pytest.approx([nats / (T * math.log(2)) for nats in ax.get_ylim()])


def test_the_uniform_model_loses_T_ln_K(drawn: Drawn) -> None:
    figure = drawn(plots.loss, *loss(), **SIZES)
    assert "Uniform model: 25 ln 65 = 104.4" in texts(figure)
    assert [T * math.log(K)] * 2 in [np.asarray(line.get_ydata()).tolist() for line in figure.axes[0].lines]


def test_a_single_row_is_drawn_as_a_point(drawn: Drawn) -> None:
    figure = drawn(plots.loss, [1], [106.0], [106.2], {}, **SIZES)
    assert "Smooth loss is 106.2 nats per window at step 1" in texts(figure)
    assert [line.get_marker() for line in figure.axes[0].lines if len(np.asarray(line.get_xdata())) == 1] == ["o", "o"]


def test_ten_thousand_rows_are_drawn(drawn: Drawn) -> None:
    figure = drawn(plots.loss, *loss(10_000), **SIZES)
    assert len(np.asarray(figure.axes[0].lines[0].get_xdata())) == 10_000


def test_an_error_of_zero_has_a_place_of_its_own_at_the_left_end(drawn: Drawn) -> None:
    figure = drawn(plots.gradient_errors, gradient_check())
    for ax in figure.axes:
        ticks = dict(zip((label.get_text() for label in ax.get_xticklabels()), ax.get_xticks(), strict=True))
        drawn_at = np.concatenate([np.asarray(line.get_xdata(), float) for line in ax.lines])
        assert drawn_at.min() == ticks["0"] == min(ticks.values())
        assert sum(drawn_at == ticks["0"]) == 1


def test_without_an_error_of_zero_the_axis_has_no_zero(drawn: Drawn) -> None:
    errors = gradient_check()
    errors["complex_step"]["c"] = errors["complex_step"]["b"]
    figure = drawn(plots.gradient_errors, errors)
    assert "0" not in texts(figure)


def test_errors_that_are_all_zero_are_drawn() -> None:
    errors = gradient_check(("W",))
    for checked in (errors, errors["large_weights"]):
        for method in ("central", "complex_step"):
            checked[method]["W"] |= {f"max_{kind}_error": 0.0 for kind in ("absolute", "relative", "scaled")}
    assert plots.gradient_errors(errors).startswith(b"\x89PNG")


def test_the_references_figures_are_marked_where_it_has_the_tensor(drawn: Drawn) -> None:
    figure = drawn(plots.gradient_errors, gradient_check(DEEP))
    marks = [
        np.asarray(line.get_xdata()).tolist() for ax in figure.axes for line in ax.lines if line.get_marker() == "|"
    ]
    assert marks[0] == [3.06e-7, 2.34e-7, 2.1e-8, 4.11e-7, 3.1e-8]  # W, U, b, V, c
    assert marks[1] == [5.36e-6, 2.71e-8, 4.11e-8, 2.71e-6, 2.48e-9]


@pytest.mark.parametrize(("passed", "verdict"), [(True, "passed"), (False, "FAILED")])
def test_the_title_of_the_gradients_has_the_verdict_and_the_worst_error(
    drawn: Drawn, passed: bool, verdict: str
) -> None:
    figure = drawn(plots.gradient_errors, gradient_check() | {"passed": passed})
    assert f"Gradient check {verdict}: within 4.6e-15 of the complex step (threshold 1e-9)" in texts(figure)


def test_the_slopes_are_those_of_rounding_and_truncation(drawn: Drawn) -> None:
    figure = drawn(plots.step_sweep, sweep(), step=1e-5)
    guides = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    slopes = [np.diff(np.log(np.asarray(g.get_ydata()))) / np.diff(np.log(np.asarray(g.get_xdata()))) for g in guides]
    slopes = [np.unique(slope.round(9)).tolist() for slope in slopes]
    assert slopes == [[-1], [2]]


def test_a_sweep_without_slopes_is_drawn_without_them(drawn: Drawn) -> None:
    rows = [(method, 10.0**-n, "all", 0.0) for method in ("central", "complex_step") for n in (1, 5, 9)]
    figure = drawn(plots.step_sweep, rows, step=1e-5)
    assert not [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert "Relative error at best: central difference 0, complex step 0" in texts(figure)


def test_the_title_of_the_sweep_has_the_best_of_each_method(drawn: Drawn) -> None:
    rows = [("central", 1e-3, "all", 3e-7), ("central", 1e-5, "all", 2.13e-10), ("central", 1e-7, "all", 4e-8)]
    rows += [("complex_step", 1e-1, "all", 1e-3), ("complex_step", 1e-100, "all", 3.1e-15)]
    figure = drawn(plots.step_sweep, rows, step=1e-5)
    assert "Relative error at best: central difference 2.1e-10, complex step 3.1e-15" in texts(figure)
    assert "3.1e-15 at ξ = 1e-100" in texts(figure)


def test_eight_samples_are_shown_with_the_first_and_the_last(drawn: Drawn) -> None:
    samples = [{"step": step, "smooth_loss": 50.0, "text": f"at {step}"} for step in range(1, 42)]
    labels = [text for text in texts(drawn(plots.samples, samples)) if text.startswith("Step")]
    assert (len(labels), labels[0], labels[-1]) == (8, "Step 1", "Step 41")


def test_no_samples_make_a_page_that_says_so(drawn: Drawn) -> None:
    assert "No samples were taken: train.sample_every is 0." in texts(drawn(plots.samples, []))


def test_what_cannot_be_drawn_is_a_box_and_a_dollar_is_a_dollar(drawn: Drawn) -> None:
    text = "a\x00b\rc\x1b[0m 漢🙂\udc80 $\\frac{x}$ é\u202e\xa0ф"
    figure = drawn(plots.samples, [{"step": 1, "smooth_loss": 106.2, "text": text}])
    assert "a▯b▯c▯[0m ▯▯▯ $\\frac{x}$ é▯ ф" in texts(figure)


def test_long_lines_are_wrapped_and_long_samples_cut(drawn: Drawn) -> None:
    figure = drawn(plots.samples, [{"step": 1, "smooth_loss": 106.2, "text": "first\n\n" + "word " * 200}])
    lines = texts(figure)[texts(figure).index("first") :]
    assert lines[1].startswith("word word")  # the empty line holds no text
    assert (len(lines), lines[-1]) == (7, "…")
    assert max(map(len, lines)) <= 76


def test_an_empty_sample_keeps_its_label(drawn: Drawn) -> None:
    figure = drawn(plots.samples, [{"step": 300, "smooth_loss": 98.04, "text": ""}])
    assert texts(figure) == ["What the network writes", "Step 300", "smooth loss 98.0"]


class _Links(HTMLParser):
    """What a page asks for from elsewhere, its elements and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.images: list[str] = []
        self.elements: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        for name, value in attributes:
            if name in ("src", "href", "srcset", "action", "data", "poster", "background"):
                inside = (value or "").startswith("data:image/png;base64,")
                (self.images if inside else self.links).append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    plot.run(config(), results(folder / "inp"), folder / "out")
    return (folder / "out/report.html").read_text(encoding="utf-8")


def page(**changes: Any) -> str:
    """A page of made-up values, some of them changed."""
    values: dict[str, Any] = {
        "summary": {
            "path": "corpus.txt",
            "sha256": "00",
            "characters": 10,
            "vocabulary_size": 5,
            "train_characters": 10,
            "validation_characters": 0,
        },
        "errors": gradient_check(),
        "metrics": {
            "steps": 300,
            "epochs": 0,
            "smooth_loss": 98.765,
            "bits_per_char": 5.6789,
            "validation_bits_per_char": None,
            "stopped": "steps",
        },
        "samples": [],
        "text": "",
        "quality": {},
        "parameters": flatten(config().parameters()),
        "figures": dict.fromkeys(("loss", "gradcheck", "step_sweep", "samples"), b""),
    }
    return report.page(**(values | changes))


def test_the_page_holds_its_figures_and_asks_for_nothing(html: str) -> None:
    found = _Links(html)
    assert len(found.images) == 4
    assert found.links == []
    assert not found.elements & {"script", "link", "iframe", "object", "base"}
    assert "url(" not in html
    assert "@import" not in html


def test_a_link_would_be_found() -> None:
    assert _Links('<a href="https://example.org">x</a><img src="loss.png">').links == [
        "https://example.org",
        "loss.png",
    ]


def test_a_sample_cannot_break_out_of_the_page(html: str) -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;␀␇$" in html
    assert "<script>alert(1)</script>␀␇$\\frac{ �" in _Links(html).text


@pytest.mark.parametrize("key", ["text", "parameters", "summary", "quality"])
def test_no_value_can_break_out_of_the_page(key: str) -> None:
    evil = "</pre></td><script>\x00\ud800"
    values: dict[str, Any] = {
        "text": evil,
        "parameters": flatten(config().parameters()) | {"synthesize.prime": evil, evil: 1},
        "summary": {
            "path": evil,
            "sha256": evil,
            "characters": 1,
            "vocabulary_size": 1,
            "train_characters": 1,
            "validation_characters": 0,
        },
        "quality": {evil: 0.5},
    }
    html = page(**{key: values[key]})
    assert "script" not in _Links(html).elements
    assert "&lt;script&gt;" in html
    assert b"\x00" not in html.encode()


@pytest.mark.parametrize(
    "figure",
    [
        "145,391 characters",
        "65 characters",
        "100,000",
        "41.32 nats per window",
        "2.385",
        "2.614",
        "4.56e-15",
        "3.06e-7",
        "2.48e-9",
        "0.6123",
        "2.2e-16",
        "5f2b5f2b",
    ],
)
def test_the_page_has_the_figures_of_the_run(html: str, figure: str) -> None:
    assert figure in " ".join(_Links(html).text.split())


def test_all_samples_stand_on_the_page_in_order(html: str) -> None:
    text = _Links(html).text
    places = [text.index(f"Step {step:,} ") for step in (1, *range(10_000, 100_001, 10_000))]
    assert places == sorted(places)


def test_the_first_line_break_of_a_text_is_kept(html: str) -> None:
    assert '<pre dir="auto">\n\nThe ferryman' in html  # HTML drops the first one


def test_every_parameter_is_on_the_page_to_its_last_digit() -> None:
    text = page(parameters=flatten(config().parameters()) | {"optimizer.learning_rate": 0.0123456789})
    assert "0.0123456789" in text
    for key in flatten(config().parameters()):
        assert f'<th scope="row">{key}</th>' in text


def test_a_validation_that_was_not_made_is_said_to_be_missing() -> None:
    assert "not measured" in page()


def test_a_failed_check_is_said_to_have_failed() -> None:
    assert '<span class="failed">failed</span>' in page(errors=gradient_check() | {"passed": False})
    assert '<span class="failed">' not in page()


def test_a_training_that_ended_at_its_loss_is_said_to_have() -> None:
    metrics = {
        "steps": 300,
        "epochs": 0,
        "smooth_loss": 38.9,
        "bits_per_char": 2.2,
        "validation_bits_per_char": None,
        "stopped": "smooth_loss",
    }
    assert "ended at train.stop_at_smooth_loss" in page(metrics=metrics)
