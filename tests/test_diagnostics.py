"""What is found wrong with a training: all that diverges, and nothing in ordinary trainings."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from charloom.core.cells import CELLS
from charloom.core.common.errors import StateError
from charloom.core.common.types import Ids
from charloom.core.network import Network
from charloom.core.training import OPTIMIZERS, Training, WorkerPool
from charloom.core.training.diagnostics import Diagnostics
from tests.project import ROOT

UNIFORM = 100.0
BLOCK = 100  # updates of 25 characters
OPTIONS: dict[str, dict[str, Any]] = {
    "adagrad": {"learning_rate": 0.1, "clip_value": 5.0, "epsilon": 2.2e-16},
    "rmsprop": {"learning_rate": 0.002, "clip_value": 5.0, "epsilon": 1e-8, "decay": 0.99},
    "adam": {
        "learning_rate": 0.002,
        "clip_norm": 5.0,
        "epsilon": 1e-8,
        "beta1": 0.9,
        "beta2": 0.999,
        "weight_decay": 0.0,
    },
    "sgd": {"learning_rate": 0.1, "clip_norm": 1.0, "momentum": 0.9},
}
OPTIONS["soap"] = OPTIONS["adam"]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As the train stage has it: small networks are many times slower with more."""
    with threadpool_limits(1):
        yield


def encoded(text: str) -> tuple[Ids, int]:
    characters, ids = np.unique(np.array(list(text)), return_inverse=True)
    return ids.astype(np.uint8), len(characters)


STORY, K = encoded((ROOT / "data/corpus.txt").read_text(encoding="utf-8")[:60_000])


def a_training(
    name: str = "adagrad",
    *,
    ids: Ids = STORY,
    K: int = K,
    cell: str = "rnn",
    m: int = 24,
    layers: int = 1,
    T: int = 25,
    B: int = 1,
    init_scale: float = 0.01,
    dtype: str = "float64",
    workers: int = 1,
    **changes: Any,
) -> Training:
    network = Network(vocabulary_size=K, hidden_size=m, cell=cell, layers=layers, dtype=dtype)
    network.initialize(init_scale, rng=np.random.default_rng(1))
    size, matrices = network.parameters.vector.size, network.parameters.matrices
    optimizer = OPTIMIZERS[name](size, dtype, matrices=matrices, **(OPTIONS[name] | changes))
    pool = WorkerPool(network, workers=workers)
    return Training(network, optimizer, ids, seq_length=T, batch_size=B, smoothing=0.999, pool=pool)


def course(training: Training, updates: int) -> list[str]:
    """The kinds of warnings in the order in which they came; "diverged" is the last where that was found."""
    diverged = []
    with np.errstate(all="ignore"), suppress(StateError):
        diverged = ["diverged"]
        for update in training.updates():
            if update.step == updates:
                break
        training.diagnostics.note_end(training.step)
        diverged = []
    return kinds(training.diagnostics) + diverged


def kinds(diagnostics: Diagnostics) -> list[str]:
    return [warning.kind for warning in diagnostics.warnings]


def blocks(means: Sequence[float], *, first: float = UNIFORM, end: bool = False) -> list[str]:
    """What is found in blocks with these mean losses, after a first loss; `end`: the training ends with them."""
    diagnostics, step = Diagnostics(uniform=UNIFORM, characters=25), 0
    try:
        for mean in means:
            for _ in range(BLOCK):
                step += 1
                diagnostics.note_update(step, first if step == 1 else mean)
        if end:
            diagnostics.note_end(step)
    except StateError as error:
        return [*kinds(diagnostics), str(error)]
    return kinds(diagnostics)


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_an_ordinary_training_is_not_warned_of(name: str, cell: str) -> None:
    for updates in (160, 510):
        training = a_training(name, cell=cell, init_scale=0.01 if cell == "rnn" else 0.1)
        assert course(training, updates) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"T": 1, "m": 4},
        {"T": 1, "m": 1, "B": 8},
        {"T": 100, "m": 50},
        {"layers": 3, "init_scale": 0.05},
        {"dtype": "float32", "B": 8, "m": 100},
        {"init_scale": 1.0, "m": 100},
        {"m": 200},
        {"learning_rate": 1e-6},
    ],
    ids=str,
)
def test_neither_is_one_at_the_rim_of_what_is_usual(settings: dict[str, Any]) -> None:
    T, B = settings.get("T", 25), settings.get("B", 1)
    for updates in (20, 160, max(520, 12_500 // (T * B) + 1)):
        assert course(a_training(**settings), updates) == []


@pytest.mark.parametrize("K", [1, 2, 256])
def test_a_text_with_nothing_to_learn_is_no_training_that_diverges(K: int) -> None:
    ids = np.random.default_rng(0).integers(0, K, 20_000).astype(np.uint8)
    assert course(a_training(ids=ids, K=K, m=30), 1000) == []


def test_a_text_that_goes_on_in_another_alphabet_is_not_warned_of() -> None:
    ids = np.concatenate([STORY[:25_000], STORY[:25_000] + K]).astype(np.uint8)
    assert course(a_training(ids=ids, K=2 * K, m=50), 2000) == []


@pytest.mark.parametrize("updates", [300, 1000])
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("sgd", {"learning_rate": 5.0, "clip_norm": None}),
        ("sgd", {"learning_rate": 0.5, "clip_norm": None}),
        ("sgd", {"learning_rate": 1.0, "clip_norm": None, "momentum": 0.0, "m": 100}),
        ("sgd", {"learning_rate": 5.0, "clip_norm": None, "clip_value": 5.0, "dtype": "float32"}),
        ("sgd", {"learning_rate": 5.0, "clip_norm": None, "cell": "lstm"}),
        ("sgd", {"learning_rate": 5.0, "clip_norm": None, "T": 1, "B": 25}),
        ("adam", {"learning_rate": 1.0, "cell": "gru"}),
        ("rmsprop", {"learning_rate": 1.0}),
    ],
    ids=str,
)
def test_a_training_that_diverges_is_found(name: str, changes: dict[str, Any], updates: int) -> None:
    assert course(a_training(name, **changes), updates)[-1] == "diverged"


def test_the_reference_network_with_ten_times_the_rate_is_warned_of() -> None:
    found = course(a_training(m=100, learning_rate=1.0), 600)
    assert "saturated" in found


def test_a_divergence_is_told_with_what_must_hold_and_what_came() -> None:
    (message,) = blocks([160.0] * 5)
    assert message == (
        "the training has diverged: its loss must fall below that of the uniform model, 100 nats per window, "
        "got 160 at step 500"
    )


@pytest.mark.parametrize(
    ("means", "first"),
    [
        ([160.0] * 4 + [140.0], UNIFORM),  # one of the five is not so high
        ([200.0, 190.0, 180.0, 170.0, 160.0, 155.0], UNIFORM),  # it falls
        ([900.0] * 5, 800.0),  # the initial weights were like that
    ],
)
def test_five_blocks_in_a_row_without_a_fall_are_needed_for_a_divergence(means: list[float], first: float) -> None:
    assert not any("diverged" in found for found in blocks(means, first=first))


def test_a_loss_that_stays_above_the_uniform_models_is_warned_of_once() -> None:
    assert blocks([106.0] * 20) == ["above_uniform"]
    assert blocks([104.0] * 20) == []
    assert blocks([106.0] * 4 + [99.0] * 4) == []


def test_a_loss_that_gives_back_half_of_its_fall_is_rising() -> None:
    assert blocks([60.0] * 5 + [81.0] * 5) == ["rising"]
    assert blocks([60.0] * 5 + [79.0] * 5) == []
    assert blocks([60.0] * 5 + [140.0] * 2 + [60.0] * 5) == ["rising"]
    assert blocks([60.0] * 5 + [140.0] + [60.0] * 5) == []


@pytest.mark.parametrize("means", [[160.0, 160.0], [60.0, 160.0, 170.0]])
def test_at_the_end_two_blocks_are_enough(means: list[float]) -> None:
    (found,) = blocks(means, end=True)
    assert "diverged" in found
    assert blocks(means) == []
    assert blocks(means[:-1], end=True) == []


def test_the_last_block_may_be_half_a_block() -> None:
    diagnostics = Diagnostics(uniform=UNIFORM, characters=25)
    for step in range(1, 151):
        diagnostics.note_update(step, UNIFORM if step == 1 else 160.0 + step)
    with pytest.raises(StateError, match="diverged"):
        diagnostics.note_end(150)


def test_saturated_units_are_warned_of() -> None:
    diagnostics = Diagnostics(uniform=UNIFORM, characters=25)
    for step in range(1, 5 * BLOCK + 1):
        diagnostics.note_update(step, 60.0, np.array([1.0] * 99 + [0.5]))
    (warning,) = diagnostics.warnings
    assert warning.kind == "saturated"
    assert warning.message.startswith("99.0% of the hidden units are saturated at step 500")


def validated(losses: Sequence[float], *, end: bool = False) -> list[int]:
    """The steps at which validations with these losses, each 10 steps after the one before, are warned of."""
    diagnostics, best, best_step = Diagnostics(uniform=UNIFORM, characters=25), math.inf, 0
    for step, loss in zip(range(10, 10_000, 10), losses, strict=False):
        if loss < best:
            best, best_step = loss, step
        diagnostics.note_validation(step, loss, best, best_step)
    if end:
        diagnostics.note_end(10 * len(losses))
    assert set(kinds(diagnostics)) <= {"overfitting"}
    return [warning.step for warning in diagnostics.warnings]


def test_two_validations_in_a_row_that_are_5_percent_above_the_lowest_are_overfitting() -> None:
    assert validated([2.7, 2.64, 2.7, 2.8, 2.9, 3.0, 3.13]) == [50]
    assert validated([2.7, 2.64, 2.7, 2.75, 2.77]) == []
    assert (
        validated([2.0, 3.5, 2.05, 2.2, 1.9]) == []
    )  # a single one may be chance, unless it is what the training ends with
    assert validated([2.0, 2.2]) == []
    assert validated([2.0, 2.2], end=True) == [20]


def restarted(make: Callable[[], Training], moments: Sequence[int], updates: int) -> Training:
    """A training that is left at these steps, and each time taken up again by a new one from JSON and arrays."""
    training = make()
    for moment in (*moments, updates):
        for update in training.updates():
            if update.step == moment:
                break
        if moment < updates:
            arrays = {name: array.copy() for name, array in training.arrays().items()}
            values = json.loads(json.dumps(training.values(), allow_nan=False))
            training = make()
            training.restore(arrays, values)
    return training


def test_a_training_that_is_resumed_is_judged_like_one_that_is_not() -> None:
    def make() -> Training:
        return a_training("adam", m=50, learning_rate=0.1)

    whole, parts = restarted(make, [], 1200), restarted(make, [1, 99, 100, 437, 500, 730], 1200)
    assert kinds(whole.diagnostics) != []
    assert whole.diagnostics == parts.diagnostics


def test_a_divergence_comes_at_the_same_step_after_a_resumption() -> None:
    def make() -> Training:
        return a_training("sgd", learning_rate=5.0, clip_norm=None)

    def message(moments: list[int]) -> str:
        with np.errstate(all="ignore"), pytest.raises(StateError, match="diverged") as raised:
            restarted(make, moments, 1000)
        return str(raised.value)

    assert message([]) == message([50, 230, 499])


def test_a_checkpoint_from_before_there_were_diagnostics_can_be_resumed() -> None:
    training, other = a_training(), a_training()
    for update in training.updates():
        if update.step == 30:
            break
    values = {name: value for name, value in training.values().items() if name != "diagnostics"}
    other.restore(training.arrays(), values)
    assert (other.step, other.diagnostics.count) == (30, 0)


def test_diagnostics_of_another_version_are_refused() -> None:
    with pytest.raises(StateError, match="diagnostics of the checkpoint"):
        Diagnostics.restored({"warnings": [], "tomorrow": 1})
    with pytest.raises(StateError, match="diagnostics of the checkpoint"):
        Diagnostics.restored({})


def test_the_state_of_a_training_is_json_from_its_start() -> None:
    training = a_training()
    values = json.loads(json.dumps(training.values(), allow_nan=False))
    assert (values["smooth_loss"], values["best_validation"]) == (None, None)
    training.restore(training.arrays(), values)
    assert (math.isnan(training.smooth_loss), training.best_validation) == (True, math.inf)


@pytest.fixture
def pooled() -> Iterator[Training]:
    training = a_training("sgd", learning_rate=5.0, clip_norm=None, B=2, workers=2)
    with training.pool:
        yield training


def test_a_pool_of_workers_is_judged_like_one_process(pooled: Training) -> None:
    assert course(pooled, 1000) == ["diverged"]
    assert pooled.step == 5 * BLOCK
    assert pooled.diagnostics.units == 0
    assert pooled.diagnostics.saturations[-1] > 0.9


def test_a_validation_loss_that_is_not_finite_ends_the_training() -> None:
    training = a_training()
    with pytest.raises(StateError, match="the validation loss must be finite, got inf at step 0"):
        training.note_validation(math.inf)
