"""The course of a training: which windows it reads, what it reports, and that it can be left and taken up again."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charloom.core.cells import CELLS
from charloom.core.common.errors import DataError, StateError
from charloom.core.common.types import Array, IntArray, Masks
from charloom.core.network import Network, evaluate
from charloom.core.training.optimizers import AdaGrad
from charloom.core.training.resets import Resets
from charloom.core.training.training import Training, Update

K = 7

every_cell = pytest.mark.parametrize("cell", sorted(CELLS))


class Spy(Network):
    """A network that keeps the windows and the states that it is given."""

    def __init__(self, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.read: list[tuple[Array, Array, Array]] = []

    def forward(self, inputs: IntArray, targets: IntArray, state: Array, masks: Masks = ()) -> tuple[Any, Array]:
        self.read.append((inputs.copy(), targets.copy(), state.copy()))
        return super().forward(inputs, targets, state, masks)


def some_ids(length: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, K, length).astype(np.uint8)


def a_training(
    ids: Any,
    *,
    T: int = 5,
    B: int = 1,
    K: int = K,
    m: int = 6,
    smoothing: float = 0.999,
    cell: str = "rnn",
    layers: int = 1,
    resets: Resets | None = None,
) -> tuple[Training, Spy]:
    network = Spy(vocabulary_size=K, hidden_size=m, cell=cell, layers=layers, dtype=np.float64)
    network.initialize(0.1, rng=np.random.default_rng(1))
    optimizer = AdaGrad(network.parameters.vector.size, np.float64, learning_rate=0.1, epsilon=2.2e-16, clip_value=5.0)
    training = Training(network, optimizer, ids, seq_length=T, batch_size=B, smoothing=smoothing, resets=resets)
    return training, network


def run(training: Training, updates: int) -> list[Update]:
    return list(islice(training.updates(), updates))


def positions_in_text(length: int, *, T: int, B: int, updates: int) -> Iterator[tuple[Array, Array, Training]]:
    """What each update reads and predicts, in places of the text: the text is its own places (T, B)."""
    training, network = a_training(np.arange(length), T=T, B=B, K=length, m=1)
    for _ in range(updates):
        run(training, 1)
        yield *network.read[-1][:2], training


def test_windows_are_read_in_text_order() -> None:
    starts = [inputs[:, 0].tolist() for inputs, _, _ in positions_in_text(30, T=5, B=1, updates=3)]
    assert starts == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 13, 14]]


def test_the_targets_are_the_next_characters() -> None:
    for inputs, targets, _ in positions_in_text(60, T=5, B=3, updates=8):
        np.testing.assert_array_equal(targets, inputs + 1)


@pytest.mark.parametrize(("length", "windows"), [(6, 1), (10, 1), (11, 1), (12, 2), (15, 2), (16, 2), (17, 3), (30, 5)])
def test_a_pass_ends_once_the_position_is_the_length_less_a_window_less_one(length: int, windows: int) -> None:
    T, position, expected = 5, 0, 0
    while expected == 0 or position < length - T - 1:
        position, expected = position + T, expected + 1
    assert expected == windows  # the rule, and the figures worked by hand
    course = list(positions_in_text(length, T=T, B=1, updates=windows + 1))
    starts = [int(inputs[0, 0]) for inputs, _, _ in course]
    assert starts == [*range(0, windows * T, T), 0]


@pytest.mark.parametrize("streams", [1, 3])
def test_a_new_pass_starts_at_the_first_character_with_a_zero_state_in_the_next_epoch(streams: int) -> None:
    training, network = a_training(some_ids(12 * streams + 1), B=streams)
    run(training, 1)
    assert (training.position, training.epoch, bool(training.state.any())) == (5, 0, True)
    run(training, 1)
    assert (training.position, training.epoch, bool(training.state.any())) == (0, 1, False)
    run(training, 1)
    assert not network.read[-1][2].any()
    assert (training.position, training.epoch, training.step) == (5, 1, 3)


@every_cell
def test_the_state_is_carried_from_window_to_window_within_a_pass(cell: str) -> None:
    training, network = a_training(some_ids(40), cell=cell, layers=2)
    run(training, 1)
    carried = training.state.copy()
    run(training, 1)
    np.testing.assert_array_equal(network.read[1][2], carried)
    assert carried.any()


@every_cell
def test_a_reset_stream_begins_its_window_with_a_zero_state_and_the_others_with_the_carried_one(cell: str) -> None:
    B, updates = 4, 200
    ids, resets = some_ids(B * 5 * (updates + 1) + 1), Resets(0.3, (7,))
    training, network = a_training(ids, B=B, cell=cell, layers=2, resets=resets)
    carried, was_reset = training.state, list[bool]()
    for update in training.updates():
        _, _, state = network.read[-1]
        for stream in range(B):
            is_zero = not state[:, :, stream].any()
            was_reset.append(is_zero)
            assert is_zero or np.array_equal(state[:, :, stream], carried[:, :, stream])
        carried = training.state
        if update.step == updates:
            break
    share = np.mean(was_reset[B:])  # without the first window
    assert abs(share - 0.3) < 4 * np.sqrt(0.3 * 0.7 / len(was_reset))


def test_the_streams_that_are_reset_depend_on_the_seed_and_the_step_alone() -> None:
    state = np.ones((1, 1, 100, 2))
    drawn = {
        (seed, step): tuple(Resets(0.5, (seed,)).apply(state, step)[0, 0, :, 0]) for seed in (1, 2) for step in (1, 2)
    }
    assert len(set(drawn.values())) == 4
    assert tuple(Resets(0.5, (1,)).apply(state, 1)[0, 0, :, 0]) == drawn[1, 1]
    assert Resets().apply(state, 1) is state


@settings(deadline=None, max_examples=50)
@given(T=st.integers(1, 6), B=st.integers(1, 5), extra=st.integers(0, 40))
def test_streams_cover_the_text_in_order_and_none_of_it_twice_in_a_pass(T: int, B: int, extra: int) -> None:
    length = T * B + 1 + extra
    read: list[list[int]] = [[] for _ in range(B)]
    for inputs, _, training in positions_in_text(length, T=T, B=B, updates=length):
        for stream, characters in zip(read, inputs.T, strict=True):
            stream += characters.tolist()
        if training.epoch:
            break
    stream_length = (length - 1) // B
    for s, stream in enumerate(read):
        assert stream == list(range(s * stream_length, s * stream_length + len(stream)))
        assert stream_length - T <= len(stream) <= stream_length  # the tail that a pass leaves out
    assert training.epoch == 1


def test_a_streams_last_target_is_the_next_streams_first_character() -> None:
    _, targets, _ = next(positions_in_text(16, T=5, B=3, updates=1))
    assert targets[-1].tolist() == [5, 10, 15]


def test_the_next_id_is_the_character_at_the_position() -> None:
    ids = some_ids(40)
    training, _ = a_training(ids)
    run(training, 3)
    assert training.next_id == ids[15]


def test_the_smooth_loss_starts_at_the_first_loss_and_then_moves_by_a_thousandth() -> None:
    training, _ = a_training(some_ids(100))
    first, second, third = run(training, 3)
    assert first.smooth_loss == first.loss
    assert second.smooth_loss == pytest.approx(0.999 * first.loss + 0.001 * second.loss, rel=1e-14)
    assert third.smooth_loss == pytest.approx(0.999 * second.smooth_loss + 0.001 * third.loss, rel=1e-14)


def test_without_smoothing_the_smooth_loss_is_the_loss() -> None:
    training, _ = a_training(some_ids(100), smoothing=0.0)
    assert all(update.smooth_loss == update.loss for update in run(training, 4))


def test_updates_are_numbered_from_one_and_go_on_where_they_were_left() -> None:
    training, _ = a_training(some_ids(100))
    assert [update.step for update in run(training, 4)] == [1, 2, 3, 4]
    assert [update.step for update in run(training, 2)] == [5, 6]


def test_the_loss_reported_is_that_before_the_update() -> None:
    ids = some_ids(100)
    training, network = a_training(ids)
    before, _ = network.forward(ids[:5, None], ids[1:6, None], network.zero_state(1))
    assert run(training, 1)[0].loss == before


def test_training_learns_a_text_that_repeats() -> None:
    training, _ = a_training(np.tile(np.arange(K, dtype=np.uint8), 30))
    updates = run(training, 300)
    assert updates[0].loss == pytest.approx(5 * np.log(K), rel=0.05)
    assert updates[-1].loss < 0.1


@pytest.mark.parametrize(("length", "B", "needed"), [(5, 1, 6), (1, 1, 6), (0, 1, 6), (15, 3, 16)])
def test_a_text_shorter_than_a_window_is_refused_with_both_numbers(length: int, B: int, needed: int) -> None:
    with pytest.raises(
        DataError, match=rf"must have {needed} characters or more for {B} streams of windows of 5, got {length}$"
    ):
        a_training(some_ids(length), B=B)


@pytest.mark.parametrize(("length", "B"), [(6, 1), (16, 3)])
def test_a_text_of_just_a_window_is_enough(length: int, B: int) -> None:
    training, network = a_training(some_ids(length), B=B)
    run(training, 2)
    np.testing.assert_array_equal(network.read[0][0], network.read[1][0])
    assert training.epoch == 2


@pytest.mark.parametrize(("value", "named"), [(np.nan, "nan"), (np.inf, "inf")])
def test_a_loss_that_is_not_finite_stops_the_training_with_its_step(
    monkeypatch: pytest.MonkeyPatch, value: float, named: str
) -> None:
    training, network = a_training(some_ids(100))
    run(training, 3)
    before = network.parameters.vector.copy()
    monkeypatch.setattr(network, "forward", lambda inputs, targets, state, masks: (np.float64(value), state))
    with pytest.raises(StateError, match=f"the loss must be finite, got {named} at step 4"):
        run(training, 1)
    assert training.step == 3
    np.testing.assert_array_equal(network.parameters.vector, before)


def test_parameters_that_are_not_finite_give_a_loss_that_is_not() -> None:
    training, network = a_training(some_ids(100))
    network.parameters["V"][0, 0] = np.nan
    with pytest.raises(StateError, match="the loss must be finite, got nan at step 1"):
        run(training, 1)


@every_cell
def test_evaluation_leaves_parameters_and_training_untouched(cell: str) -> None:
    ids = some_ids(200)
    plain, _ = a_training(ids, cell=cell, B=2)
    evaluated, network = a_training(ids, cell=cell, B=2)
    for _ in range(10):
        expected = run(plain, 1)
        parameters = network.parameters.vector.copy()
        evaluate(network, ids)
        np.testing.assert_array_equal(network.parameters.vector, parameters)
        assert run(evaluated, 1) == expected
    np.testing.assert_array_equal(evaluated.state, plain.state)


def saved(training: Training) -> tuple[dict[str, Array], dict[str, Any]]:
    return {name: array.copy() for name, array in training.arrays().items()}, training.values()


def numbers(training: Training) -> dict[str, Any]:
    """The values of a training but for the time that it took."""
    return {name: value for name, value in training.values().items() if name != "seconds"}


@every_cell
@pytest.mark.parametrize("B", [1, 3])
@pytest.mark.parametrize("stop", [0, 1, 7, 8])
def test_a_training_taken_up_again_goes_on_bit_for_bit(cell: str, B: int, stop: int) -> None:
    ids = some_ids(42 * B)
    whole, network = a_training(ids, B=B, cell=cell, layers=2)
    run(whole, stop)
    arrays, values = saved(whole)
    expected = run(whole, 20)

    resumed, other = a_training(ids, B=B, cell=cell, layers=2)
    other.parameters.vector[:] = 0.5
    resumed.restore(arrays, values)
    assert run(resumed, 20) == expected
    np.testing.assert_array_equal(other.parameters.vector, network.parameters.vector)
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(resumed.arrays()[name], array, strict=True)
    assert numbers(resumed) == numbers(whole)


def test_restoring_copies_the_arrays() -> None:
    training, _ = a_training(some_ids(100))
    run(training, 3)
    arrays, values = saved(training)
    kept = {name: array.copy() for name, array in arrays.items()}
    training.restore(arrays, values)
    run(training, 3)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, kept[name])


@pytest.mark.parametrize(
    ("name", "other", "message"),
    [
        ("W", np.zeros((7, 6)), r"W must be float64\[6, 6\] in the checkpoint, got float64\[7, 6\]"),
        ("W", np.zeros((6, 6), np.float32), r"W must be float64\[6, 6\] in the checkpoint, got float32\[6, 6\]"),
        ("state", np.zeros((1, 1, 2, 6)), r"state must be float64\[1, 1, 1, 6\] .* got float64\[1, 1, 2, 6\]"),
        ("optimizer.sum_of_squares", None, r"optimizer\.sum_of_squares must be float64\[\d+\] .* got nothing"),
    ],
)
def test_a_state_of_other_shapes_is_refused(name: str, other: Array | None, message: str) -> None:
    training, _ = a_training(some_ids(100))
    arrays, values = saved(training)
    arrays.pop(name)
    if other is not None:
        arrays[name] = other
    with pytest.raises(StateError, match=message):
        training.restore(arrays, values)


@pytest.mark.parametrize("name", ["step", "epoch", "position", "loss", "smooth_loss"])
def test_a_state_without_one_of_its_numbers_is_refused(name: str) -> None:
    training, _ = a_training(some_ids(100))
    arrays, values = saved(training)
    del values[name]
    with pytest.raises(StateError, match=f"{name} is missing in the checkpoint"):
        training.restore(arrays, values)
