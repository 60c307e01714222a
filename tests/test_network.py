"""What must hold of the network and its cells whatever their sizes."""

import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charloom.core.cells import CELLS
from charloom.core.common.types import Array, IntArray
from charloom.core.gradcheck import Window
from charloom.core.gradcheck.check import compare
from charloom.core.gradcheck.numerical import COMPLEX_STEP, analytic_gradient, numerical_gradient
from charloom.core.network import Network, Parameters, Stepper

# A first example imports and allocates; a machine under load is slow: no deadline says anything about the code.
few = settings(deadline=None, max_examples=25)


@dataclass
class Case:
    """A network with weights large enough that every term matters, and a window that it may read."""

    network: Network
    inputs: IntArray
    targets: IntArray
    state: Array

    @property
    def loss(self) -> float:
        return float(self.network.forward(self.inputs, self.targets, self.state)[0])

    @property
    def window(self) -> Window:
        return Window(self.inputs, self.targets, self.state)


def make_case(
    *,
    K: int = 5,
    m: int = 4,
    T: int = 6,
    B: int = 2,
    cell: str = "rnn",
    layers: int = 1,
    dtype: Any = np.float64,
    seed: int = 0,
    scale: float = 0.5,
) -> Case:
    rng = np.random.default_rng(seed)
    network = Network(vocabulary_size=K, hidden_size=m, cell=cell, layers=layers, dtype=dtype)
    network.parameters.vector[:] = rng.normal(0, scale, network.parameters.vector.size)
    inputs, targets = rng.integers(0, K, (2, T, B))
    state = rng.uniform(-0.9, 0.9, network.zero_state(B).shape).astype(dtype)
    return Case(network, inputs, targets, state)


cases = st.builds(
    make_case,
    K=st.integers(2, 7),
    m=st.integers(1, 6),
    T=st.integers(1, 7),
    B=st.integers(1, 4),
    cell=st.sampled_from(sorted(CELLS)),
    layers=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)

every_cell = pytest.mark.parametrize("cell", sorted(CELLS))


@few
@given(case=cases)
def test_a_stepper_gives_the_same_outputs_as_the_window(case: Case) -> None:
    network, B = case.network, case.inputs.shape[1]
    outputs, _ = network.logits(case.inputs, case.state)
    stepper = Stepper(network, case.state)
    for o, ids in zip(outputs, case.inputs.astype(np.intp), strict=True):
        V_h = stepper.step(ids.squeeze() if B == 1 else ids)
        np.testing.assert_allclose(V_h.reshape(B, -1) + network.parameters["c"], o, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_parameters_and_gradients_start_at_a_cache_line(dtype: Any) -> None:
    for m in range(1, 20):
        network = Network(vocabulary_size=3, hidden_size=m, dtype=dtype)
        for vector in (network.parameters.vector, network.gradients.vector):
            assert vector.ctypes.data % 64 == 0
            assert vector.dtype == dtype
            assert not vector.any()


@few
@given(case=cases, shift=st.floats(-50, 50))
def test_the_loss_ignores_a_shift_of_the_outputs(case: Case, shift: float) -> None:
    before = case.loss
    case.network.parameters["c"][...] += shift
    assert case.loss == pytest.approx(before, rel=1e-11)


@few
@given(case=cases, shift=st.floats(-50, 50))
def test_the_gradient_ignores_a_shift_of_the_outputs(case: Case, shift: float) -> None:
    _, before = analytic_gradient(case.network, case.window)
    case.network.parameters["c"][...] += shift
    _, after = analytic_gradient(case.network, case.window)
    np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-11)


def test_outputs_too_large_for_exp_give_a_finite_loss() -> None:
    case = make_case(K=2, T=1, B=1)
    case.network.parameters.vector[:] = 0
    case.network.parameters["c"][...] = [0, 2000]
    case.targets[...] = 0
    assert case.loss == 2000


@few
@given(case=cases, cut=st.floats(0, 1))
def test_a_window_split_in_two_with_the_state_carried_has_the_same_loss(case: Case, cut: float) -> None:
    at = 1 + int(cut * (len(case.inputs) - 1))
    first, state = case.network.forward(case.inputs[:at], case.targets[:at], case.state)
    rest = 0.0
    if at < len(case.inputs):
        rest, state = case.network.forward(case.inputs[at:], case.targets[at:], state)
    whole, state_of_whole = case.network.forward(case.inputs, case.targets, case.state)
    assert first + rest == pytest.approx(whole, rel=1e-12)
    np.testing.assert_allclose(state, state_of_whole, rtol=1e-12, atol=1e-14)


@settings(deadline=None, max_examples=60)
@given(case=cases)
def test_the_gradient_is_that_of_the_complex_step(case: Case) -> None:
    _, analytic = analytic_gradient(case.network, case.window)
    numerical = numerical_gradient(case.network, case.window, "complex_step", COMPLEX_STEP)
    for name, errors in compare(case.network, analytic, numerical).items():
        assert errors.max_absolute_error <= 1e-12 + 1e-11 * np.abs(analytic).max(), name


@few
@given(case=cases)
def test_the_gradient_of_parallel_streams_is_the_mean_of_each_ones(case: Case) -> None:
    loss, together = analytic_gradient(case.network, case.window)
    each = [
        analytic_gradient(case.network, Window(case.inputs[:, [s]], case.targets[:, [s]], case.state[:, :, [s]]))
        for s in range(case.inputs.shape[1])
    ]
    assert loss == pytest.approx(np.mean([loss for loss, _ in each]), rel=1e-12)
    np.testing.assert_allclose(together, np.mean([grads for _, grads in each], axis=0), rtol=1e-10, atol=1e-13)


@few
@given(case=cases)
def test_the_state_after_parallel_streams_is_each_ones(case: Case) -> None:
    _, together = case.network.forward(case.inputs, case.targets, case.state)
    for s in range(case.inputs.shape[1]):
        _, alone = case.network.forward(case.inputs[:, [s]], case.targets[:, [s]], case.state[:, :, [s]])
        np.testing.assert_allclose(together[:, :, [s]], alone, rtol=1e-12, atol=1e-14)


@every_cell
@pytest.mark.parametrize(("K", "T", "B"), [(2, 1, 1), (65, 25, 1), (7, 4, 3)])
def test_the_loss_at_zero_weights_is_that_of_a_guess(cell: str, K: int, T: int, B: int) -> None:
    assert make_case(K=K, T=T, B=B, cell=cell, scale=0.0).loss == pytest.approx(T * np.log(K), rel=1e-14)


def test_the_loss_of_two_steps_by_hand() -> None:
    network = Network(vocabulary_size=2, hidden_size=1, dtype=np.float64)
    for name, values in {"W": 0.5, "U": [[1.0, -1.0]], "b": 0.1, "V": [[2.0], [0.0]], "c": [0.0, 0.3]}.items():
        network.parameters[name][...] = values
    loss, state = network.forward(np.array([[0], [1]]), np.array([[1], [0]]), np.full((1, 1, 1, 1), 0.2))
    h_1 = np.tanh(0.5 * 0.2 + 1.0 + 0.1)
    h_2 = np.tanh(0.5 * h_1 - 1.0 + 0.1)
    log_p_1 = 0.3 - np.log(np.exp(2 * h_1) + np.exp(0.3))
    log_p_2 = 2 * h_2 - np.log(np.exp(2 * h_2) + np.exp(0.3))
    assert loss == pytest.approx(-log_p_1 - log_p_2, rel=1e-14)
    assert state.item() == pytest.approx(h_2, rel=1e-14)


@few
@given(case=cases)
def test_float32_has_the_loss_and_the_gradient_of_float64_to_its_own_precision(case: Case) -> None:
    single = case.network.astype(np.float32)
    case.network.parameters.vector[:] = single.parameters.vector  # the same rounded weights
    state = case.state.astype(np.float32)
    loss, grads = analytic_gradient(case.network, Window(case.inputs, case.targets, state.astype(np.float64)))
    loss_32, grads_32 = analytic_gradient(single, Window(case.inputs, case.targets, state))
    assert loss_32 == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(grads_32, grads, rtol=1e-3, atol=1e-5 * (1 + np.abs(grads).max()))


@every_cell
def test_a_float32_network_computes_in_float32(cell: str) -> None:
    case = make_case(cell=cell, dtype=np.float32)
    loss, state = case.network.forward(case.inputs, case.targets, case.state)
    grads = case.network.backward(case.inputs)
    assert [loss.dtype, state.dtype, grads.vector.dtype] == [np.dtype(np.float32)] * 3


@every_cell
@pytest.mark.parametrize("of", ["parameters", "gradients"])
def test_the_vector_and_the_named_views_share_memory(cell: str, of: str) -> None:
    parameters: Parameters = getattr(make_case(cell=cell, layers=2).network, of)
    for name, array in parameters.items():
        array[...] = 7.0
        assert (parameters.vector[parameters.slices[name]] == 7.0).all()
        parameters.vector[parameters.slices[name]] = 8.0
        assert (array == 8.0).all()


@every_cell
def test_the_views_cover_the_vector_once(cell: str) -> None:
    parameters = make_case(cell=cell, layers=3).network.parameters
    for array in parameters.values():
        array[...] = 0.0
    for array in parameters.values():
        array[...] += 1.0
    assert (parameters.vector == 1.0).all()


def test_shapes_are_those_of_the_equations_in_the_order_of_the_vector() -> None:
    assert Network.shapes(vocabulary_size=65, hidden_size=100, cell="rnn", layers=2) == {
        "W": (100, 100),
        "U": (100, 65),
        "b": (100,),
        "layer1.W": (100, 100),
        "layer1.U": (100, 100),
        "layer1.b": (100,),
        "V": (65, 100),
        "c": (65,),
    }


def test_initial_weights_are_normal_with_the_given_scale_and_initial_biases_zero() -> None:
    network = Network(vocabulary_size=65, hidden_size=100, dtype=np.float64)
    network.parameters.vector[:] = 9.0
    network.initialize(0.01, rng=np.random.default_rng(1))
    for name in ("W", "U", "V"):
        assert network.parameters[name].std() == pytest.approx(0.01, rel=0.05)
        assert network.parameters[name].mean() == pytest.approx(0.0, abs=0.0005)
    assert not network.parameters["b"].any()
    assert not network.parameters["c"].any()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@every_cell
def test_pickling_keeps_sizes_and_parameters(cell: str, dtype: Any) -> None:
    network = make_case(cell=cell, layers=2, dtype=dtype).network
    other = pickle.loads(pickle.dumps(network))
    assert other.sizes == network.sizes
    np.testing.assert_array_equal(other.parameters.vector, network.parameters.vector, strict=True)


@every_cell
def test_after_pickling_the_views_still_share_the_vectors_memory(cell: str) -> None:
    other = pickle.loads(pickle.dumps(make_case(cell=cell).network))
    other.parameters.vector[:] = 3.0
    assert all((array == 3.0).all() for array in other.parameters.values())


def test_a_copy_in_another_type_is_a_copy() -> None:
    network = make_case().network
    other = network.astype(np.complex128)
    other.parameters.vector[:] = 0
    assert other.dtype == np.complex128
    assert network.parameters.vector.all()


@every_cell
def test_complex_parameters_give_the_loss_an_imaginary_part_and_leave_its_real_one(cell: str) -> None:
    case = make_case(cell=cell, layers=2)
    network = case.network.astype(np.complex128)
    rng = np.random.default_rng(1)
    for name, array in network.parameters.items():
        network.parameters.vector[:] = case.network.parameters.vector
        array[...] += 1e-20j * rng.normal(size=array.shape)  # the same for all of V would be a mere shift of o
        loss, state = network.forward(case.inputs, case.targets, case.state.astype(np.complex128))
        assert abs(loss.imag) > 1e-24, name
        assert loss.real == pytest.approx(case.loss, rel=1e-12), name
        assert name in ("V", "c") or state.imag.any(), name


@every_cell
def test_a_later_input_changes_no_earlier_output(cell: str) -> None:
    case = make_case(cell=cell, layers=2)
    before = case.network.logits(case.inputs, case.state)[0].copy()
    case.inputs[-1] = (case.inputs[-1] + 1) % 5
    after = case.network.logits(case.inputs, case.state)[0]
    np.testing.assert_array_equal(after[:-1], before[:-1])
    assert (after[-1] != before[-1]).any()


@every_cell
def test_an_earlier_state_reaches_the_last_output(cell: str) -> None:
    case = make_case(cell=cell)
    before = case.network.logits(case.inputs, case.state)[0].copy()
    after = case.network.logits(case.inputs, case.state * 0.5)[0]
    assert (after[-1] != before[-1]).all()


@every_cell
def test_the_loss_is_that_of_the_outputs(cell: str) -> None:
    case = make_case(cell=cell, layers=2)
    o = case.network.logits(case.inputs, case.state)[0]  # (T, B, K)
    p = np.exp(o) / np.exp(o).sum(axis=2, keepdims=True)
    p_of_target = np.take_along_axis(p, case.targets[:, :, None], axis=2)
    assert case.loss == pytest.approx(-np.log(p_of_target).sum() / 2, rel=1e-13)


@every_cell
def test_the_gradient_after_a_window_with_dropout_has_none(cell: str) -> None:
    case = make_case(cell=cell, layers=2)
    _, before = analytic_gradient(case.network, case.window)
    case.network.forward(case.inputs, case.targets, case.state, [np.zeros((12, 4)), np.full((12, 4), 2.0)])
    _, after = analytic_gradient(case.network, case.window)
    np.testing.assert_array_equal(after, before)


@every_cell
def test_reading_leaves_the_given_state_as_it_was(cell: str) -> None:
    case = make_case(cell=cell)
    before = case.state.copy()
    case.network.forward(case.inputs, case.targets, case.state)
    case.network.backward(case.inputs)
    np.testing.assert_array_equal(case.state, before)


@every_cell
def test_a_state_that_was_returned_is_not_changed_by_the_next_window(cell: str) -> None:
    case = make_case(cell=cell)
    _, state = case.network.forward(case.inputs, case.targets, case.state)
    before = state.copy()
    case.network.forward(case.targets, case.inputs, case.state)
    np.testing.assert_array_equal(state, before)


@every_cell
def test_ids_of_the_smallest_type_give_the_same_loss(cell: str) -> None:
    case = make_case(K=200, T=20, cell=cell)
    loss = case.loss
    case.inputs, case.targets = case.inputs.astype(np.uint8), case.targets.astype(np.uint8)
    assert case.loss == loss
