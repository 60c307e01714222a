"""A small project with a result folder as the stages leave one, for tests of what reads it."""

import hashlib
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from charloom.adapters import tracking
from charloom.adapters.configuration import Config, TrackingConfig
from charloom.adapters.files import artifacts, corpus, parameters, snapshots
from charloom.adapters.files.formats import CHECKSUMS, Artifact, write_checksums
from charloom.core.common.headline import Headline
from charloom.core.common.quality_records import Estimate, NgramQuality, PassageQuality, TextQuality
from charloom.core.common.records import (
    Baselines,
    BaselineScore,
    Dynamics,
    ErrorRow,
    GradientErrors,
    GradientNorms,
    GroupLoss,
    HistoryRow,
    Inspection,
    MethodErrors,
    ModelEvaluation,
    Quality,
    Quartiles,
    Sample,
    Score,
    StepSizeError,
    Summary,
    TensorErrors,
    TrainingMetrics,
    TrainingWarning,
    WorstEntry,
)
from charloom.core.network import Network
from tests.project import ROOT, copy_configuration

if TYPE_CHECKING:
    from playwright.sync_api import Page

TENSORS = ("U", "W", "V", "b", "c")
ROWS = 300  # of the history; with their bits, more points than MLflow takes at once
SEQ_LENGTH = 25
MLFLOW_WARNINGS = [
    # MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    # MLflow's connections to a database live as long as the process.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
_CHROMIUM_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
EVALUATION = ModelEvaluation(
    characters=99,
    skipped=0,
    window=256,
    carried=Score.of(1.5),
    windows=Score.of(1.6),
    by_position=[GroupLoss("1", 1, 2.9, 0.02), GroupLoss("2", 1, 2.0, 0.01)],
    by_kind=[GroupLoss("lower-case letter", 80, 1.6, 0.86), GroupLoss("space", 19, 1.1, 0.14)],
    costliest=[GroupLoss("o", 10, 3.0, 0.2)],
    model="best",
    model_sha256="0" * 64,
    text=None,
)
BASELINES = Baselines(
    [BaselineScore.at_order(n, nats) for n, nats in enumerate((2.9, 2.6, 2.1, 1.7, 1.4, 1.3, 1.35))],
    characters=99,
    unseen=0,
    left_out=[],
)
# A picture of one pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc00000030101"
    "00c9fe92ef0000000049454e44ae426082"
)


@contextmanager
def browser_page(profile: Path, **options: Any) -> Iterator["Page"]:
    """A page of Chromium with a new profile in the folder `profile`, and these options of Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=_CHROMIUM_FLAGS.split(), **options
        )
        yield browser.pages[0]
        browser.close()


def enter_project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give `folder` this project's configuration, make it the working directory, and return it."""
    copy_configuration(folder)
    monkeypatch.chdir(folder)
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)
    return folder


def named_artifacts() -> list[Artifact]:
    """Every file that the schema of the stages' files names."""
    single = [value for value in vars(artifacts).values() if isinstance(value, Artifact)]
    return [*single, *artifacts.FIGURES.values(), *artifacts.PARAMETERS.values()]


def make_config(tracking: TrackingConfig | None = None, *, learning_rate: float = 0.1) -> Config:
    """The values of params.yaml, and the rate."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    values["optimizer"]["learning_rate"] = learning_rate
    values["model"]["register"] = None
    values["tracking"] = tracking or {"mode": "sqlite", "uri": None, "experiment": "charloom"}
    values["sweep"] = {"resume": None, "extend": False, "objective": "validation_nats_per_char", "plot": "best"}
    return Config.model_validate(values | {"inp": "artifacts", "out": "outputs"})


def seal(inp: Path) -> Path:
    """Let the files in the stage folders of `inp` be as their stages wrote them, and return it."""
    for folder in (path for path in inp.iterdir() if path.is_dir()):
        write_checksums(folder, [path.name for path in folder.iterdir() if path.name != CHECKSUMS])
    return inp


def prepare(path: Path, inp: Path, *, validation_fraction: float = 0.1) -> None:
    """What the prepare stage leaves of the text at `path` in the results folder `inp`."""
    out = inp / "prepare"
    corpus.prepare(path, out, encoding="utf-8", newline="universal", validation_fraction=validation_fraction)
    parameters.write("prepare", make_config().stage_parameters("prepare"), inp, out)
    artifacts.seal("prepare", out)


def set_parameters(config: Config, inp: Path) -> None:
    """Have every stage of a result made with these parameters."""
    for stage in artifacts.PARAMETERS:
        parameters.write(stage, config.stage_parameters(stage), inp, inp / stage)
        seal(inp)  # the next stage reads it


def record(config: Config, inp: Path, parent: Path | None = None) -> tracking.Recorded:
    """Record a result, as one that was made with these parameters, in MLflow, where tracking is on."""
    set_parameters(config, inp)
    recorded = tracking.record(config.tracking, inp, tracking.hash_result(inp), parent=parent)
    assert recorded is not None
    return recorded


def make_result(folder: Path) -> Path:
    """Fill `folder` with the files of every stage, and return it."""
    _prepare(folder / "prepare")
    artifacts.BASELINES.write(folder / "baseline", BASELINES)
    _gradcheck(folder / "gradcheck")
    _train(folder / "train")
    text = "the brown\nfôx quick " * 20
    artifacts.TEXT.write_bytes(folder / "synthesize", text.encode())
    artifacts.QUALITY.write(folder / "synthesize", Quality(len(text), 18, 80, 4, 0.875, 12))
    artifacts.EVALUATION.write(folder / "evaluate", EVALUATION)
    artifacts.TEXT_QUALITY.write(folder / "synthesize", TEXT_QUALITY)
    for figure in artifacts.FIGURES.values():
        figure.write_bytes(folder / "plot", PNG)
    artifacts.HEADLINE.write(folder / "plot", Headline(2.5, 2.0, 2.6, 65.0, 20, 12.0, 0.5, 8))
    artifacts.REPORT.write_bytes(folder / "plot", b"<!doctype html><title>report</title><p>All of it.</p>")
    artifacts.EXPLORER.write_bytes(folder / "plot", b"<!doctype html><title>explorer</title>")
    set_parameters(make_config(), folder)
    return folder


def make_passages(temperature: float | None, known: float) -> PassageQuality:
    """What may be found of passages of which this share of words is known."""
    estimate = Estimate(known, known - 0.01, known + 0.01)
    ngrams = [NgramQuality(n, Estimate(0.9, 0.8, 0.95), Estimate(n / 20, n / 21, n / 19)) for n in (4, 8, 12)]
    copy = Estimate(12.5, 11.0, 14.0)
    return PassageQuality(temperature, 40, 20_000, 4000, estimate, ngrams, copy, 18, "the quick\nbrown fôx")


TEXT_QUALITY = TextQuality(900, [make_passages(0.5, 0.8), make_passages(1.0, 0.6)], make_passages(None, 0.95))


def make_inspection(step: int, lags: int = 100) -> Inspection:
    """What a look inside a plain cell may find."""
    norms = [step**-0.1 * 0.8**lag for lag in range(lags)]
    return Inspection(
        step=step,
        dynamics=Dynamics(
            {"h": GradientNorms([norm / 3 for norm in norms], [*norms], [3 * norm for norm in norms])},
            spectral_radius={"W": 1.2 + step / 30_000},
            saturated={"h": 0.1},
            gates={},
        ),
        clipped=0.001,
        update_ratio={tensor: (1 + place) * step**-0.5 for place, tensor in enumerate(TENSORS)},
        step_size={tensor: Quartiles(0.01 / step, 0.02 / step, 0.05 / step) for tensor in TENSORS},
    )


def _prepare(out: Path) -> None:
    text = "the quick brown fox\n" * 50
    artifacts.VOCABULARY.write(out, sorted(set(text)))
    np.save(artifacts.IDS.path(out), np.zeros(len(text), np.uint8))
    summary = Summary(
        path="data/corpus.txt",
        encoding="utf-8",
        newline="universal",
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        characters=1000,
        vocabulary_size=18,
        train_characters=900,
        validation_characters=100,
    )
    artifacts.SUMMARY.write(out, summary)


def _gradcheck(out: Path) -> None:
    def errors(scale: float) -> dict[str, TensorErrors]:
        return {
            tensor: TensorErrors(
                max_absolute_error=scale * 1e-3 * (1 + place / 7),
                max_relative_error=scale * (1 + place / 3),
                max_scaled_error=scale * 1e-2,
                entries=100 * (1 + place),
                exact_zeros=place,
                worst=WorstEntry((place, 0), 1.0, 1.0),
            )
            for place, tensor in enumerate(TENSORS)
        }

    checks = {
        weights: MethodErrors(central=errors(2.71e-7 * factor), complex_step=errors(4.4e-14 * factor))
        for weights, factor in (("initial", 1), ("large", 3))
    }
    initial, large = checks.values()
    artifacts.ERRORS.write(out, GradientErrors(True, 1e-5, 1e-9, initial.central, initial.complex_step, large))
    rows = []
    for weights, check in checks.items():
        for method, tensors in (("central", check.central), ("complex_step", check.complex_step)):
            for tensor, found in tensors.items():
                figures = {key: value for key, value in asdict(found).items() if key != "worst"}
                rows.append(ErrorRow(weights, method, tensor, **figures))
    artifacts.ERROR_TABLE.write(out, rows)
    artifacts.STEP_SWEEP.write(out, [StepSizeError("central", 1e-05, "W", 2.7e-07)])


def _train(out: Path) -> None:
    history = []
    for row in range(1, ROWS + 1):
        smooth_loss = 38.2 + 34 * math.exp(-row / 60)
        validation = smooth_loss / SEQ_LENGTH + 0.1 if row % 100 == 0 else None
        history.append(HistoryRow(100 * row, row // 90, smooth_loss + math.sin(row), smooth_loss, validation))
    artifacts.HISTORY.write(out, history)
    np.savez(artifacts.MODEL.path(out), W=np.eye(3))
    network = Network(vocabulary_size=18, hidden_size=3, dtype=np.float64)
    snapshots.save(artifacts.SNAPSHOTS.path(out), network.sizes, [1, 10_000], [network.parameters] * 2)
    steps = (1, 10_000, 20_000, 30_000)
    artifacts.INSPECTIONS.write(out, [make_inspection(step) for step in steps])
    artifacts.WARNINGS.write(out, [TrainingWarning(20_000, "rising", "the loss has risen")])
    artifacts.SAMPLES.write(out, [Sample(step, 40.0, f"at {step}\nthe fôx\u2028quick") for step in steps])
    last = history[-1]
    metrics = TrainingMetrics(
        steps=last.step,
        epochs=last.epoch,
        loss=last.loss,
        smooth_loss=last.smooth_loss,
        nats_per_char=last.smooth_loss / SEQ_LENGTH,
        bits_per_char=last.smooth_loss / SEQ_LENGTH / math.log(2),
        validation_nats_per_char=None,
        validation_bits_per_char=None,
        best_step=None,
        best_validation_nats_per_char=None,
        stopped="steps",
    )
    artifacts.METRICS.write(out, metrics)
