"""What a person sees of a training that goes wrong: lines while it runs, the exit code, the advice, the results."""

import json
import re
from pathlib import Path

import pytest

from charloom.adapters.configuration import advice, load
from charloom.adapters.files import archive, artifacts
from charloom.adapters.files.corpus import Corpus
from charloom.core.common.records import Summary
from charloom.core.text import Vocabulary
from charloom.stages import recorder
from tests.project import ROOT, Project, checkpoint_step

BOLD = ("optimizer=sgd", "optimizer.learning_rate=5", "optimizer.clip_norm=null", "train.sample_every=0")
SMALL = ("model.hidden_size=16", "train.sample_every=0", "train.validate_every=0")
OVERFITTING = (
    "model=gru",
    "model.hidden_size=64",
    "optimizer=adam",
    "optimizer.learning_rate=0.02",
    "train.batch_size=8",
    "train.steps=500",
    "train.validate_every=50",
    "train.sample_every=0",
)
STATE, CONFIGURATION = 4, 2


def warnings(errors: str) -> list[str]:
    return [line for line in errors.splitlines() if line.startswith("charloom: warning:")]


def test_a_training_that_diverges_ends_with_what_to_try_and_no_result(prepared: Project) -> None:
    ended = prepared.try_stage("train", *BOLD, *SMALL, "out=artifacts/train")
    line = ended.assert_one_error(
        STATE, "the training has diverged: its loss must fall below that of the uniform model", "at step 500"
    )
    assert line.endswith("lower optimizer.learning_rate (5) and set optimizer.clip_norm, which is off, to 1.0 or so")
    assert prepared.files("artifacts/train") == {}


def test_the_checkpoint_from_before_a_divergence_is_kept_and_named(prepared: Project) -> None:
    rising = (*SMALL, *BOLD, "optimizer.learning_rate=8", "optimizer.warmup_steps=20000", "train.checkpoint_every=10")
    for _ in range(2):  # the second goes on from the checkpoint
        ended = prepared.try_stage("train", *rising, "out=artifacts/train")
        kept = prepared.checkpoints()[-1]
        line = ended.assert_one_error(STATE, "the training has diverged", f"the checkpoint {kept} is from before")
        found = re.search(r"model, ([\d.]+) nats .* at step ([\d,]+);", line)
        assert found
        assert checkpoint_step(kept) <= int(found[2].replace(",", "")) - 400
        values = archive.load(kept, "checkpoint")[1]
        assert values["smooth_loss"] < 1.5 * float(found[1])
    assert "going on from step" in ended.errors


def test_an_overfitting_is_told_once_and_stands_in_the_results(prepared: Project) -> None:
    ended = prepared.stage("train", *OVERFITTING)
    (line,) = warnings(ended.errors)
    assert re.search(r"has risen from its lowest, [\d.]+ nats per character at step \d+, to [\d.]+ at step \d+;", line)
    (found,) = artifacts.WARNINGS.read(prepared.root / "artifacts")
    assert f"charloom: warning: {found.message}" == line
    assert "best.npz keeps the model with the lowest; train.patience ends" in found.message

    metrics = artifacts.METRICS.read(prepared.root / "artifacts")
    assert metrics.best_step is not None
    assert metrics.best_step < metrics.steps
    written = prepared.stage("synthesize", "synthesize.length=20")
    assert f"writing with the model of step {metrics.best_step:,}, with the lowest validation loss" in written.errors
    last = prepared.stage("synthesize", "synthesize.length=20", "synthesize.model=last")
    assert "writing with the model of step 500, the last" in last.errors


def test_an_overfitting_is_found_by_a_training_that_is_killed_and_resumed(prepared: Project, tmp_path: Path) -> None:
    expected = prepared.hash_training(tmp_path, *OVERFITTING, "train.checkpoint_every=100")
    prepared.train_until_killed(300, *OVERFITTING, "train.checkpoint_every=100")
    prepared.stage("train", *OVERFITTING, "train.checkpoint_every=100")
    assert prepared.hashes() == expected
    assert len(artifacts.WARNINGS.read(prepared.root / "artifacts")) == 1


def test_each_validation_is_a_line_with_the_lowest_to_date_where_there_is_no_terminal(prepared: Project) -> None:
    ended = prepared.stage("train", "preset=smoke", "train.validate_every=50")
    lines = [line for line in ended.errors.splitlines() if "validation" in line]
    rows = [row for row in artifacts.HISTORY.read(prepared.root / "artifacts") if row.validation_nats_per_char]
    assert len(lines) == len(rows) == 6
    lowest = min(rows, key=lambda row: row.validation_nats_per_char or 0)
    assert lines[-1] == (
        f"step 300: validation {rows[-1].validation_nats_per_char:#.4g} nats/character, "
        f"lowest {lowest.validation_nats_per_char:#.4g} at step {lowest.step}"
    )


def test_validations_that_follow_one_another_fast_are_not_all_told(prepared: Project) -> None:
    ended = prepared.stage("train", "preset=smoke", "train.validate_every=1", "train.steps=60")
    lines = [line for line in ended.errors.splitlines() if "validation" in line]
    assert 20 <= len(lines) < 60


PRESETS = sorted(path.stem for path in (ROOT / "conf/preset").glob("*.yaml"))


@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_is_warned_of(prepared: Project, preset: str) -> None:
    few = ("train.steps=160", "model.hidden_size=32", "train.max_seconds=null", "kernels=portable", "train.workers=1")
    ended = prepared.stage("train", f"preset={preset}", *few, "train.final_sample_length=10")
    assert warnings(ended.errors) == []
    assert artifacts.WARNINGS.read(prepared.root / "artifacts") == []


def test_a_training_without_time_makes_one_update(prepared: Project) -> None:
    prepared.stage("train", "preset=smoke", "train.max_seconds=1e-9")
    text = (prepared.root / "artifacts/train/metrics.json").read_text(encoding="utf-8")
    metrics = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert (metrics["steps"], metrics["stopped"], metrics["best_step"]) == (1, "max_seconds", 1)
    assert metrics["smooth_loss"] > 0


def test_a_training_that_was_out_of_time_when_it_was_killed_only_writes_its_result(prepared: Project) -> None:
    prepared.train_until_killed(1, "preset=smoke", "train.max_seconds=1e-9")
    ended = prepared.stage("train", "preset=smoke", "train.max_seconds=1e-9")
    assert "going on from step 1 " in ended.errors
    metrics = artifacts.METRICS.read(prepared.root / "artifacts")
    assert (metrics.steps, metrics.stopped) == (1, "max_seconds")


@pytest.mark.parametrize(
    ("key", "value"),
    [("optimizer.epsilon", "1e-50"), ("optimizer.learning_rate", "1e-50"), ("model.init_scale", "1e308")],
)
def test_a_number_that_float32_cannot_hold_is_refused_by_its_key(prepared: Project, key: str, value: str) -> None:
    ended = prepared.try_stage("train", "model.dtype=float32", f"{key}={value}")
    assert ended.assert_one_error(CONFIGURATION, f"got {value.replace('e308', 'e+308')}").startswith(
        f"charloom: error: {key} must be "
    )


def test_weights_that_start_too_large_for_the_uniform_model_are_warned_of(prepared: Project) -> None:
    ended = prepared.stage("train", *SMALL, "model.init_scale=1e9", "train.steps=500")
    found = warnings(ended.errors)
    assert found
    assert all("lower model.init_scale (1e+09)" in line for line in found)


def test_the_advice_says_what_is_off_and_names_no_key_that_is_in_use_already() -> None:
    clipped, patient = load([]), load(["train.patience=3"])
    assert advice.on_divergence(clipped, started_high=False) == "lower optimizer.learning_rate (0.1)"
    assert advice.on_divergence(clipped, started_high=True) == "lower model.init_scale (0.01)"
    assert "train.patience" not in advice.on_warning("overfitting", patient, started_high=False, unseen=0)
    assert "lower optimizer.learning_rate (0.1)" in advice.on_warning("rising", clipped, started_high=False, unseen=0)


def test_characters_that_only_the_validation_text_has_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_PIECE", 3)
    vocabulary = Vocabulary("abcd")
    training, validation = (vocabulary.encode(text).astype("uint8") for text in ("abababa", "abccdab"))
    summary = Summary("a", "utf-8", "keep", "", 14, 4, 7, 7)
    unseen = recorder._count_unseen(Corpus(vocabulary, training, validation, summary, {}))
    assert unseen == 3
    said = advice.on_warning("overfitting", load([]), started_high=False, unseen=unseen)
    assert said == "3 of its characters are not in the training text, and theirs rises whatever is learned"


def test_everything_that_is_written_as_json_is_json(prepared: Project) -> None:
    prepared.train_until_killed(100, "preset=smoke", "train.validate_every=0")
    texts = [prepared.folder() / "history.jsonl"]
    prepared_lines = texts[0].read_text(encoding="utf-8").splitlines()

    def refuse(name: str) -> None:
        pytest.fail(f"{name} is not JSON")

    _, values = archive.load(prepared.checkpoints()[-1], "checkpoint")
    assert values["best_validation"] is None
    for line in prepared_lines:
        json.loads(line, parse_constant=refuse)
    prepared.stage("train", "preset=smoke", "train.validate_every=0")
    for path in (prepared.root / "artifacts").rglob("*.json*"):
        for line in path.read_text(encoding="utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
            json.loads(line, parse_constant=refuse)
