"""The stages' files: what is written is what is read, and what is damaged is refused in one line."""

import json
import os
import subprocess
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charloom.adapters.files import artifacts
from charloom.adapters.files.formats import CHECKSUMS, Artifact, Csv, Json, JsonLines, Text
from charloom.core.common.errors import StateError
from charloom.core.common.headline import Headline
from charloom.core.common.quality_records import TextQuality
from charloom.core.common.records import (
    Baselines,
    BaselineScore,
    ErrorRow,
    GradientErrors,
    HistoryRow,
    MethodErrors,
    Quality,
    Result,
    Sample,
    StepSizeError,
    Summary,
    TensorErrors,
    TrainingMetrics,
    TrainingWarning,
    WorstEntry,
)
from tests.results import EVALUATION, make_inspection, make_passages, named_artifacts, seal

ROW = HistoryRow(step=100, epoch=1, loss=0.1, smooth_loss=float("inf"), validation_nats_per_char=None)
ERRORS = {"W": TensorErrors(1e-9, 2e-8, 3e-9, 16, 1, WorstEntry((0, 3), 0.5, 0.25))}
VALUES: dict[Artifact, Any] = {
    artifacts.VOCABULARY: ["\n", "a", "é", "\u2028", "𝄞"],
    artifacts.SUMMARY: Summary("data/corpus.txt", "utf-8", "universal", "ab12", 10, 5, 9, 1),
    artifacts.BASELINES: Baselines([BaselineScore.at_order(0, 0.5)], 9, 2, ["6-gram: too short"]),
    artifacts.ERRORS: GradientErrors(True, 1e-5, 1e-9, ERRORS, ERRORS, MethodErrors(ERRORS, ERRORS)),
    artifacts.ERROR_TABLE: [ErrorRow("initial", "central", "layer1.W", 1e-9, 2e-8, 3e-9, 16, 1)],
    artifacts.STEP_SWEEP: [StepSizeError("complex_step", 1e-20, "all", 1e-15)],
    artifacts.HISTORY: [ROW, replace(ROW, step=200, validation_nats_per_char=2.5)],
    artifacts.SAMPLES: [Sample(1, 100.5, 'a\r\n"é\u2028𝄞'), Sample(2, 99.0, "")],
    artifacts.WARNINGS: [TrainingWarning(300, "rising", "the loss has risen to 4")],
    artifacts.METRICS: TrainingMetrics(200, 1, 60.0, 61.5, 2.4, 3.5, None, None, None, None, "steps"),
    artifacts.INSPECTIONS: [replace(make_inspection(20, lags=2), clipped=None, update_ratio={"b": None})],
    artifacts.TEXT: "one\r\ntwo\u2028 é\n",
    artifacts.QUALITY: Quality(100, 20, 18, 12, 0.5, 7),
    artifacts.TEXT_QUALITY: TextQuality(9, [], replace(make_passages(None, 0.5), ngrams=[])),
    artifacts.EVALUATION: EVALUATION,
    artifacts.HEADLINE: Headline(2.5, None, 2.6, 65.0, 20, 12.0, 0.5, 8),
    artifacts.RESULT: Result("ab12", {"train/model.npz": "cd34"}),
}
every_file = pytest.mark.parametrize("file", VALUES, ids=lambda file: file.name)


@pytest.fixture
def inp(tmp_path: Path) -> Path:
    """A results folder with every file in VALUES."""
    for file in VALUES:
        write(file, tmp_path)
    return seal(tmp_path)


def write(file: Artifact, inp: Path) -> None:
    out = inp / file.stage
    if isinstance(file, Json | JsonLines | Csv):
        file.write(out, VALUES[file])
    else:
        file.write_bytes(out, VALUES[file].encode())


def replace_content(file: Artifact, inp: Path, content: bytes) -> None:
    """Let the file be one that its stage wrote with this content."""
    (inp / file.name).write_bytes(content)
    seal(inp)


def read(file: Artifact, inp: Path) -> Any:
    assert isinstance(file, Json | JsonLines | Csv | Text)
    return file.read(inp)


def refusal(file: Artifact, inp: Path) -> str:
    with pytest.raises(StateError) as raised:
        read(file, inp)
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith(f"{inp / file.name} is ")
    assert f"; run the {file.stage} stage " in message
    return message


def test_every_file_that_has_a_type_is_tested_here() -> None:
    named = [value for value in vars(artifacts).values() if isinstance(value, Json | JsonLines | Csv | Text)]
    assert named == list(VALUES)


@every_file
def test_what_is_written_is_what_is_read(inp: Path, file: Artifact) -> None:
    assert read(file, inp) == VALUES[file]
    assert sorted(path.name for path in (inp / file.stage).glob("*.tmp")) == []


numbers = st.floats(allow_nan=False)
rows = st.builds(HistoryRow, st.integers(0), st.integers(0), numbers, numbers, st.none() | numbers)


@settings(deadline=None)
@given(written=st.lists(rows))
def test_every_number_in_a_table_keeps_all_its_digits(
    tmp_path_factory: pytest.TempPathFactory, written: list[HistoryRow]
) -> None:
    inp = tmp_path_factory.mktemp("any")
    artifacts.HISTORY.write(inp / "train", written)
    seal(inp)
    assert artifacts.HISTORY.read(inp) == written


@settings(deadline=None)
@given(text=st.text(st.characters(codec="utf-8")))
def test_every_text_of_a_sample_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    inp = tmp_path_factory.mktemp("any")
    artifacts.SAMPLES.write(inp / "train", [Sample(1, 2.0, text)])
    seal(inp)
    assert artifacts.SAMPLES.read(inp) == [Sample(1, 2.0, text)]


def test_a_table_is_its_columns_and_a_line_for_each_row(inp: Path) -> None:
    assert (inp / "train/history.csv").read_text() == (
        "step,epoch,loss,smooth_loss,validation_nats_per_char\n100,1,0.1,inf,\n200,1,0.1,inf,2.5\n"
    )


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_holds_no_number_that_json_does_not_have(inp: Path, number: float) -> None:
    before = (inp / artifacts.METRICS.name).read_bytes()
    with pytest.raises(StateError, match="all numbers in a JSON file must be finite"):
        artifacts.METRICS.write(inp / "train", replace(VALUES[artifacts.METRICS], loss=number))
    assert (inp / artifacts.METRICS.name).read_bytes() == before


@every_file
def test_a_missing_file_is_refused_with_the_stage_that_writes_it(inp: Path, file: Artifact) -> None:
    (inp / file.name).unlink()
    assert refusal(file, inp) == (
        f"{inp / file.name} is missing; run the {file.stage} stage first, or name its folder with inp="
    )


@every_file
def test_a_file_that_is_not_utf_8_is_refused(inp: Path, file: Artifact) -> None:
    replace_content(file, inp, (inp / file.name).read_bytes()[:-3] + b"\xff\n")
    assert " is damaged (" in refusal(file, inp)


@every_file
def test_a_file_that_is_cut_short_is_refused_or_lacks_whole_lines(inp: Path, file: Artifact) -> None:
    whole = (inp / file.name).read_bytes()
    for length in [*range(0, len(whole) - 1, 7), len(whole) - 2]:
        replace_content(file, inp, whole[:length])
        if isinstance(file, Json) or not (isinstance(file, Text) or length == 0 or whole[:length].endswith(b"\n")):
            assert " is damaged (" in refusal(file, inp), length


@settings(deadline=None, max_examples=300)
@given(file=st.sampled_from(list(VALUES)), at=st.floats(0, 1, exclude_max=True), new=st.binary(max_size=4))
def test_whatever_replaces_a_byte_the_file_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, file: Artifact, at: float, new: bytes
) -> None:
    inp = tmp_path_factory.mktemp("any")
    write(file, inp)
    content = (inp / file.name).read_bytes()
    place = int(at * len(content))
    replace_content(file, inp, content[:place] + new + content[place + 1 :])
    try:
        read(file, inp)
    except StateError:
        refusal(file, inp)


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        (artifacts.METRICS, b"", "Invalid JSON: EOF while parsing a value"),
        (artifacts.METRICS, b"[1]\n", "Input should be an object"),
        (artifacts.METRICS, b"{}\n", "steps: Field required"),
        (artifacts.VOCABULARY, b'["a", 5]\n', "1: Input should be a valid string"),
        (artifacts.RESULT, b'{"result": "a", "files": {"a\\nb": 1}}', "files: a b: Input should be a valid string"),
        (artifacts.SAMPLES, b'{"step": "1", "smooth_loss": 1.0, "text": "a"}\n', "step: Input should be a valid int"),
        (artifacts.SAMPLES, b'{"step": 1, "smooth_loss": 1.0}\n', "text: Field required"),
        (artifacts.SAMPLES, b"\n", "Invalid JSON: EOF while parsing a value"),
        (artifacts.STEP_SWEEP, b"", "its columns must be method, step, tensor, max_relative_error, got none"),
        (artifacts.STEP_SWEEP, b"a,b\n1,2\n", "its columns must be method, step, tensor, max_relative_error, got a, b"),
    ],
)
def test_a_file_of_something_else_is_refused_with_what_was_expected(
    inp: Path, file: Artifact, content: bytes, problem: str
) -> None:
    replace_content(file, inp, content)
    assert f" is damaged ({problem}" in refusal(file, inp)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("100,1,0.1,0.2", "line 2 must have 5 cells, got 4"),
        ("100,1,0.1,0.2,,", "line 2 must have 5 cells, got 6"),
        ("", "line 2 must have 5 cells, got 0"),
        ("100,1,,0.2,", "loss: Input should be a valid number"),
        ("100,1,a,0.2,", "loss: Input should be a valid number"),
        ("1.5,1,0.1,0.2,", "step: Input should be a valid integer"),
        ('"100,1,0.1,0.2,', "unexpected end of data"),
    ],
)
def test_a_row_that_does_not_fit_its_table_is_refused(inp: Path, row: str, problem: str) -> None:
    columns = ",".join(field.name for field in fields(HistoryRow))
    replace_content(artifacts.HISTORY, inp, f"{columns}\n{row}\n".encode())
    assert f" is damaged ({problem}" in refusal(artifacts.HISTORY, inp)


def test_a_whole_number_is_read_where_a_fraction_may_stand(inp: Path) -> None:
    metrics = json.loads((inp / "train/metrics.json").read_text()) | {"loss": 60}
    replace_content(artifacts.METRICS, inp, json.dumps(metrics).encode())
    assert artifacts.METRICS.read(inp).loss == 60.0


def test_a_write_that_fails_leaves_the_old_file_and_no_other(inp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted((inp / "train").iterdir())

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        artifacts.HISTORY.write(inp / "train", [])
    assert artifacts.HISTORY.read(inp) == VALUES[artifacts.HISTORY]
    assert sorted((inp / "train").iterdir()) == before


@every_file
def test_another_content_than_the_one_that_was_written_is_refused(inp: Path, file: Artifact) -> None:
    path = inp / file.name
    whole = path.read_bytes()
    for place in range(0, 8 * len(whole), 13):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        assert refusal(file, inp).startswith(f"{path} is damaged (its sha256 must be the one in SHA256SUMS, got ")


def test_checksums_are_in_the_form_that_sha256sum_checks(inp: Path) -> None:
    done = subprocess.run(["sha256sum", "--check", "--strict", CHECKSUMS], cwd=inp / "train", capture_output=True)
    assert (done.returncode, done.stdout) == (
        0,
        b"history.csv: OK\ninspection.jsonl: OK\nmetrics.json: OK\nsamples.jsonl: OK\nwarnings.jsonl: OK\n",
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "there is no SHA256SUMS beside it"),
        (b"", "SHA256SUMS does not name it"),
        (b"%064d  other.csv\n" % 0, "SHA256SUMS does not name it"),
        (b"%064d  history.csv\n" % 0, "its sha256 must be the one in SHA256SUMS, got "),
        (b"%064d  history.csv" % 0, "it ends in the middle of a line"),
        (b"%064d history.csv\n" % 0, "SHA256SUMS must have a sha256, two spaces and another file on each line"),
        (b"%064d  ../train/history.csv\n" % 0, "SHA256SUMS must have a sha256"),
        (b"%064d  history.csv\n%064d  history.csv\n" % (0, 1), "SHA256SUMS must have a sha256"),
        (b"\xff" * 80 + b"\n", "'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_a_file_that_its_checksums_do_not_name_is_refused(inp: Path, content: bytes | None, problem: str) -> None:
    (inp / "train/SHA256SUMS").unlink()
    if content is not None:
        (inp / "train/SHA256SUMS").write_bytes(content)
    assert f" is damaged ({problem}" in refusal(artifacts.HISTORY, inp)


def test_a_damaged_file_of_another_stage_or_another_file_changes_nothing(inp: Path) -> None:
    (inp / "train/samples.jsonl").write_bytes(b"")
    (inp / "prepare/SHA256SUMS").write_bytes(b"")
    assert artifacts.HISTORY.read(inp) == VALUES[artifacts.HISTORY]


@pytest.mark.skipif(os.name != "posix", reason="kinds of files of POSIX")
def test_what_is_no_file_is_refused_at_once(inp: Path) -> None:
    path = inp / "train/history.csv"
    path.unlink()
    os.mkfifo(path)
    assert " is damaged (it must be a regular file, got a FIFO)" in refusal(artifacts.HISTORY, inp)
    path.unlink()
    path.mkdir()
    assert " is damaged (it must be a regular file, got a directory)" in refusal(artifacts.HISTORY, inp)
    path.rmdir()
    path.symlink_to("/dev/zero")
    assert " is damaged (it must be a regular file, got a device)" in refusal(artifacts.HISTORY, inp)


def test_every_file_is_among_those_that_the_stages_seal() -> None:
    assert sorted(file.name for file in artifacts.ALL) == sorted(file.name for file in named_artifacts())


def test_a_stage_that_left_a_file_out_is_not_sealed(inp: Path) -> None:
    (inp / "prepare/SHA256SUMS").unlink()
    with pytest.raises(FileNotFoundError, match=r"ids\.npy"):
        artifacts.seal("prepare", inp / "prepare")
    assert not (inp / "prepare/SHA256SUMS").exists()
