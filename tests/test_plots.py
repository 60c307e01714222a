"""The figures and the page: what they show, and that the same values give the same bytes."""

import math
import re
import shlex
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from charloom.adapters import plots, report
from charloom.adapters.configuration import Config, flatten, load, override
from charloom.adapters.files import artifacts, models, snapshots
from charloom.core.common.errors import StateError
from charloom.core.common.quality_records import Estimate, TextQuality
from charloom.core.common.records import (
    Baselines,
    BaselineScore,
    Dynamics,
    GateSaturation,
    GradientErrors,
    GradientNorms,
    HistoryRow,
    Inspection,
    MethodErrors,
    Quality,
    Sample,
    StepSizeError,
    Summary,
    TensorErrors,
    TrainingMetrics,
    TrainingWarning,
    WorstEntry,
)
from charloom.core.common.reference import REFERENCE
from charloom.core.gradcheck.check import SWEEP_STEPS
from charloom.core.network import Model, Network
from charloom.core.text import Vocabulary
from charloom.stages import plot
from tests.results import BASELINES, EVALUATION, TEXT_QUALITY, make_inspection, seal, set_parameters

ROOT = Path(__file__).parents[1]
RNN = ("W", "V", "U", "b", "c")
DEEP = (*(f"{layer}{name}" for layer in ("", "layer1.", "layer2.", "layer3.") for name in "WUb"), "V", "c", "layer4.W")
T, K = 25, 65
MODELS = BASELINES.models
WORDS = """The ferryman of the river Lull wore two watches, one in each waistcoat
pocket, and he consulted both of them before he would say good morning.

"Nine minutes past ten," he announced to the woman on the landing,
having looked at """


def config() -> Config:
    """The configuration of the results below."""
    return load([f"train.seq_length={T}"])


def tensor_errors(
    tensors: Sequence[str], scale: float, rng: np.random.Generator, *, last: float | None = None
) -> dict[str, TensorErrors]:
    """Errors of one method around a size, all of the last tensor's `last` where it is given."""
    found = {}
    for tensor in tensors:
        absolute = scale * 10 ** rng.uniform(-1, 0.5)
        errors = (absolute, absolute * 10 ** rng.uniform(1, 3), absolute * 2)
        if tensor == tensors[-1] and last is not None:
            errors = (last, last, last)
        found[tensor] = TensorErrors(*errors, entries=100, exact_zeros=3, worst=WorstEntry((0,), 0.1, 0.1))
    return found


def gradient_check(tensors: Sequence[str] = RNN, *, passed: bool = True, last: float | None = 0.0) -> GradientErrors:
    """The errors of a check, those of the last tensor against the complex step exactly zero if nothing else is said."""
    rng = np.random.default_rng(2)
    central, complex_step = tensor_errors(tensors, 3e-9, rng), tensor_errors(tensors, 2e-16, rng, last=last)
    large = MethodErrors(tensor_errors(tensors, 3e-9, rng), tensor_errors(tensors, 2e-16, rng))
    first = tensors[0]
    large.complex_step[first] = replace(large.complex_step[first], max_scaled_error=4.56e-15)
    return GradientErrors(passed, 1e-5, 1e-9, central, complex_step, large)


def sweep(tensors: Sequence[str] = RNN) -> list[StepSizeError]:
    """Truncation and rounding as theory has them, with some noise."""
    rng = np.random.default_rng(3)
    rows = []
    for method, steps in SWEEP_STEPS.items():
        for xi in steps:
            rounding = 3e-15 / xi if method == "central" else 2e-15
            errors = [min(1.0, (xi**2 + rounding) * 10 ** rng.uniform(-0.7, 0)) for _ in tensors]
            rows += [StepSizeError(method, xi, name, error) for name, error in zip(tensors, errors, strict=True)]
            rows.append(StepSizeError(method, xi, "all", max(errors)))
    return rows


def row(step: int, loss: float, smooth_loss: float, validation: float | None = None) -> HistoryRow:
    """A row of the history; `validation` in nats per character."""
    return HistoryRow(step, 0, loss, smooth_loss, validation)


def history(rows: int = 1001, *, validated: bool = True) -> list[HistoryRow]:
    """A smooth loss that falls from 106.2 to 41.3, validated every 10,000 steps."""
    rng = np.random.default_rng(4)
    steps = [1, *range(100, 100 * rows, 100)]
    smooth = [41.3 + (106.2 - 41.3) * (0.7 * math.exp(-step / 3000) + 0.3 * math.exp(-step / 30000)) for step in steps]
    smooth[0], smooth[-1] = 106.2, 41.3
    return [
        row(step, value + rng.normal(0, 5), value, value / T + 0.16 if validated and step % 10_000 == 0 else None)
        for step, value in zip(steps, smooth, strict=True)
    ]


def noise_to_words() -> list[Sample]:
    """Samples that get less random."""
    rng = np.random.default_rng(5)
    characters = np.array(sorted(set(WORDS)))
    samples = []
    for step in (1, *range(10_000, 100_001, 10_000)):
        text = np.array(list((WORDS * 5)[: 1000 if step == 100_000 else 200]))
        random = rng.random(len(text)) > step / 100_000
        text[random] = rng.choice(characters, random.sum())
        samples.append(Sample(step, 41.0 + 65 * math.exp(-step / 20_000), "".join(text)))
    return samples


SUMMARY = Summary(
    path="data/corpus.txt",
    encoding="utf-8",
    newline="universal",
    sha256="5f2b" * 16,
    characters=145_391,
    vocabulary_size=K,
    train_characters=130_852,
    validation_characters=14_539,
)
METRICS = TrainingMetrics(
    steps=100_000,
    epochs=19,
    loss=39.8,
    smooth_loss=41.32,
    nats_per_char=1.653,
    bits_per_char=2.3847,
    validation_nats_per_char=1.812,
    validation_bits_per_char=2.6141,
    best_step=90_000,
    best_validation_nats_per_char=1.81,
    stopped="steps",
)
INSPECTIONS = [make_inspection(step) for step in (1, 10, 100, 1_000, 10_000, 20_000)]
QUALITY = Quality(
    characters=1000, distinct_characters=31, words=180, distinct_words=90, known_word_fraction=0.61234, longest_copy=23
)


def results(folder: Path, made_with: Config | None = None) -> Path:
    """What the stages before leave behind, made up; the first sample tries to break out of the page."""
    set_parameters(made_with or config(), folder)
    first, *others = noise_to_words()
    evil = replace(first, text="<script>alert(1)</script>\x00\x07$\\frac{ " + first.text)
    artifacts.SUMMARY.write(folder / "prepare", SUMMARY)
    vocabulary = Vocabulary("".join(map(chr, range(60, 60 + K))))
    artifacts.VOCABULARY.write(folder / "prepare", list(vocabulary.characters))
    np.save(artifacts.IDS.path(folder / "prepare"), np.arange(SUMMARY.characters, dtype=np.uint32) % K)
    network = Network(vocabulary_size=K, hidden_size=5, dtype=np.float64)
    network.initialize(0.1, rng=np.random.default_rng(6))
    artifacts.BASELINES.write(folder / "baseline", BASELINES)
    artifacts.ERRORS.write(folder / "gradcheck", gradient_check())
    artifacts.STEP_SWEEP.write(folder / "gradcheck", sweep())
    artifacts.HISTORY.write(folder / "train", history())
    artifacts.SAMPLES.write(folder / "train", [evil, *others])
    artifacts.WARNINGS.write(folder / "train", [])
    artifacts.METRICS.write(folder / "train", METRICS)
    artifacts.INSPECTIONS.write(folder / "train", INSPECTIONS)
    models.save(Model(network, vocabulary), artifacts.BEST_MODEL.path(folder / "train"))
    snapshots.save(artifacts.SNAPSHOTS.path(folder / "train"), network.sizes, [1], [network.parameters])
    artifacts.TEXT.write_bytes(folder / "synthesize", b"\n" + WORDS.encode() * 4)
    artifacts.QUALITY.write(folder / "synthesize", QUALITY)
    artifacts.EVALUATION.write(folder / "evaluate", EVALUATION)
    artifacts.TEXT_QUALITY.write(folder / "synthesize", TEXT_QUALITY)
    return seal(folder)


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


SIZES: dict[str, Any] = {"seq_length": T, "vocabulary_size": K}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A result folder, made with another learning rate than params.yaml has, and what the plot stage makes of it."""
    folder = tmp_path_factory.mktemp("stage")
    inp = results(folder / "inp", load(["optimizer.learning_rate=0.0625"]))
    plot.run(load(), inp, folder / "out")
    return inp, folder / "out"


def test_running_the_stage_twice_gives_identical_bytes(stage: tuple[Path, Path], tmp_path: Path) -> None:
    inp, first = stage
    with matplotlib.rc_context({"font.size": 30, "xtick.major.size": 20, "figure.dpi": 20}):
        plot.run(config(), inp, tmp_path)

    names = {path.name for path in first.iterdir()}
    assert names == {"SHA256SUMS", "loss.png", "gradcheck.png", "step_sweep.png", "samples.png"} | {
        "gradient_flow.png",
        "dynamics.png",
        "quality.png",
        "metrics.json",
        "report.html",
        "explorer.html",
    }
    for name in names:
        assert (first / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_the_report_has_the_parameters_that_the_result_was_made_with(stage: tuple[Path, Path]) -> None:
    html = (stage[1] / "report.html").read_text(encoding="utf-8")
    assert '<tr><th scope="row">optimizer.learning_rate</th><td>0.0625</td></tr>' in html


def test_drawing_leaves_the_style_of_others_alone() -> None:
    with matplotlib.rc_context({"font.size": 30}):
        plots.samples([])
        assert matplotlib.rcParams["font.size"] == 30


def test_other_values_give_other_bytes() -> None:
    *rows, last = history(11)
    changed = replace(last, smooth_loss=last.smooth_loss + 1)
    assert plots.loss([*rows, changed], **SIZES) != plots.loss([*rows, last], **SIZES)


def test_a_missing_file_is_named_with_the_stage_that_writes_it(tmp_path: Path) -> None:
    inp = results(tmp_path)
    (inp / "train/history.csv").unlink()
    with pytest.raises(StateError, match=r"history\.csv is missing; run the train stage first"):
        plot.run(config(), inp, tmp_path / "out")


def test_a_png_is_1200_pixels_wide_and_holds_pixels_only() -> None:
    png = plots.loss(history(), **SIZES)
    width, height = struct.unpack(">II", png[16:24])
    assert (width, height) == (1200, 735)
    kinds, place = set(), 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        kinds.add(png[place + 4 : place + 8])
        place += length + 12
    assert kinds == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}


def test_no_text_is_cut_off(drawn: Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = [
        drawn(plots.loss, history(), **SIZES),
        drawn(plots.loss, history(), **SIZES, baselines=MODELS, warnings=[WARNING]),
        drawn(plots.loss, [row(1, 106.0, 106.2)], **SIZES, baselines=MODELS),
        drawn(plots.loss, [row(1, 106.0, 106.2)], **SIZES),
        *(drawn(plots.gradient_errors, gradient_check(tensors), reference=REFERENCE) for tensors in (RNN, DEEP)),
        *(drawn(plots.step_sweep, sweep(tensors), step=1e-5) for tensors in (RNN, DEEP)),
        drawn(plots.gradient_flow, INSPECTIONS, seq_length=T),
        drawn(plots.gradient_flow, deep_inspections(), seq_length=T),
        drawn(plots.gradient_flow, [], seq_length=T),
        drawn(plots.dynamics, INSPECTIONS),
        drawn(plots.quality, TEXT_QUALITY),
        drawn(plots.quality, TextQuality(0, [], None)),
        drawn(plots.dynamics, deep_inspections()),
        drawn(plots.samples, noise_to_words()),
        drawn(plots.samples, [Sample(1, 106.2, "W" * 1000)]),
    ]
    for figure in figures:
        width, height = figure.get_size_inches() * figure.dpi
        for text, box in boxes(figure, monkeypatch):
            assert 0 <= box.x0 < box.x1 <= width, text
            assert 0 <= box.y0 < box.y1 <= height, text


@pytest.mark.parametrize("models", [[], MODELS, MODELS[:4]], ids=len)
@pytest.mark.parametrize("last", [1.5, 42.0, 103.0, 104.5, 106.0])
def test_no_text_of_the_loss_lies_on_another(
    drawn: Drawn, monkeypatch: pytest.MonkeyPatch, last: float, models: list[BaselineScore]
) -> None:
    rows = [row(1, 106.0, 106.0), row(100, last, last, last / T)]
    figure = drawn(plots.loss, rows, **SIZES, baselines=models)
    for (first, a), (second, b) in combinations(boxes(figure, monkeypatch), 2):
        assert not a.padded(-1).overlaps(b.padded(-1)), (first, second)


def test_the_title_of_the_loss_states_the_finding(drawn: Drawn) -> None:
    figure = drawn(plots.loss, history(), **SIZES)
    assert "Smooth loss falls from 106.2 to 41.3 nats per window in 100,000 updates" in texts(figure)


def test_a_loss_that_rises_is_said_to_rise(drawn: Drawn) -> None:
    figure = drawn(plots.loss, [row(1, 104.0, 104.0), row(2, 111.0, 105.0)], **SIZES)
    assert "Smooth loss rises from 104.0 to 105.0 nats per window in 2 updates" in texts(figure)


def test_a_warning_is_a_line_at_its_step_with_its_kind(drawn: Drawn) -> None:
    warned = drawn(plots.loss, history(), seq_length=T, vocabulary_size=K, warnings=[WARNING])
    assert "Warning: overfitting" in texts(warned)
    assert [50_000, 50_000] in [np.asarray(line.get_xdata()).tolist() for line in warned.axes[0].lines]
    assert "Warning" not in " ".join(texts(drawn(plots.loss, history(), seq_length=T, vocabulary_size=K)))


def test_validation_is_drawn_in_nats_per_window(drawn: Drawn) -> None:
    rows = [row(1, 104.0, 104.0), row(50, 70.0, 90.0, 3.0), row(100, 60.0, 80.0, 2.0)]
    figure = drawn(plots.loss, rows, **SIZES)
    (points,) = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert points.get_xydata().tolist() == [[50, 75], [100, 50]]  # type: ignore[union-attr]  # an array once drawn
    assert "Validation 50.0" in texts(figure)


def test_without_validation_there_is_no_word_of_it(drawn: Drawn) -> None:
    figure = drawn(plots.loss, history(validated=False), **SIZES)
    assert not [text for text in texts(figure) if "Validation" in text]


def test_each_n_gram_model_is_a_line_at_its_loss_and_close_ones_share_a_name(drawn: Drawn) -> None:
    figure = drawn(plots.loss, history(), **SIZES, baselines=MODELS)
    lines = [np.asarray(line.get_ydata()).tolist() for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert lines == [[nats, nats] for nats in sorted(T * model.nats_per_char for model in MODELS if model.order)]
    names = [text.get_text() for text in figure.axes[0].texts if text.get_text().endswith("-gram")]
    assert names == ["4- to 6-gram", "3-gram", "2-gram", "1-gram"]


def test_the_title_says_where_the_lowest_validation_loss_stands_among_the_models(drawn: Drawn) -> None:
    rows = [row(1, 104.0, 104.0), row(50, 70.0, 80.0, 1.8), row(100, 60.0, 75.0, 2.0)]
    title = drawn(plots.loss, rows, **SIZES, baselines=MODELS).get_suptitle()
    assert title.splitlines()[1:] == ["Lowest validation loss, 45.0: between the 2-gram and the 3-gram"]
    assert "\n" not in drawn(plots.loss, rows, **SIZES).get_suptitle()
    assert "\n" not in drawn(plots.loss, history(validated=False), **SIZES, baselines=MODELS).get_suptitle()


def test_the_axis_at_the_right_has_bits_per_character(drawn: Drawn) -> None:
    figure = drawn(plots.loss, history(), **SIZES)
    (ax,) = figure.axes
    (bits,) = ax.child_axes
    assert bits.get_ylim() == pytest.approx([nats / (T * math.log(2)) for nats in ax.get_ylim()])


def test_the_uniform_model_loses_T_ln_K(drawn: Drawn) -> None:
    figure = drawn(plots.loss, history(), **SIZES)
    assert "Uniform model: 25 ln 65 = 104.4" in texts(figure)
    assert [T * math.log(K)] * 2 in [np.asarray(line.get_ydata()).tolist() for line in figure.axes[0].lines]


def test_a_single_row_is_drawn_as_a_point(drawn: Drawn) -> None:
    figure = drawn(plots.loss, [row(1, 106.0, 106.2)], **SIZES)
    assert "Smooth loss is 106.2 nats per window at step 1" in texts(figure)
    assert [line.get_marker() for line in figure.axes[0].lines if len(np.asarray(line.get_xdata())) == 1] == ["o", "o"]


def test_ten_thousand_rows_are_drawn(drawn: Drawn) -> None:
    figure = drawn(plots.loss, history(10_000), **SIZES)
    assert len(np.asarray(figure.axes[0].lines[0].get_xdata())) == 10_000


def test_an_error_of_zero_has_a_place_of_its_own_at_the_left_end(drawn: Drawn) -> None:
    figure = drawn(plots.gradient_errors, gradient_check(), reference={})
    for ax in figure.axes:
        ticks = dict(zip((label.get_text() for label in ax.get_xticklabels()), ax.get_xticks(), strict=True))
        drawn_at = np.concatenate([np.asarray(line.get_xdata(), float) for line in ax.lines])
        assert drawn_at.min() == ticks["0"] == min(ticks.values())
        assert sum(drawn_at == ticks["0"]) == 1


def test_without_an_error_of_zero_the_axis_has_no_zero(drawn: Drawn) -> None:
    figure = drawn(plots.gradient_errors, gradient_check(last=None), reference={})
    assert "0" not in texts(figure)


def test_errors_that_are_all_zero_are_drawn() -> None:
    none = {"W": TensorErrors(0.0, 0.0, 0.0, entries=100, exact_zeros=100, worst=WorstEntry((0,), 0.0, 0.0))}
    errors = GradientErrors(True, 1e-5, 1e-9, none, none, MethodErrors(none, none))
    assert plots.gradient_errors(errors, reference={}).startswith(b"\x89PNG")


def marks(figure: Figure) -> list[list[float]]:
    """The marks of the reference in each panel, from the top."""
    lines = [line for ax in figure.axes for line in ax.lines if line.get_marker() == "|"]
    return [np.asarray(line.get_xdata()).tolist() for line in lines]


def test_the_figures_of_the_reference_are_marked(drawn: Drawn) -> None:
    figure = drawn(plots.gradient_errors, gradient_check(), reference=REFERENCE)
    assert marks(figure) == [
        [3.06e-7, 4.11e-7, 2.34e-7, 2.1e-8, 3.1e-8],  # W, V, U, b, c
        [5.36e-6, 2.71e-6, 2.71e-8, 4.11e-8, 2.48e-9],
    ]
    assert "reference" in texts(figure)


def test_without_a_reference_nothing_is_marked(drawn: Drawn) -> None:
    figure = drawn(plots.gradient_errors, gradient_check(), reference={})
    assert marks(figure) == []
    assert "reference" not in texts(figure)


@pytest.mark.parametrize(("passed", "verdict"), [(True, "passed"), (False, "FAILED")])
def test_the_title_of_the_gradients_has_the_verdict_and_the_worst_error(
    drawn: Drawn, passed: bool, verdict: str
) -> None:
    figure = drawn(plots.gradient_errors, gradient_check(passed=passed), reference={})
    assert f"Gradient check {verdict}: largest scaled error 4.6e-15 (threshold 1e-9)" in texts(figure)


def test_the_slopes_are_those_of_rounding_and_truncation(drawn: Drawn) -> None:
    figure = drawn(plots.step_sweep, sweep(), step=1e-5)
    guides = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    slopes = [np.diff(np.log(np.asarray(g.get_ydata()))) / np.diff(np.log(np.asarray(g.get_xdata()))) for g in guides]
    slopes = [np.unique(slope.round(9)).tolist() for slope in slopes]
    assert slopes == [[-1], [2]]


def test_a_sweep_without_slopes_is_drawn_without_them(drawn: Drawn) -> None:
    rows = [StepSizeError(method, 10.0**-n, "all", 0.0) for method in ("central", "complex_step") for n in (1, 5, 9)]
    figure = drawn(plots.step_sweep, rows, step=1e-5)
    assert not [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert "Lowest relative error: central difference 0, complex step 0" in texts(figure)


def test_the_title_of_the_sweep_has_the_lowest_error_of_each_method(drawn: Drawn) -> None:
    central = {1e-3: 3e-7, 1e-5: 2.13e-10, 1e-7: 4e-8}
    rows = [StepSizeError("central", xi, "all", error) for xi, error in central.items()]
    rows += [StepSizeError("complex_step", xi, "all", error) for xi, error in ((1e-1, 1e-3), (1e-100, 3.1e-15))]
    figure = drawn(plots.step_sweep, rows, step=1e-5)
    assert "Lowest relative error: central difference 2.1e-10, complex step 3.1e-15" in texts(figure)
    assert "3.1e-15 at ξ = 1e-100" in texts(figure)


def deep_inspections(layers: int = 12) -> list[Inspection]:
    """Those of many layers of an LSTM, trained without clipping by a rule with one learning rate."""
    prefixes = ["", *(f"layer{layer}." for layer in range(1, layers))]
    gates = [f"{prefix}{gate}" for prefix in prefixes for gate in "oif"]
    return [
        replace(
            found,
            dynamics=Dynamics(
                {f"{prefix}{state}": found.dynamics.gradient_norms["h"] for prefix in prefixes for state in "hc"},
                {f"{prefix}W_{gate}": 1.0 + step for step, prefix in enumerate(prefixes) for gate in "oifg"},
                {f"{prefix}h": 0.25 for prefix in prefixes},
                {gate: GateSaturation(0.1, 0.2) for gate in gates},
            ),
            clipped=None,
            update_ratio={**{f"{prefix}{name}": 0.01 for prefix in prefixes for name in "WUb"}, "V": None, "c": 0.02},
            step_size={},
        )
        for found in INSPECTIONS
    ]


def curves(ax: Axes) -> dict[str, list[float]]:
    """The curves with a name, by it."""
    found = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in ax.get_lines()}
    return {name: values for name, values in found.items() if not name.startswith("_") and values}


def test_the_gradients_norm_is_drawn_for_each_inspected_step_on_a_logarithmic_axis(drawn: Drawn) -> None:
    (ax,) = drawn(plots.gradient_flow, INSPECTIONS, seq_length=T).axes
    drawn_norms = [np.asarray(line.get_ydata()).tolist() for line in ax.get_lines()]
    for found in INSPECTIONS:
        assert found.dynamics.gradient_norms["h"].median in drawn_norms
    assert ax.get_yscale() == "log"
    assert ax.get_xlabel() == "Time steps back, k"
    assert "(nats)" in ax.get_ylabel()


def test_the_title_of_the_gradients_norm_says_how_far_back_it_reaches(drawn: Drawn) -> None:
    title = "After step 20,000, less than 1% of the gradient arrives 21 time steps back"  # 0.8^21 = 0.009
    assert title in texts(drawn(plots.gradient_flow, INSPECTIONS, seq_length=T))
    short = [make_inspection(1, lags=11)]
    title = "After step 1, 11% of the gradient arrives 10 time steps back"
    assert title in texts(drawn(plots.gradient_flow, short, seq_length=T))


def test_gradients_that_vanish_or_are_not_finite_are_drawn(drawn: Drawn) -> None:
    for values in ([1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, None, None], [None, None, None]):
        norms = GradientNorms([*values], [*values], [*values])
        found = replace(INSPECTIONS[0], dynamics=replace(INSPECTIONS[0].dynamics, gradient_norms={"h": norms}))
        title = texts(drawn(plots.gradient_flow, [found], seq_length=T))
        assert ("The gradient after step 1 is not finite" in title) == (values[1] is None or values[0] == 0)


def test_of_many_layers_the_lowest_and_the_highest_are_drawn(drawn: Drawn) -> None:
    figure = drawn(plots.gradient_flow, deep_inspections(), seq_length=T)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == [f"Gradient of {state}{layer}" for layer in ("", ", layer 11") for state in "hc"]
    radius, *_ = drawn(plots.dynamics, deep_inspections()).axes
    assert list(curves(radius)) == [f"{layer}W_{gate}" for layer in ("", "layer11.") for gate in "oifg"]


def test_the_dynamics_are_drawn_over_the_training_steps(drawn: Drawn) -> None:
    radius, saturation, ratio, step_size, clipped, _ = drawn(plots.dynamics, INSPECTIONS).axes
    assert curves(radius)["W"] == [found.dynamics.spectral_radius["W"] for found in INSPECTIONS]
    assert curves(saturation)["h"] == [10.0] * len(INSPECTIONS)  # percent
    assert curves(ratio) == {name: [found.update_ratio[name] for found in INSPECTIONS] for name in RNN}
    assert curves(step_size)["c"] == [0.02 / found.step for found in INSPECTIONS]
    assert curves(clipped) == {"share": [0.1] * len(INSPECTIONS)}
    for ax in (radius, saturation, ratio, step_size, clipped):
        assert ax.get_xlabel() == "Training step"
        assert ax.get_ylabel()


def test_dynamics_without_clipping_or_step_sizes_say_so(drawn: Drawn) -> None:
    said = texts(drawn(plots.dynamics, deep_inspections()))
    assert {"clipping by value is off", "the optimizer has none of each parameter"} <= set(said)


def test_a_training_that_was_not_inspected_has_figures_that_say_so(drawn: Drawn) -> None:
    nothing = "Nothing was inspected: train.inspect_every is 0."
    assert nothing in texts(drawn(plots.dynamics, []))
    assert nothing in texts(drawn(plots.gradient_flow, [], seq_length=T))


def test_the_quality_is_drawn_over_the_temperature_with_the_held_out_text_as_a_line(drawn: Drawn) -> None:
    figure = drawn(plots.quality, TEXT_QUALITY)
    words, ngrams, copies = figure.axes
    lines = [np.asarray(line.get_ydata()).tolist() for line in words.get_lines()]
    assert [80.0, 60.0] in lines  # percent
    assert [95.0, 95.0] in lines
    assert [40.0, 40.0] in [np.asarray(line.get_ydata()).tolist() for line in ngrams.get_lines()]
    assert [12.5, 12.5] in [np.asarray(line.get_ydata()).tolist() for line in copies.get_lines()]
    assert {ax.get_xlabel() for ax in figure.axes} == {"Temperature"}
    assert "At temperature 1, 60% of the words are known, 95% in held-out text" in texts(figure)


def test_a_text_without_words_or_held_out_text_has_a_figure_of_its_quality(drawn: Drawn) -> None:
    wordless = [replace(each, known_words=None, ngrams=[]) for each in TEXT_QUALITY.sampled]
    figure = drawn(plots.quality, TextQuality(900, wordless, None))
    assert "At temperature 1 no word is written" in texts(figure)


def test_a_quality_that_was_not_measured_has_a_figure_that_says_so(drawn: Drawn) -> None:
    (text,) = texts(drawn(plots.quality, TextQuality(0, [], None)))
    assert text == "No quality was measured: synthesize.quality_length is 0."


def test_eight_samples_are_shown_with_the_first_and_the_last(drawn: Drawn) -> None:
    samples = [Sample(step, 50.0, f"at {step}") for step in range(1, 42)]
    labels = [text for text in texts(drawn(plots.samples, samples)) if text.startswith("Step")]
    assert (len(labels), labels[0], labels[-1]) == (8, "Step 1", "Step 41")


def test_no_samples_make_a_page_that_says_so(drawn: Drawn) -> None:
    assert "No samples were taken: train.sample_every is 0." in texts(drawn(plots.samples, []))


def test_what_cannot_be_drawn_is_a_box_and_a_dollar_is_a_dollar(drawn: Drawn) -> None:
    text = "a\x00b\rc\x1b[0m 漢🙂\udc80 $\\frac{x}$ é\u202e\xa0ф"
    figure = drawn(plots.samples, [Sample(1, 106.2, text)])
    assert "a▯b▯c▯[0m ▯▯▯ $\\frac{x}$ é▯ ф" in texts(figure)


def test_long_lines_are_wrapped_and_long_samples_cut(drawn: Drawn) -> None:
    figure = drawn(plots.samples, [Sample(1, 106.2, "first\n\n" + "word " * 200)])
    lines = texts(figure)[texts(figure).index("first") :]
    assert lines[1].startswith("word word")  # the empty line holds no text
    assert (len(lines), lines[-1]) == (7, "…")
    assert max(map(len, lines)) <= 76


def test_an_empty_sample_keeps_its_label(drawn: Drawn) -> None:
    figure = drawn(plots.samples, [Sample(300, 98.04, "")])
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
        "summary": SUMMARY,
        "errors": gradient_check(),
        "reference": {},
        "baselines": BASELINES,
        "metrics": METRICS,
        "warnings": [],
        "samples": [],
        "text": "",
        "quality": QUALITY,
        "text_quality": TEXT_QUALITY,
        "evaluation": EVALUATION,
        "parameters": flatten(config().parameters()),
        "figures": dict.fromkeys(artifacts.FIGURES, b""),
    }
    return report.page(**(values | changes))


def test_the_page_holds_its_figures_and_asks_for_nothing(html: str) -> None:
    found = _Links(html)
    assert len(found.images) == 7
    assert {link for link in found.links if not link.startswith("#")} == {"explorer.html"}  # followed on a click alone
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
    assert "<script>alert(1)</script>␀␇$\\frac{ " in _Links(html).text


EVIL = "</pre></td><script>\x00\ud800"


@pytest.mark.parametrize(
    "changes",
    [
        {"text": EVIL},
        {"samples": [Sample(1, 106.2, EVIL)]},
        {"parameters": flatten(config().parameters()) | {"synthesize.prime": EVIL, EVIL: 1}},
        {"summary": replace(SUMMARY, path=EVIL, sha256=EVIL)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_no_value_can_break_out_of_the_page(changes: dict[str, Any]) -> None:
    html = page(**changes)
    assert "script" not in _Links(html).elements
    assert "&lt;/pre&gt;&lt;/td&gt;&lt;script&gt;" in html
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
    assert "not measured" in page(metrics=replace(METRICS, validation_bits_per_char=None))
    assert "not measured" not in page()


def test_every_link_within_the_page_leads_to_a_part_of_it(html: str) -> None:
    inside = [link.removeprefix("#") for link in _Links(html).links if link.startswith("#")]
    assert len(inside) >= 8
    assert [name for name in inside if f'id="{name}"' not in html] == []


def test_headings_have_no_gap_and_every_table_and_picture_has_words() -> None:
    text = page(reference=REFERENCE)
    levels = [int(level) for level in re.findall(r"<h(\d)", text)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert text.count("<table") == text.count("<caption>")
    assert text.count("<img") == len(re.findall(r'<img alt="[^"]{20,}"', text))


def test_the_page_says_at_its_top_between_which_models_the_network_lies() -> None:
    (said,) = re.findall(r'<p class="verdict">(.*?)</p>', page(), re.DOTALL)
    assert said == (
        "After 100,000 updates the network predicts text that it has not seen with 1.500 nats per character: between "
        "the 3-gram and the 4-gram."
    )


def test_without_a_validation_text_the_page_says_that_nothing_was_measured() -> None:
    metrics = replace(METRICS, best_step=None, best_validation_nats_per_char=None, validation_nats_per_char=None)
    nothing = replace(EVALUATION, carried=None, windows=None, by_position=[], by_kind=[], costliest=[])
    text = page(metrics=metrics, evaluation=nothing, baselines=Baselines([], 0, 0, []))
    (said,) = re.findall(r'<p class="verdict">(.*?)</p>', text, re.DOTALL)
    assert "1.653 nats per character, where the uniform model has 4.174; no text was held out" in said
    assert "Perplexity" not in text
    assert "No text was held out for validation" in text


def test_the_network_stands_among_the_baselines_by_its_loss() -> None:
    text = page()
    start = text.index('id="ranking"')
    rows = re.findall(r'<tr(?: class="own")?><th scope="row">(.*?)</th>', text[start : text.index("</table>", start)])
    assert rows == ["5-gram", "6-gram", "4-gram", "this network", "3-gram", "2-gram", "1-gram", "uniform"]


def test_an_evaluation_of_another_text_is_not_the_loss_on_the_validation_text() -> None:
    text = page(evaluation=replace(EVALUATION, text="data/other.txt"))
    assert "with 1.810 nats per character" in text  # the lowest that the training has measured
    assert "How the model predicts data/other.txt" in text


def quality_rows(html: str) -> list[list[str]]:
    """The cells of the table of the quality by temperature, its heads first."""
    start = html.index('id="quality"')
    rows = re.findall(r"<tr.*?</tr>", html[start : html.index("</table>", start)], re.DOTALL)
    cells = (re.findall(r"<t[hd].*?</t[hd]>", each, re.DOTALL) for each in rows)
    return [[" ".join(_Links(cell).text.split()) for cell in each] for each in cells]


def test_the_quality_stands_by_temperature_with_its_intervals_and_the_held_out_text_last() -> None:
    heads, *rows = quality_rows(page())
    assert heads == ["temperature", "known words", "new 4-grams", "new 8-grams", "new 12-grams", "longest copy"]
    assert [each[0] for each in rows] == ["0.5", "1.0", "held-out text"]
    assert rows[0][1] == "80.0 % 79.0–81.0"
    assert rows[2][1] == "95.0 % 94.0–96.0"
    assert rows[1][2] == "20.0 % 19.0–21.1"
    assert rows[1][5] == "12.5 11.0–14.0"


def test_what_a_passage_does_not_have_is_a_dash_in_the_table_of_the_quality() -> None:
    first, second = TEXT_QUALITY.sampled
    short = replace(second, known_words=None, ngrams=second.ngrams[:1])
    rows = quality_rows(page(text_quality=TextQuality(900, [first, short], None)))
    assert len(rows) == 3
    assert rows[2][1:] == ["–", "20.0 % 19.0–21.1", "–", "–", "12.5 11.0–14.0"]


@pytest.mark.parametrize(
    ("copy", "said"),
    [
        (Estimate(20, 18, 22), "the network has memorised parts of the training text"),
        (Estimate(8, 7, 9), "it invents more than it recites"),
        (Estimate(13, 10, 15), "it does not recite more than a text that nobody copied"),
    ],
    ids=["longer", "shorter", "alike"],
)
def test_the_page_says_whether_the_network_recites_or_invents(copy: Estimate, said: str) -> None:
    written = replace(TEXT_QUALITY.sampled[1], mean_longest_copy=copy)
    text = " ".join(_Links(page(text_quality=replace(TEXT_QUALITY, sampled=[written]))).text.split())
    assert (
        f"At temperature 1, the longest copy has {copy.value:.1f} characters of a passage on average, 12.5 in held-out "
        f"text: {said}, while 40% of its words are not in the training text, against 5% in held-out text."
    ) in text


def test_a_quality_that_was_not_measured_is_said_to_be_missing() -> None:
    said = "No quality by temperature was measured: synthesize.quality_length is 0."
    text = page(text_quality=TextQuality(0, [], None))
    assert said in text
    assert 'id="quality"' not in text
    assert said not in page()


def test_the_page_has_the_command_that_makes_it_again() -> None:
    parameters = flatten(config().parameters()) | {"synthesize.prime": "Once, 'twice'", "train.steps": 7}
    text = _Links(page(parameters=parameters)).text
    start = text.index("python -m charloom.experiment")
    command = text[start : text.index("sha256 of the text")].partition("What must be the same")[0]
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:3] == ["python", "-m", "charloom.experiment"]
    assert (
        load(words[3:]).parameters()
        == load(["train.steps=7", override("synthesize.prime", "Once, 'twice'")]).parameters()
    )


def test_a_failed_check_is_said_to_have_failed() -> None:
    assert '<span class="failed">failed</span>' in page(errors=gradient_check(passed=False))
    assert '<span class="failed">' not in page()


WARNING = TrainingWarning(50_000, "overfitting", "the validation loss has risen from its lowest to 2 < 3")


def test_a_warning_of_the_training_stands_on_the_page_in_a_line() -> None:
    assert "the validation loss has risen from its lowest to 2 &lt; 3." in page(warnings=[WARNING])
    assert "Warning" not in page()


@pytest.mark.parametrize(
    ("model", "best_step", "said"),
    [
        ("best", 90_000, "step 90,000, with the lowest validation loss"),
        ("best", None, "step 100,000, the last"),
        ("last", 90_000, "step 100,000, the last"),
    ],
)
def test_the_page_says_which_model_wrote_the_text(model: str, best_step: int | None, said: str) -> None:
    parameters = flatten(config().parameters()) | {"synthesize.model": model}
    assert f"Written by the model of {said}." in page(
        metrics=replace(METRICS, best_step=best_step), parameters=parameters
    )


def test_a_training_that_stopped_at_a_smooth_loss_is_said_to_have() -> None:
    assert "stopped at train.stop_at_smooth_loss" in page(metrics=replace(METRICS, stopped="smooth_loss"))
    assert "stopped at" not in page()


def test_the_table_has_the_figures_of_the_reference_where_there_is_one() -> None:
    with_reference, without = page(reference=REFERENCE), page()
    assert '<td class="reference">3.06e-7</td>' in with_reference
    assert '<td class="reference">–</td>' in with_reference  # at large weights
    assert "reference" not in without[without.index("<body>") :]


def columns(html: str) -> list[int]:
    """The columns of each row of the table of gradients."""
    start = html.index('<table class="numbers" id="gradient-errors">')
    table = html[start : html.index("</table>", start)]
    cells = [re.findall(r"<t[hd](?: [^>]*?)?(?:colspan=\"(\d+)\"[^>]*)?>", row) for row in table.split("<tr")[1:]]
    return [sum(int(span or 1) for span in spans) for spans in cells]


@pytest.mark.parametrize(("reference", "width"), [(REFERENCE, 9), ({}, 7)], ids=["reference", "none"])
def test_all_rows_of_the_table_have_the_same_columns(reference: dict[str, tuple[float, float]], width: int) -> None:
    assert columns(page(reference=reference)) == [width] * (2 + 2 * (1 + len(RNN)))


@pytest.mark.parametrize(
    ("overrides", "compared"),
    [([], True), (["model.cell=gru"], False), (["model.cell=lstm"], False), (["model.layers=2"], False)],
    ids=["rnn", "gru", "lstm", "two layers"],
)
def test_only_one_layer_of_the_plain_cell_is_compared_with_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], compared: bool
) -> None:
    figures = {name: Mock(return_value=b"") for name in plots.__all__}
    for name, figure in figures.items():
        monkeypatch.setattr(plots, name, figure)
    plot.run(load(), results(tmp_path / "inp", load(overrides)), tmp_path / "out")
    assert figures["gradient_errors"].call_args.kwargs == {"reference": REFERENCE if compared else {}}
    assert ("3.06e-7" in (tmp_path / "out/report.html").read_text(encoding="utf-8")) is compared


def test_the_template_is_part_of_an_installed_package(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True, text=True)
    with zipfile.ZipFile(tmp_path / done.stdout.splitlines()[-1]) as wheel:
        names = wheel.namelist()
    assert "charloom/adapters/report/report.html.jinja" in names
    sources = {
        f"charloom/adapters/explorer/{path.name}" for path in (ROOT / "src/charloom/adapters/explorer").iterdir()
    }
    assert {name for name in sources if not name.endswith("__pycache__")} <= set(names)
