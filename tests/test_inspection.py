"""What a look inside a training finds, and that the training does not notice it."""

from typing import Any

import numpy as np
import pytest

from charloom.adapters.files import artifacts
from charloom.core.common.records import Quartiles
from charloom.core.network import Dropout, Network
from charloom.core.training import OPTIMIZERS, Training, WorkerPool
from charloom.core.training.inspection import inspect
from tests.project import Project

IDS = np.random.default_rng(2).integers(0, 4, 200).astype(np.uint8)
OPTIONS: dict[str, dict[str, float]] = {
    "adagrad": {"epsilon": 1e-8},
    "rmsprop": {"epsilon": 1e-8, "decay": 0.9},
    "adam": {"epsilon": 1e-8, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.1},
    "soap": {"epsilon": 1e-8, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.1},
    "sgd": {"momentum": 0.9},
}


def a_training(optimizer: str = "adagrad", *, updates: int = 5, **options: Any) -> Training:
    network = Network(vocabulary_size=5, hidden_size=4, dtype=np.float64)  # the fifth character never occurs
    network.initialize(0.3, rng=np.random.default_rng(1))
    size, matrices = network.parameters.vector.size, network.parameters.matrices
    keywords = {"learning_rate": 0.1} | OPTIONS[optimizer] | options
    rule = OPTIMIZERS[optimizer](size, np.float64, matrices=matrices, **keywords)
    pool = WorkerPool(network, Dropout([0.3], seed=(1,)))
    schedule = lambda step, progress: 0.1 / step  # noqa: E731
    training = Training(
        network, rule, IDS, seq_length=6, batch_size=2, smoothing=0.9, pool=pool, learning_rate=schedule
    )
    for _, _ in zip(range(updates), training.updates(), strict=False):
        pass
    return training


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
@pytest.mark.parametrize("updates", [0, 5, 15])  # after 15, the epoch has ended
def test_the_update_that_is_looked_at_is_the_one_that_comes(optimizer: str, updates: int) -> None:
    training = a_training(optimizer, updates=updates)
    before = training.network.parameters.vector.copy()
    gradient, change = training.next_update()
    np.testing.assert_array_equal(training.network.parameters.vector, before)
    next(training.updates())
    np.testing.assert_allclose(training.network.parameters.vector, before + change, rtol=1e-12, atol=1e-15)
    assert gradient.any()


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_a_training_that_is_looked_into_goes_on_as_if_it_were_not(optimizer: str) -> None:
    looked_into, left_alone = a_training(optimizer), a_training(optimizer)
    for _ in range(20):
        inspect(looked_into, IDS)
        assert next(looked_into.updates()) == next(left_alone.updates())
    np.testing.assert_array_equal(looked_into.network.parameters.vector, left_alone.network.parameters.vector)
    assert looked_into.optimizer.learning_rate == left_alone.optimizer.learning_rate


def test_the_clipped_share_is_that_of_the_gradient_before_it_is_clipped() -> None:
    gradient, _ = a_training(updates=0).next_update()
    bound = float(np.sort(np.abs(gradient))[-7])
    assert inspect(a_training(updates=0, clip_value=bound), IDS).clipped == pytest.approx(6 / gradient.size, rel=1e-4)
    assert inspect(a_training(clip_value=None), IDS).clipped is None


def test_the_ratio_is_the_norm_of_the_update_over_that_of_the_weights() -> None:
    training = a_training()
    _, change = training.next_update()
    found = inspect(training, IDS).update_ratio
    for name, part in training.network.parameters.slices.items():
        expected = np.linalg.norm(change[part]) / np.linalg.norm(training.network.parameters[name])
        assert found[name] == pytest.approx(expected, rel=1e-4)


def test_weights_that_are_zero_have_no_ratio() -> None:
    assert inspect(a_training(updates=0), IDS).update_ratio["b"] is None


def test_adagrads_effective_step_size_is_eta_over_the_root_of_the_sum_of_squares() -> None:
    training = a_training()
    s = training.optimizer.state["sum_of_squares"][training.network.parameters.slices["W"]]
    low, median, high = np.quantile(0.02 / np.sqrt(s + 1e-8), [0.25, 0.5, 0.75])
    found = inspect(training, IDS).step_size["W"]
    assert isinstance(found, Quartiles)
    assert (found.low, found.median, found.high) == pytest.approx((low, median, high), rel=1e-4)


@pytest.mark.parametrize("optimizer", ["adagrad", "rmsprop", "adam"])
def test_the_effective_step_size_times_the_gradient_is_the_first_update(optimizer: str) -> None:
    training = a_training(optimizer, updates=0, **({"weight_decay": 0.0} if optimizer == "adam" else {}))
    gradient, change = training.next_update()
    next(training.updates())
    step_sizes = training.optimizer.step_sizes()
    assert step_sizes is not None
    np.testing.assert_allclose(change, np.where(gradient == 0, 0, -gradient * step_sizes), rtol=1e-9)


@pytest.mark.parametrize("optimizer", ["adagrad", "rmsprop", "adam"])
def test_a_parameter_that_never_had_a_gradient_has_no_step_size(optimizer: str) -> None:
    training = a_training(optimizer)
    step_sizes = training.optimizer.step_sizes()
    assert step_sizes is not None
    U = step_sizes[training.network.parameters.slices["U"]].reshape(5, 4)  # by characters
    assert np.isnan(U).tolist() == [[False] * 4] * 4 + [[True] * 4]
    assert inspect(training, IDS).step_size["U"] is not None


@pytest.mark.parametrize("optimizer", ["sgd", "soap"])
def test_a_rule_without_a_step_size_of_each_parameter_has_none(optimizer: str) -> None:
    assert inspect(a_training(optimizer), IDS).step_size == {}


SHORT = ("preset=smoke", "train.steps=60", "train.checkpoint_every=20")


def test_a_training_is_looked_into_at_its_steps_and_its_model_is_the_same_without(prepared: Project) -> None:
    other = prepared.copy_to(prepared.root.with_name("other"))
    prepared.stage("train", *SHORT, "train.inspect_every=20")
    other.stage("train", *SHORT, "train.inspect_every=0")
    assert [found.step for found in artifacts.INSPECTIONS.read(prepared.root / "artifacts")] == [1, 10, 20, 40, 60]
    assert artifacts.INSPECTIONS.read(other.root / "artifacts") == []
    model, model_without = (project.root / "artifacts/train/model.npz" for project in (prepared, other))
    assert model.read_bytes() == model_without.read_bytes()


@pytest.mark.parametrize("model", ["rnn", "gru", "lstm"])
def test_two_processes_and_two_layers_are_looked_into_after_a_kill_as_without_one(
    prepared: Project, model: str
) -> None:
    options = (*SHORT, "train.inspect_every=20", f"model={model}", "model.layers=2", "model.dropout=0.1")
    many = (*options, "train.batch_size=2", "train.workers=2", "train.reset_probability=0.3", "optimizer=adam")
    other = prepared.copy_to(prepared.root.with_name("other"))
    other.stage("train", *many)
    prepared.train_until_killed(40, *many)
    prepared.stage("train", *many)
    assert prepared.hashes() == other.hashes()
    *_, last = artifacts.INSPECTIONS.read(prepared.root / "artifacts")
    assert "layer1.h" in last.dynamics.saturated
