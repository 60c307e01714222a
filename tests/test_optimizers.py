"""The optimizers against figures worked by hand and textbook code, and what must hold of them for any gradient."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from charloom.core.common.types import Array
from charloom.core.training.optimizers import OPTIMIZERS, SOAP, AdaGrad, Optimizer

gradients = st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3).map(np.array), min_size=1, max_size=20)


def adagrad(size: int, *, epsilon: float = 2.2e-16) -> AdaGrad:
    return AdaGrad(size, np.float64, learning_rate=0.1, epsilon=epsilon, clip_value=5.0)


def test_the_first_three_updates_are_those_worked_by_hand() -> None:
    # θ = 1, η = 0.1, ε = 0 and the gradients 3, -4, 12, of which the last is clipped to 5:
    # s =  9            θ = 1   - 0.3 / 3       = 0.9
    # s =  9 + 16 = 25  θ = 0.9 + 0.4 / 5       = 0.98
    # s = 25 + 25 = 50  θ = 0.98 - 0.5 / sqrt 50 = 0.909289321881
    theta, optimizer = np.array([1.0]), adagrad(1, epsilon=0.0)
    for gradient, expected, s in [(3.0, 0.9, 9.0), (-4.0, 0.98, 25.0), (12.0, 0.909289321881, 50.0)]:
        optimizer.update(theta, np.array([gradient]))
        assert theta[0] == pytest.approx(expected, rel=1e-12)
        assert optimizer.state["sum_of_squares"][0] == s


def test_epsilon_is_added_inside_the_root() -> None:
    theta, optimizer = np.array([0.0]), adagrad(1, epsilon=16.0)
    optimizer.update(theta, np.array([3.0]))
    assert theta[0] == pytest.approx(-0.1 * 3 / 5, rel=1e-15)  # sqrt(9 + 16), not sqrt(9) + 16


def test_a_gradient_of_zero_changes_nothing() -> None:
    theta, optimizer = np.array([0.7]), adagrad(1)
    optimizer.update(theta, np.array([0.0]))
    assert (theta[0], optimizer.state["sum_of_squares"][0]) == (0.7, 0.0)


@pytest.mark.parametrize(("gradient", "square"), [(-7.0, 25.0), (5.1, 25.0), (5.0, 25.0), (-4.9, 24.01), (1e300, 25.0)])
def test_clipping_is_element_by_element_at_both_ends(gradient: float, square: float) -> None:
    optimizer = adagrad(2)
    optimizer.update(np.zeros(2), np.array([gradient, 2.0]))
    assert optimizer.state["sum_of_squares"] == pytest.approx([square, 4.0], rel=1e-14)


def test_the_accumulator_starts_at_zero_in_the_parameters_type() -> None:
    optimizer = AdaGrad(3, np.float32, learning_rate=0.1, epsilon=2.2e-16, clip_value=5.0)
    s = optimizer.state["sum_of_squares"]
    assert s.dtype == np.float32
    assert s.tolist() == [0.0, 0.0, 0.0]


def test_parameters_are_changed_where_they_lie() -> None:
    theta = np.array([1.0, 2.0])
    view = theta[1:]
    adagrad(2).update(theta, np.array([1.0, 1.0]))
    assert view[0] == pytest.approx(1.9, rel=1e-12)


@settings(deadline=None)
@given(gradients)
def test_the_accumulator_never_falls(course: list[Array]) -> None:
    theta, optimizer = np.zeros(3), adagrad(3)
    for gradient in course:
        before = optimizer.state["sum_of_squares"].copy()
        optimizer.update(theta, gradient.copy())
        assert (optimizer.state["sum_of_squares"] >= before).all()


@settings(deadline=None)
@given(gradients)
def test_no_update_is_larger_than_the_learning_rate(course: list[Array]) -> None:
    theta, optimizer = np.zeros(3), adagrad(3)
    for gradient in course:
        before = theta.copy()
        optimizer.update(theta, gradient.copy())
        assert (np.abs(theta - before) <= 0.1 * (1 + 1e-12) + 1e-15).all()


@settings(deadline=None)
@given(gradients)
def test_each_parameter_is_updated_as_if_it_were_alone(course: list[Array]) -> None:
    together, optimizer = np.zeros(3), adagrad(3)
    alone, own = np.zeros(1), adagrad(1)
    for gradient in course:
        optimizer.update(together, gradient.copy())
        own.update(alone, gradient[1:2].copy())
    assert together[1] == alone[0]


OPTIONS: dict[str, dict[str, float]] = {
    "adagrad": {"epsilon": 0.0},
    "rmsprop": {"epsilon": 0.0, "decay": 0.75},
    "adam": {"epsilon": 0.0, "beta1": 0.5, "beta2": 0.75, "weight_decay": 0.0},
    "soap": {"epsilon": 0.0, "beta1": 0.5, "beta2": 0.75, "weight_decay": 0.0},
    "sgd": {"momentum": 0.5},
}


def make(name: str, size: int, *, dtype: DTypeLike = np.float64, **options: Any) -> Optimizer:
    return OPTIMIZERS[name](size, dtype, **{"learning_rate": 0.1, **OPTIONS[name], **options})


every_optimizer = pytest.mark.parametrize("name", sorted(OPTIMIZERS))


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        # g = 2, then g = -4, from θ = 1 with η = 0.1.
        # s = 4, then 4 + 16 = 20
        ("adagrad", 1 - 0.1 * 2 / 2, 0.9 + 0.1 * 4 / 4.47213595499958),
        # s = 0.25·4 = 1, then 0.75·1 + 0.25·16 = 4.75
        ("rmsprop", 1 - 0.1 * 2 / 1, 0.8 + 0.1 * 4 / 2.179449471770337),
        # μ = 1, v = 1: 1/0.5 over sqrt(1/0.25) = 1;  μ = 0.5 - 2 = -1.5, v = 4.75: -1.5/0.75 over sqrt(4.75/0.4375)
        ("adam", 1 - 0.1 * 1, 0.9 + 0.1 * 2 / 3.295017884191656),
        # no matrix: as Adam
        ("soap", 1 - 0.1 * 1, 0.9 + 0.1 * 2 / 3.295017884191656),
        # v = 2, then 0.5·2 - 4 = -3
        ("sgd", 1 - 0.1 * 2, 0.8 + 0.1 * 3),
    ],
)
def test_the_first_two_updates_of_each_rule_are_those_worked_by_hand(name: str, first: float, second: float) -> None:
    theta, optimizer = np.array([1.0]), make(name, 1)
    optimizer.update(theta, np.array([2.0]))
    assert theta[0] == pytest.approx(first, rel=1e-12)
    optimizer.update(theta, np.array([-4.0]))
    assert theta[0] == pytest.approx(second, rel=1e-12)


@pytest.mark.parametrize("name", ["rmsprop", "adam"])
def test_elsewhere_epsilon_is_added_to_the_root(name: str) -> None:
    theta = np.array([0.0])
    make(name, 1, epsilon=3.0).update(theta, np.array([2.0]))
    root, over = (1.0, 2.0) if name == "rmsprop" else (2.0, 2.0)
    assert theta[0] == pytest.approx(-0.1 * over / (root + 3), rel=1e-12)


def test_weight_decay_is_decoupled_from_the_gradient() -> None:
    theta = np.array([10.0, 10.0])
    make("adam", 2, epsilon=1e-8, weight_decay=0.2).update(theta, np.array([0.0, 3.0]))
    assert theta.tolist() == pytest.approx([10 - 0.1 * 0.2 * 10, 10 - 0.1 * 0.2 * 10 - 0.1], rel=1e-7)


@every_optimizer
def test_every_rule_has_its_options_in_this_table(name: str) -> None:
    assert set(OPTIMIZERS[name].options) == set(OPTIONS[name])


@every_optimizer
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_first_step_goes_against_the_gradient_in_the_parameters_type(name: str, dtype: DTypeLike) -> None:
    theta = np.zeros(2, dtype)
    make(name, 2, dtype=dtype).update(theta, np.array([2.0, -3.0], dtype))
    assert theta[0] < 0 < theta[1]
    assert theta.dtype == dtype


@every_optimizer
def test_a_state_that_was_copied_goes_on_bit_for_bit(name: str) -> None:
    rng = np.random.default_rng(1)
    matrices = {"W": (slice(1, 5), (2, 2))}
    theta, optimizer = rng.normal(size=5), make(name, 5, matrices=matrices)
    for _ in range(4):
        optimizer.update(theta, rng.normal(size=5))
    other_theta, other = theta.copy(), make(name, 5, matrices=matrices)
    for key, array in other.state.items():
        array[...] = optimizer.state[key]
    for _ in range(4):
        gradient = rng.normal(size=5)
        optimizer.update(theta, gradient.copy())
        other.update(other_theta, gradient.copy())
    np.testing.assert_array_equal(other_theta, theta)


@every_optimizer
def test_a_learning_rate_that_is_set_anew_holds_from_the_next_update(name: str) -> None:
    theta, optimizer = np.array([1.0]), make(name, 1)
    optimizer.learning_rate = 0.0
    optimizer.update(theta, np.array([2.0]))
    assert theta[0] == 1.0


SOAP_OPTIONS: dict[str, Any] = {"learning_rate": 0.1, "epsilon": 0.0, "beta1": 0.8, "beta2": 0.9, "weight_decay": 0.02}
TALL = {"W": (slice(0, 15), (5, 3))}


def soap(matrices: dict[str, tuple[slice, tuple[int, int]]]) -> SOAP:
    return SOAP(17, np.float64, matrices=matrices, **SOAP_OPTIONS)


def textbook_soap(theta: Array, gradients: list[Array]) -> Array:
    """The matrix Θ (a, b), a >= b, after SOAP's updates with the gradients: C and the mean are in Θ's own basis."""
    eta, beta1, beta2, decay = 0.1, 0.8, 0.9, 0.02
    C, mean, square = np.zeros((theta.shape[1],) * 2), np.zeros_like(theta), np.zeros_like(theta)
    for n, G in enumerate(gradients, start=1):
        C = beta2 * C + (1 - beta2) * G.T @ G
        if n % SOAP.PERIOD == 1:
            _, Q = np.linalg.eigh(C)
        mean = beta1 * mean + (1 - beta1) * G
        square = beta2 * square + (1 - beta2) * (G @ Q) ** 2
        step = (mean @ Q) / (1 - beta1**n) / np.sqrt(square / (1 - beta2**n))
        theta = theta - eta * step @ Q.T - eta * decay * theta
    return theta


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_soap_is_that_of_the_textbook(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    size = shape[0] * shape[1]
    theta, vectors = rng.normal(size=17), [rng.normal(size=17) for _ in range(2 * SOAP.PERIOD + 5)]
    optimizer, after = soap({"W": (slice(0, size), shape)}), theta.copy()
    for vector in vectors:
        optimizer.update(after, vector.copy())
    tall = [vector[:size].reshape(shape) for vector in (theta, after, *vectors)]
    before, found, *gradients = tall if shape[0] >= shape[1] else [matrix.T for matrix in tall]
    np.testing.assert_allclose(found, textbook_soap(before, gradients), rtol=1e-9)


def test_soap_updates_what_is_in_no_matrix_as_adam_does() -> None:
    rng = np.random.default_rng(2)
    theta, adam = np.zeros(17), OPTIMIZERS["adam"](17, np.float64, **SOAP_OPTIONS)
    other, optimizer = theta.copy(), soap(TALL)
    for _ in range(30):
        gradient = rng.normal(size=17)
        adam.update(theta, gradient.copy())
        optimizer.update(other, gradient.copy())
    np.testing.assert_array_equal(theta[15:], other[15:])
    assert not np.isclose(theta[:15], other[:15]).any()


def test_soap_does_not_depend_on_the_basis_of_the_smaller_side() -> None:
    rng = np.random.default_rng(3)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    theta, optimizer, other = np.zeros(17), soap(TALL), soap(TALL)
    rotated = theta.copy()
    for _ in range(30):
        gradient = rng.normal(size=17)
        in_other_basis = gradient.copy()
        in_other_basis[:15] = (gradient[:15].reshape(5, 3) @ rotation).reshape(-1)
        optimizer.update(theta, gradient)
        other.update(rotated, in_other_basis)
    np.testing.assert_allclose(rotated[:15].reshape(5, 3), theta[:15].reshape(5, 3) @ rotation, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_gradient_that_is_not_finite_is_left_to_the_loss_to_show() -> None:
    theta, optimizer = np.zeros(17), soap(TALL)
    optimizer.update(theta, np.full(17, np.inf))
    assert not np.isfinite(theta).any()


def step_of(gradient: list[float], **options: Any) -> list[float]:
    """What is taken from parameters with η = 1 and no momentum: the gradient as it is after clipping."""
    theta = np.zeros(len(gradient))
    make("sgd", len(gradient), learning_rate=1.0, momentum=0.0, **options).update(theta, np.array(gradient))
    return [float(-step) for step in theta]


def test_a_gradient_of_too_large_a_norm_is_scaled_down_to_it() -> None:
    assert step_of([3.0, -4.0], clip_norm=1.0) == pytest.approx([0.6, -0.8], rel=1e-15)


def test_a_gradient_of_a_smaller_norm_is_left_as_it_is() -> None:
    assert step_of([3.0, -4.0], clip_norm=5.0) == [3.0, -4.0]


def test_without_clipping_a_large_gradient_is_left_as_it_is() -> None:
    assert step_of([3e9, -4.0]) == [3e9, -4.0]


def test_clipping_by_value_comes_before_clipping_by_norm() -> None:
    assert step_of([30.0, -4.0], clip_value=3.0, clip_norm=3.0) == pytest.approx([4.5**0.5, -(4.5**0.5)], rel=1e-15)
