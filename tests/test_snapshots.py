"""The snapshots of a training: at which steps they are taken, how many are kept, and what becomes of damaged ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charloom.adapters.files import archive, models, snapshots
from charloom.core.common.errors import StateError
from charloom.core.network import Network
from charloom.core.training.inspection import is_inspected, snapshot_limit, snapshot_steps
from tests.project import Project

SIZES: dict[str, Any] = {"vocabulary_size": 3, "hidden_size": 2, "cell": "gru", "layers": 2}
SHORT = ("preset=smoke", "train.steps=60", "train.inspect_every=20", "train.checkpoint_every=20")


def test_a_training_keeps_its_parameters_at_the_inspected_steps_and_the_last(prepared: Project) -> None:
    prepared.stage("train", "preset=smoke", "train.steps=45", "train.inspect_every=20")
    found = snapshots.load(prepared.root / "artifacts/train/snapshots.npz")
    assert found.steps.tolist() == [1, 10, 20, 40, 45]
    last = models.load(prepared.root / "artifacts/train/model.npz").network.parameters
    for name, array in found.parameters.items():
        np.testing.assert_array_equal(array[-1], last[name].astype(np.float32))
        assert (array[0] != array[1]).any()


def test_snapshots_in_between_are_those_of_a_training_that_ends_there(prepared: Project) -> None:
    ended = prepared.copy_to(prepared.root.with_name("ended"))
    prepared.stage("train", *SHORT)
    ended.stage("train", *SHORT, "train.steps=20")
    longer, shorter = (
        snapshots.load(project.root / "artifacts/train/snapshots.npz").parameters for project in (prepared, ended)
    )
    assert all((longer[name][2] == array[2]).all() for name, array in shorter.items())


def test_a_training_that_is_killed_while_snapshots_are_left_out_ends_with_the_same(
    prepared: Project, tmp_path: Path
) -> None:
    many = ("preset=smoke", "train.steps=300", "train.inspect_every=2", "train.checkpoint_every=100")
    expected = prepared.hash_training(tmp_path, *many)
    prepared.train_until_killed(100, *many)
    prepared.stage("train", *many)
    assert prepared.hashes() == expected
    steps = snapshots.load(prepared.root / "artifacts/train/snapshots.npz").steps
    assert steps.tolist() == [1, *range(8, 300, 8), 300]


def test_a_training_without_inspections_keeps_no_snapshots(prepared: Project) -> None:
    prepared.stage("train", *SHORT, "train.inspect_every=0")
    found = snapshots.load(prepared.root / "artifacts/train/snapshots.npz")
    assert {name: len(array) for name, array in found.parameters.items()} == dict.fromkeys("WUbVc", 0)
    assert found.steps.tolist() == []


def test_a_damaged_snapshot_ends_the_training_in_a_line_with_its_model_written(prepared: Project) -> None:
    prepared.train_until_killed(40, *SHORT)
    (snapshot,) = prepared.folder().glob("snapshot-*10.npz")
    snapshot.write_bytes(snapshot.read_bytes()[:-9])
    ended = prepared.try_stage("train", "out=artifacts/train", *SHORT)
    ended.assert_one_error(4, "snapshot-000000000010.npz is not a whole snapshot file", "or remove")
    assert models.load(prepared.root / "artifacts/train/model.npz").network.hidden_size == 16


@given(every=st.integers(1, 300), last=st.integers(1, 5000))
def test_without_a_limit_every_inspected_step_is_kept(every: int, last: int) -> None:
    assert snapshot_steps(last, every, limit=10_000) == [n for n in range(1, last + 1) if is_inspected(n, every)]


@given(every=st.integers(1, 300), last=st.integers(1, 5000), limit=st.integers(1, 64))
def test_a_limit_holds_and_a_snapshot_that_is_left_out_is_never_wanted_again(every: int, last: int, limit: int) -> None:
    now, later = snapshot_steps(last, every, limit), snapshot_steps(2 * last, every, limit)
    assert len(now) <= limit
    assert {step for step in later if step <= last} <= set(now)


def test_all_snapshots_together_have_64_megabytes_at_most() -> None:
    assert 4 * 3_000_000 * snapshot_limit(3_000_000) <= 64_000_000 < 4 * 3_000_000 * (snapshot_limit(3_000_000) + 1)


def a_file(path: Path) -> Path:
    network = Network(**SIZES, dtype=np.float64)
    network.initialize(0.5, rng=np.random.default_rng(1))
    snapshots.save(path, network.sizes, [1, 10], iter([network.parameters] * 2))
    return path


def test_snapshots_come_back_in_float32(tmp_path: Path) -> None:
    found = snapshots.load(a_file(tmp_path / "snapshots.npz"))
    assert found.steps.tolist() == [1, 10]
    assert {name: (array.shape, array.dtype.name) for name, array in found.parameters.items()} == {
        name: ((2, *shape), "float32") for name, shape in Network.shapes(**SIZES).items()
    }
    assert found.parameters["layer1.U"].any()


@pytest.mark.parametrize(
    ("arrays", "values"),
    [
        ({"c": np.zeros((2, 3))}, {}),
        ({"c": np.zeros((1, 3), np.float32)}, {}),
        ({"d": np.zeros((2, 3), np.float32)}, {}),
        ({"steps": np.zeros(2, np.float32)}, {}),
        ({"steps": np.zeros(3, np.int64)}, {}),
        ({}, {"network": {**SIZES, "hidden_size": 3}}),
    ],
)
def test_snapshots_that_do_not_fit_their_network_are_refused(
    tmp_path: Path, arrays: dict[str, Any], values: dict[str, Any]
) -> None:
    own_arrays, own_values = archive.load(a_file(tmp_path / "own.npz"), "snapshots")
    archive.save(tmp_path / "changed.npz", "snapshots", own_arrays | arrays, own_values | values)
    with pytest.raises(StateError, match=r"changed\.npz must hold \d snapshots of each parameter of its network"):
        snapshots.load(tmp_path / "changed.npz")


@pytest.mark.parametrize(
    "values", [{}, {"network": 3}, {"network": {"cell": "rnn"}}, {"network": {**SIZES, "cell": 1}}]
)
def test_snapshots_that_do_not_name_their_network_are_refused(tmp_path: Path, values: dict[str, Any]) -> None:
    archive.save(tmp_path / "a.npz", "snapshots", {}, values)
    with pytest.raises(StateError, match="does not say what network it is of"):
        snapshots.load(tmp_path / "a.npz")
