"""charloom against the textbook network, update by update, at the reference settings on the bundled corpus.

Two free runs part ways whatever one does: the first steps of AdaGrad are nearly sign(g)·η, so that rounding grows. Each
update is therefore compared from the same point: charloom's parameters, state and accumulator before it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charloom.adapters.files.corpus import read_text
from charloom.core.network.network import Network, Parameters
from charloom.core.text.vocabulary import Vocabulary
from charloom.core.training.optimizers import AdaGrad
from charloom.core.training.training import Training
from tests import textbook
from tests.textbook import Array, Params

CORPUS = Path(__file__).parents[1] / "data" / "corpus.txt"
UPDATES = 300
T = 25


class Recording(AdaGrad):
    """AdaGrad that keeps the raw gradient of its last update."""

    raw: Array

    def update(self, params: Array, grads: Array) -> None:
        self.raw = grads.copy()
        super().update(params, grads)


@dataclass
class Moment:
    """charloom before and after an update, as columns and matrices of the textbook."""

    inputs: list[int]
    targets: list[int]
    params: Params
    sums_of_squares: Params
    h_prev: Array
    loss: float
    smooth_loss: float
    grads: Params
    params_after: Params
    h_last: Array


@dataclass
class Errors:
    """How far the textbook is from charloom, the largest over all updates."""

    loss: float  # relative
    gradient: float  # of the tensor's largest entry
    parameters: float  # absolute
    state: float  # absolute


@pytest.fixture(scope="module")
def moments() -> list[Moment]:
    text = read_text(CORPUS, encoding="utf-8")
    vocabulary = Vocabulary.of(text)
    ids = vocabulary.encode(text)
    network = Network(vocabulary_size=len(vocabulary), hidden_size=100, dtype=np.float64)
    network.initialize(0.01, rng=np.random.default_rng(1))
    optimizer = Recording(
        network.parameters.vector.size, np.float64, learning_rate=0.1, epsilon=2.2e-16, clip_value=5.0
    )
    training = Training(network, optimizer, ids, seq_length=T, batch_size=1, smoothing=0.999)
    shapes = Network.shapes(vocabulary_size=len(vocabulary), hidden_size=100, cell="rnn", layers=1)

    def columns(vector: Array) -> Params:
        named = Parameters(shapes, np.float64)
        named.vector[:] = vector
        return {name: array.reshape(len(array), -1).copy() for name, array in named.items()}

    moments = []
    params_after = columns(network.parameters.vector)
    for _ in range(UPDATES):
        start = training.position
        window = ids[start : start + T + 1].tolist()
        params = params_after
        sums_of_squares = columns(optimizer.state["sum_of_squares"])
        h_prev = training.state[0, 0, 0][:, None].copy()
        update = next(training.updates())
        params_after = columns(network.parameters.vector)
        moments.append(
            Moment(
                inputs=window[:-1],
                targets=window[1:],
                params=params,
                sums_of_squares=sums_of_squares,
                h_prev=h_prev,
                loss=update.loss,
                smooth_loss=update.smooth_loss,
                grads=columns(optimizer.raw),
                params_after=params_after,
                h_last=training.state[0, 0, 0][:, None].copy(),
            )
        )
    return moments


def copies(arrays: Params) -> Params:
    return {name: array.copy() for name, array in arrays.items()}


def compare(
    moments: list[Moment],
    loss_and_gradients: Callable[..., tuple[float, Params, Array]] = textbook.loss_and_gradients,
    learning_rate: float = 0.1,
    clip_value: float = 5.0,
) -> Errors:
    errors = Errors(0.0, 0.0, 0.0, 0.0)
    for moment in moments:
        params, sums_of_squares = copies(moment.params), copies(moment.sums_of_squares)
        loss, grads, h_last = loss_and_gradients(params, moment.inputs, moment.targets, moment.h_prev)
        textbook.adagrad(params, grads, sums_of_squares, learning_rate=learning_rate, clip_value=clip_value)
        errors.loss = max(errors.loss, abs(loss - moment.loss) / moment.loss)
        errors.state = max(errors.state, float(np.abs(h_last - moment.h_last).max()))
        for name in params:
            of_largest = np.abs(grads[name] - moment.grads[name]).max() / np.abs(grads[name]).max()
            apart = np.abs(params[name] - moment.params_after[name]).max()
            errors.gradient = max(errors.gradient, float(of_largest))
            errors.parameters = max(errors.parameters, float(apart))
    return errors


@pytest.fixture(scope="module")
def errors(moments: list[Moment]) -> Errors:
    return compare(moments)


def test_three_hundred_updates_are_compared_and_the_loss_starts_at_that_of_a_guess(moments: list[Moment]) -> None:
    K = len(moments[0].params["c"])
    assert len(moments) == UPDATES
    assert moments[0].loss == pytest.approx(T * np.log(K), rel=1e-3)
    assert np.mean([moment.loss for moment in moments[-50:]]) < 0.8 * moments[0].loss  # it learns on the way


def test_the_loss_is_the_textbooks_at_every_update(errors: Errors) -> None:
    assert errors.loss <= 1e-12


def test_the_gradient_is_the_textbooks_at_every_update(errors: Errors) -> None:
    assert errors.gradient <= 1e-10


def test_the_parameters_after_every_update_are_the_textbooks(errors: Errors) -> None:
    assert errors.parameters <= 1e-7


def test_the_state_after_every_update_is_the_textbooks(errors: Errors) -> None:
    assert errors.state <= 1e-12


def test_the_smooth_loss_is_the_textbooks(moments: list[Moment]) -> None:
    smooth_loss = None
    for moment in moments:
        smooth_loss = textbook.smooth(smooth_loss, moment.loss)
        assert moment.smooth_loss == pytest.approx(smooth_loss, rel=1e-12)


def test_clipping_takes_place_within_these_updates(moments: list[Moment]) -> None:
    assert max(np.abs(array).max() for moment in moments for array in moment.grads.values()) > 5


def test_a_loss_that_is_off_by_1e_11_is_caught(moments: list[Moment]) -> None:
    def perturbed(*arguments: Any) -> tuple[float, Params, Array]:
        loss, grads, h_last = textbook.loss_and_gradients(*arguments)
        return loss * (1 + 1e-11), grads, h_last

    assert compare(moments, perturbed).loss > 1e-12


@pytest.mark.parametrize("name", ["W", "U", "V", "b", "c"])
def test_a_gradient_with_one_entry_off_by_1e_9_is_caught(moments: list[Moment], name: str) -> None:
    def perturbed(*arguments: Any) -> tuple[float, Params, Array]:
        loss, grads, h_last = textbook.loss_and_gradients(*arguments)
        grads[name].flat[np.abs(grads[name]).argmax()] *= 1 + 1e-9
        return loss, grads, h_last

    assert compare(moments[:3], perturbed).gradient > 1e-10


def test_another_state_at_the_start_of_a_window_is_caught(moments: list[Moment]) -> None:
    def perturbed(params: Params, inputs: list[int], targets: list[int], h_prev: Array) -> tuple[float, Params, Array]:
        return textbook.loss_and_gradients(params, inputs, targets, h_prev * 0)

    assert compare(moments, perturbed).gradient > 1e-10


def test_a_learning_rate_that_is_off_by_a_hundred_thousandth_is_caught(moments: list[Moment]) -> None:
    assert compare(moments, learning_rate=0.1 * (1 + 1e-5)).parameters > 1e-7


def test_a_clip_at_another_value_is_caught(moments: list[Moment]) -> None:
    assert compare(moments, clip_value=4.99).parameters > 1e-7
