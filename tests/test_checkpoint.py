"""Files that are whole or refused: what a kill, a full disk, a flipped bit or a forger can do to them."""

import io
import json
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charloom
from charloom.adapters.files import archive, models
from charloom.core.cells import CELLS
from charloom.core.common.errors import StateError
from charloom.core.common.types import Array
from charloom.core.network.model import Model
from charloom.core.network.network import Network
from charloom.core.text.vocabulary import Vocabulary

VALUES = {"step": 12, "smooth_loss": 41.25, "name": "é", "generators": [{"state": 2**100}]}


def some_arrays() -> dict[str, Array]:
    rng = np.random.default_rng(1)
    return {
        "W": rng.normal(size=(4, 4)),
        "b": rng.normal(size=4).astype(np.float32),
        "U": rng.normal(size=(3, 4)).T,  # not contiguous by rows
        "layer1.W": np.array([[np.nan, np.inf]]),
        "ids": np.arange(5, dtype=np.uint8),
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "archive.npz"
    archive.save(path, "checkpoint", some_arrays(), VALUES)
    return path


def refusal(path: Path, kind: str = "checkpoint") -> str:
    with pytest.raises(StateError) as raised:
        archive.load(path, kind)
    message = str(raised.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def assert_same(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_arrays_and_values_come_back_as_they_were(path: Path) -> None:
    arrays, values = archive.load(path, "checkpoint")
    assert_same(arrays, some_arrays())
    assert values == VALUES


def test_a_number_that_json_does_not_have_is_not_written_but_read_from_older_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, values = tmp_path / "a.npz", {"loss": float("nan"), "best": float("inf")}
    with pytest.raises(StateError, match="all numbers in a JSON file must be finite"):
        archive.save(path, "checkpoint", {}, values)
    assert not path.exists()
    monkeypatch.setattr(archive, "to_json", json.dumps)
    archive.save(path, "checkpoint", {}, values)
    _, loaded = archive.load(path, "checkpoint")
    assert np.isnan(loaded["loss"])
    assert loaded["best"] == float("inf")


def test_a_generators_state_comes_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rng.normal(size=3)
    archive.save(tmp_path / "a.npz", "checkpoint", {}, {"rng": rng.bit_generator.state})
    other = np.random.default_rng()
    other.bit_generator.state = archive.load(tmp_path / "a.npz", "checkpoint")[1]["rng"]
    assert other.normal() == rng.normal()


def test_the_same_content_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    archive.save(tmp_path / "again.npz", "checkpoint", some_arrays(), VALUES)
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_numpy_alone_can_read_the_arrays(path: Path) -> None:
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["W"], some_arrays()["W"])


def test_saving_makes_the_folders_that_are_missing(tmp_path: Path) -> None:
    archive.save(tmp_path / "a" / "b" / "c.npz", "model", some_arrays(), VALUES)
    assert_same(archive.load(tmp_path / "a" / "b" / "c.npz", "model")[0], some_arrays())


def test_every_truncation_is_refused(path: Path) -> None:
    content = path.read_bytes()
    for length in [*range(0, len(content), 7), *range(len(content) - 30, len(content))]:
        path.write_bytes(content[:length])
        assert "is not a whole checkpoint file" in refusal(path)


def test_a_flipped_bit_is_refused_or_changes_nothing(path: Path) -> None:
    content = path.read_bytes()
    refused = 0
    for at in random.Random(1).sample(range(8 * len(content)), 1500):
        flipped = bytearray(content)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        try:
            arrays, values = archive.load(path, "checkpoint")
        except StateError:
            refused += 1
        else:  # a bit without a meaning, such as one of a member's time
            assert_same(arrays, some_arrays())
            assert values == VALUES
    assert refused > 1000


def test_a_flipped_bit_anywhere_in_an_array_is_refused(path: Path) -> None:
    content = path.read_bytes()
    W = some_arrays()["W"].tobytes()
    start = content.index(W)
    for at in range(8 * start, 8 * (start + len(W)), 13):
        flipped = bytearray(content)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        assert "is not a whole checkpoint file (Bad CRC-32" in refusal(path)


def test_a_bit_that_calls_a_member_encrypted_is_refused(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert "is not a whole checkpoint file" in refusal(path)


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"not a zip file", b"\x93NUMPY\x01\x00", b"\x80\x04N.", b"PK\x05\x06" + bytes(18)]
)
def test_a_file_of_something_else_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "is not a whole checkpoint file" in refusal(path)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def forge(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """A zip file of which all check sums are right."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in content.items():
            file.writestr(name, data)


def as_npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def forge_metadata(path: Path, **changes: Any) -> None:
    content = members(path)
    metadata = json.loads(np.load(io.BytesIO(content["metadata.npy"])).tobytes())
    text = json.dumps({**metadata, **changes}).encode()
    forge(path, {**content, "metadata.npy": as_npy(np.frombuffer(text, np.uint8))})


def test_a_forged_copy_without_a_change_is_read(path: Path) -> None:
    forge(path, members(path))
    assert archive.load(path, "checkpoint")[1] == VALUES


def test_another_array_than_the_one_that_was_written_is_refused(path: Path) -> None:
    forge(path, {**members(path), "W.npy": as_npy(np.zeros((4, 4)))})
    assert refusal(path).endswith("does not match its own sha256; take another copy or train again")


def test_an_array_that_was_taken_out_is_refused(path: Path) -> None:
    content = members(path)
    del content["W.npy"]
    forge(path, content)
    assert "does not match its own sha256" in refusal(path)


def test_another_value_than_the_one_that_was_written_is_refused(path: Path) -> None:
    forge_metadata(path, values={**VALUES, "step": 13})
    assert "does not match its own sha256" in refusal(path)


def test_a_newer_format_is_refused_with_both_numbers(path: Path) -> None:
    own = archive.FORMATS["checkpoint"]
    forge_metadata(path, format=own + 1)
    assert refusal(path) == f"{path} has format {own + 1}, and this version reads format {own}; upgrade charloom"


def test_a_newer_format_is_refused_whatever_its_values_are(path: Path) -> None:
    forge_metadata(path, format=archive.FORMATS["checkpoint"] + 1, values=None, sha256=None)
    assert refusal(path).endswith("; upgrade charloom")


def test_another_kind_is_refused(path: Path) -> None:
    assert refusal(path, "model") == f"{path} holds a checkpoint, not a model"


@pytest.mark.parametrize("change", [{"values": None}, {"sha256": None}])
def test_metadata_without_a_value_are_refused(path: Path, change: dict[str, Any]) -> None:
    forge_metadata(path, **change)
    refusal(path)


def test_a_file_without_metadata_is_refused(path: Path) -> None:
    np.savez(path, W=np.zeros(3))
    assert "is not a whole checkpoint file" in refusal(path)


def test_a_member_that_is_no_array_is_refused(path: Path) -> None:
    forge(path, {**members(path), "W.npy": b"text"})
    assert "is not a whole checkpoint file" in refusal(path)


def test_a_pickle_is_refused_unread(path: Path) -> None:
    forge(path, {**members(path), "W.npy": as_npy(np.array([{}], dtype=object))})
    assert "cannot create an OBJECT array from memory buffer" in refusal(path)


def test_a_file_that_expands_to_more_than_its_size_is_refused_before_anything_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge(path, {**members(path), "W.npy": as_npy(np.zeros(1_000_000))}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 20_000

    def forbidden(*arguments: Any, **options: Any) -> None:
        raise AssertionError("the file was read")

    monkeypatch.setattr(zipfile.ZipFile, "read", forbidden)
    assert "promises 8001" in refusal(path)


def test_a_forged_huge_entry_is_refused_before_anything_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02") + 24  # the uncompressed size of the first entry in the directory
    content[at : at + 4] = (0xFFFFFFFE).to_bytes(4, "little")
    path.write_bytes(content)

    def forbidden(*arguments: Any, **options: Any) -> None:
        raise AssertionError("the file was read")

    monkeypatch.setattr(zipfile.ZipFile, "read", forbidden)
    assert f"in a file of {len(content)}" in refusal(path)


def test_an_array_whose_own_header_promises_a_petabyte_is_refused(path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**14,)})
    forge(path, {**members(path), "W.npy": header.getvalue() + bytes(64)})
    assert "is not a whole checkpoint file" in refusal(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.npz").endswith("run the train stage first")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert "is not a whole checkpoint file (it must be a regular file, got a directory)" in refusal(tmp_path)


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_write_that_fails_leaves_the_old_file_whole_and_no_other(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = path.read_bytes()

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left on device"):
        archive.save(path, "checkpoint", {"W": np.zeros(9)}, {})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupt_while_writing_leaves_the_old_file_whole_and_no_other(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def interrupt(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np.lib.format, "write_array", interrupt)
    with pytest.raises(KeyboardInterrupt):
        archive.save(path, "checkpoint", {"W": np.zeros(9)}, {})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def noting(calls: list[str], name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*given: Any) -> Any:
        calls.append(name)
        return real(*given)

    return noted


def test_a_file_is_on_disk_before_it_replaces_the_old_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noting(calls, name, getattr(os, name)))
    archive.save(path, "checkpoint", some_arrays(), VALUES)
    assert calls[:2] == ["fsync", "replace"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_saved_file_may_be_read_by_everyone(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o644


def a_model(cell: str = "rnn", layers: int = 1) -> Model:
    network = Network(vocabulary_size=3, hidden_size=4, cell=cell, layers=layers, dtype=np.float64)
    network.initialize(0.5, rng=np.random.default_rng(1))
    return Model(network, Vocabulary("abc"))


def save_changed(path: Path, arrays: dict[str, Array | None], values: dict[str, Any]) -> None:
    """An undamaged file of an impossible model."""
    models.save(a_model(), path)
    own_arrays, own_values = archive.load(path, "model")
    changed = {name: array for name, array in {**own_arrays, **arrays}.items() if array is not None}
    kept = {name: value for name, value in {**own_values, **values}.items() if value is not ...}
    archive.save(path, "model", changed, kept)


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("layers", [1, 3])
def test_a_model_comes_back_with_its_sizes_parameters_and_vocabulary(tmp_path: Path, cell: str, layers: int) -> None:
    model = a_model(cell, layers)
    models.save(model, tmp_path / "model.npz")
    loaded = charloom.load(tmp_path / "model.npz")
    assert loaded.vocabulary == model.vocabulary
    assert loaded.network.sizes == model.network.sizes
    np.testing.assert_array_equal(loaded.network.parameters.vector, model.network.parameters.vector)


@pytest.mark.parametrize(
    ("arrays", "values", "message"),
    [
        ({"W": np.zeros((4, 5))}, {}, r"W is \[4, 5\] where a network of its sizes has \[4, 4\]"),
        ({"c": None}, {}, r"c is missing where a network of its sizes has \[3\]"),
        ({}, {"hidden_size": 5}, r"W is \[4, 4\] where a network of its sizes has \[5, 5\]"),
        ({}, {"layers": 2}, r"layer1\.W is missing where a network of its sizes has \[4, 4\]"),
        ({}, {"vocabulary": "abcd"}, "the network must have K = 4 for this vocabulary, got 3"),
        ({}, {"cell": "perceptron"}, "has the cell 'perceptron'; this version has rnn"),
        ({}, {"cell": ...}, "does not say what network it holds"),
        ({}, {"dtype": "no such type"}, "does not say what network it holds"),
        ({}, {"colour": "blue"}, "does not say what network it holds"),
        ({}, {"layers": 0}, r"does not say what network it holds \(layers: Input should be greater than 0\)"),
        ({}, {"layers": True}, "does not say what network it holds"),
        ({}, {"layers": 10**12}, "a network of 1000000000000 layers must have more arrays, got 5"),
        ({}, {"hidden_size": 10**30}, "W is "),
        ({}, {"dtype": "complex128"}, "does not say what network it holds"),
        ({}, {"dtype": "float32"}, "W must be float32, got float64"),
        ({}, {"vocabulary": "aab"}, "the vocabulary must be distinct characters in order"),
        ({}, {"vocabulary": "ab\ud800"}, "the vocabulary must be distinct characters in order"),
        ({"W": np.zeros((4, 4), np.int8)}, {}, "W must be float64, got int8"),
        ({"W": np.full((4, 4), np.nan)}, {}, "W must be finite, got NaN or infinity"),
        ({"layer1.W": np.zeros((4, 4))}, {}, r"a network of its sizes has no 'layer1\.W'"),
    ],
)
def test_a_model_file_of_other_shapes_is_refused(
    tmp_path: Path, arrays: dict[str, Array | None], values: dict[str, Any], message: str
) -> None:
    path = tmp_path / "model.npz"
    save_changed(path, arrays, values)
    with pytest.raises(StateError, match=message):
        charloom.load(path)


def test_a_checkpoint_is_not_a_model(path: Path) -> None:
    with pytest.raises(StateError, match="holds a checkpoint, not a model"):
        charloom.load(path)


def test_a_vocabulary_of_another_size_than_the_networks_is_refused() -> None:
    with pytest.raises(StateError, match="the network must have K = 2 for this vocabulary, got 3"):
        Model(a_model().network, Vocabulary("ab"))
