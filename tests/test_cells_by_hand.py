"""Every cell, the textbook's and the engine's, against numbers worked out by hand and against what its gates are for.

The textbook and the engine could share a misreading of the equations. Here the equations are written out once more, as
plain numbers without arrays, and each gate is opened and shut to see what it lets through.
"""

from collections.abc import Callable
from math import exp, log, tanh

import numpy as np
import pytest

from charloom import textbook
from charloom.core.network.network import Network
from charloom.textbook import Array, Columns, Params

Window = Callable[..., tuple[float, Params, Columns]]
CELLS = ["rnn", "gru", "lstm"]
OPEN, SHUT = 40.0, -40.0  # biases that no other term matters beside: σ is 1 or 0 to 17 digits


def engine(
    params: Params, inputs: list[int], targets: list[int], state: Columns, *, cell: str
) -> tuple[float, Params, Columns]:
    """The engine, called like `textbook.loss_and_gradients`."""
    K, m = params["V"].shape
    network = Network(vocabulary_size=K, hidden_size=m, cell=cell, dtype=np.float64)
    for name, array in network.parameters.items():
        array[...] = params[name].reshape(array.shape)
    ids = np.array(inputs)[:, None]
    state_0 = np.stack([column.T for column in state])[None]  # (layers, states, B, m)
    loss, state_T = network.forward(ids, np.array(targets)[:, None], state_0)
    grads = {name: array.reshape(params[name].shape).copy() for name, array in network.backward(ids).items()}
    return float(loss), grads, tuple(array.T for array in state_T[0])


either = pytest.mark.parametrize("window", [textbook.loss_and_gradients, engine], ids=["textbook", "engine"])
every_cell = pytest.mark.parametrize("cell", CELLS)


def column(*entries: float) -> Array:
    return np.array(entries)[:, None]


def sigma(a: float) -> float:
    return 1 / (1 + exp(-a))


def nll(o_target: float, o_other: float) -> float:
    """-log of the target's probability, where there are two characters."""
    return -log(exp(o_target) / (exp(o_target) + exp(o_other)))


@either
def test_two_time_steps_of_a_plain_cell_with_two_units_are_those_worked_out_by_hand(window: Window) -> None:
    params = {
        "W": np.array([[0.5, -0.3], [0.8, 0.2]]),
        "U": np.array([[1.0, -0.7], [0.4, 0.6]]),
        "b": column(0.1, -0.2),
        "V": np.array([[2.0, -1.0], [0.5, 1.5]]),
        "c": column(0.3, -0.1),
    }
    loss, _, (h,) = window(params, [0, 1], [1, 0], (column(0.2, -0.4),), cell="rnn")
    first_1 = tanh(0.5 * 0.2 - 0.3 * -0.4 + 1.0 + 0.1)
    second_1 = tanh(0.8 * 0.2 + 0.2 * -0.4 + 0.4 - 0.2)
    first_2 = tanh(0.5 * first_1 - 0.3 * second_1 - 0.7 + 0.1)
    second_2 = tanh(0.8 * first_1 + 0.2 * second_1 + 0.6 - 0.2)
    loss_1 = nll(0.5 * first_1 + 1.5 * second_1 - 0.1, 2.0 * first_1 - 1.0 * second_1 + 0.3)
    loss_2 = nll(2.0 * first_2 - 1.0 * second_2 + 0.3, 0.5 * first_2 + 1.5 * second_2 - 0.1)
    np.testing.assert_allclose(h, column(first_2, second_2), rtol=1e-14)
    assert loss == pytest.approx(loss_1 + loss_2, rel=1e-14)


@either
def test_two_time_steps_of_a_gru_with_one_unit_are_those_worked_out_by_hand(window: Window) -> None:
    params = {
        "W": column(0.5, -0.3, 0.8),  # r, z, n
        "U": np.array([[1.0, -0.7], [0.4, 0.6], [-0.9, 1.2]]),
        "b": column(0.1, -0.2, 0.3),
        "bn": column(0.7),
        "V": column(2.0, -1.0),
        "c": column(0.3, -0.1),
    }
    loss, _, (h,) = window(params, [0, 1], [1, 0], (column(0.4),), cell="gru")
    r_1 = sigma(0.5 * 0.4 + 1.0 + 0.1)
    z_1 = sigma(-0.3 * 0.4 + 0.4 - 0.2)
    n_1 = tanh(r_1 * (0.8 * 0.4 + 0.7) - 0.9 + 0.3)
    h_1 = (1 - z_1) * n_1 + z_1 * 0.4
    r_2 = sigma(0.5 * h_1 - 0.7 + 0.1)
    z_2 = sigma(-0.3 * h_1 + 0.6 - 0.2)
    n_2 = tanh(r_2 * (0.8 * h_1 + 0.7) + 1.2 + 0.3)
    h_2 = (1 - z_2) * n_2 + z_2 * h_1
    assert h.item() == pytest.approx(h_2, rel=1e-14)
    loss_1 = nll(-1.0 * h_1 - 0.1, 2.0 * h_1 + 0.3)
    loss_2 = nll(2.0 * h_2 + 0.3, -1.0 * h_2 - 0.1)
    assert loss == pytest.approx(loss_1 + loss_2, rel=1e-14)


@either
def test_two_time_steps_of_an_lstm_with_one_unit_are_those_worked_out_by_hand(window: Window) -> None:
    params = {
        "W": column(0.5, -0.3, 0.8, -0.6),  # o, i, f, g
        "U": np.array([[1.0, -0.7], [0.4, 0.6], [-0.9, 1.2], [0.2, -1.1]]),
        "b": column(0.1, -0.2, 0.3, -0.4),
        "V": column(2.0, -1.0),
        "c": column(0.3, -0.1),
    }
    loss, _, (h, c) = window(params, [0, 1], [1, 0], (column(0.4), column(-1.3)), cell="lstm")
    o_1 = sigma(0.5 * 0.4 + 1.0 + 0.1)
    i_1 = sigma(-0.3 * 0.4 + 0.4 - 0.2)
    f_1 = sigma(0.8 * 0.4 - 0.9 + 0.3)
    g_1 = tanh(-0.6 * 0.4 + 0.2 - 0.4)
    c_1 = f_1 * -1.3 + i_1 * g_1
    h_1 = o_1 * tanh(c_1)
    o_2 = sigma(0.5 * h_1 - 0.7 + 0.1)
    i_2 = sigma(-0.3 * h_1 + 0.6 - 0.2)
    f_2 = sigma(0.8 * h_1 + 1.2 + 0.3)
    g_2 = tanh(-0.6 * h_1 - 1.1 - 0.4)
    c_2 = f_2 * c_1 + i_2 * g_2
    h_2 = o_2 * tanh(c_2)
    assert (h.item(), c.item()) == pytest.approx((h_2, c_2), rel=1e-14)
    loss_1 = nll(-1.0 * h_1 - 0.1, 2.0 * h_1 + 0.3)
    loss_2 = nll(2.0 * h_2 + 0.3, -1.0 * h_2 - 0.1)
    assert loss == pytest.approx(loss_1 + loss_2, rel=1e-14)


@either
def test_the_gradient_of_one_time_step_of_a_plain_cell_is_that_worked_out_by_hand(window: Window) -> None:
    params = {
        "W": column(0.5),
        "U": np.array([[1.0, -0.7]]),
        "b": column(0.1),
        "V": column(2.0, -1.0),
        "c": column(0.3, -0.1),
    }
    _, grads, _ = window(params, [1], [0], (column(0.4),), cell="rnn")
    h = tanh(0.5 * 0.4 - 0.7 + 0.1)
    p_other = 1 / (1 + exp((2.0 * h + 0.3) - (-1.0 * h - 0.1)))  # of character 1; the target is 0
    da = (2.0 * -p_other - 1.0 * p_other) * (1 - h * h)
    expected = {"W": [da * 0.4], "U": [0.0, da], "b": [da], "V": [-p_other * h, p_other * h], "c": [-p_other, p_other]}
    for name, entries in expected.items():
        assert grads[name].ravel().tolist() == pytest.approx(entries, rel=1e-13), name


def random_case(cell: str, **gates: float) -> tuple[Params, Columns]:
    """Four characters and three units, every parameter drawn; the biases of the gates named are set to a value."""
    rng = np.random.default_rng(1)
    m, order = 3, {"rnn": "a", "gru": "rzn", "lstm": "oifg"}[cell]
    params = textbook.initial_parameters(4, m, cell, 0.5, rng=rng)
    for array in params.values():
        array += rng.normal(0.0, 0.5, array.shape)
    for gate, value in gates.items():
        first = order.index(gate) * m
        params["b"][first : first + m] = value
    return params, tuple(rng.uniform(-0.9, 0.9, (m, 1)) for _ in range(2 if cell == "lstm" else 1))


def rows(params: Params, name: str, gate: int) -> Array:
    """A gate's three rows of W, U or b."""
    return params[name][3 * gate : 3 * gate + 3]


def after(window: Window, cell: str, params: Params, state: Columns, inputs: list[int]) -> Columns:
    return window(params, inputs, inputs, state, cell=cell)[2]


@either
def test_an_lstm_with_the_forget_gate_open_and_the_input_gate_shut_keeps_its_cell_state(window: Window) -> None:
    params, (h, c) = random_case("lstm", f=OPEN, i=SHUT)
    _, c_last = after(window, "lstm", params, (h, c), [0, 1, 2, 3] * 5)
    np.testing.assert_allclose(c_last, c, rtol=1e-14)


@either
def test_an_lstm_with_the_forget_gate_shut_and_the_input_gate_open_takes_the_new_content_alone(window: Window) -> None:
    params, (h, c) = random_case("lstm", f=SHUT, i=OPEN)
    _, c_last = after(window, "lstm", params, (h, c), [2])
    g = np.tanh(rows(params, "W", 3) @ h + rows(params, "U", 3)[:, [2]] + rows(params, "b", 3))
    np.testing.assert_allclose(c_last, g, rtol=1e-14)


@either
def test_an_lstm_with_the_output_gate_shut_shows_nothing_and_remembers_all_the_same(window: Window) -> None:
    params, state = random_case("lstm", o=SHUT, f=OPEN, i=SHUT)
    h_last, c_last = after(window, "lstm", params, state, [2])
    np.testing.assert_allclose(h_last, 0.0, atol=1e-16)
    np.testing.assert_allclose(c_last, state[1], rtol=1e-14)


@either
def test_an_lstm_with_the_output_gate_open_shows_the_tanh_of_its_cell_state(window: Window) -> None:
    params, state = random_case("lstm", o=OPEN)
    h_last, c_last = after(window, "lstm", params, state, [2, 0])
    np.testing.assert_allclose(h_last, np.tanh(c_last), rtol=1e-14)


@either
def test_a_gru_with_z_open_keeps_its_state(window: Window) -> None:
    params, (h,) = random_case("gru", z=OPEN)
    (h_last,) = after(window, "gru", params, (h,), [0, 1, 2, 3] * 5)
    np.testing.assert_allclose(h_last, h, rtol=1e-14)


@either
def test_a_gru_with_z_and_r_shut_depends_on_the_character_alone(window: Window) -> None:
    params, (h,) = random_case("gru", z=SHUT, r=SHUT)
    (h_last,) = after(window, "gru", params, (h,), [2])
    np.testing.assert_allclose(h_last, np.tanh(rows(params, "U", 2)[:, [2]] + rows(params, "b", 2)), rtol=1e-14)


@either
def test_a_gru_with_z_shut_and_r_open_is_a_plain_cell(window: Window) -> None:
    params, (h,) = random_case("gru", z=SHUT, r=OPEN)
    (h_last,) = after(window, "gru", params, (h,), [2])
    a = rows(params, "W", 2) @ h + params["bn"] + rows(params, "U", 2)[:, [2]] + rows(params, "b", 2)
    np.testing.assert_allclose(h_last, np.tanh(a), rtol=1e-14)


@either
@every_cell
def test_without_weights_from_the_state_a_cell_reads_the_last_character_alone(window: Window, cell: str) -> None:
    shut: dict[str, dict[str, float]] = {"rnn": {}, "gru": {"z": SHUT}, "lstm": {"f": SHUT}}
    params, state = random_case(cell, **shut[cell])
    params["W"][...] = 0
    one = after(window, cell, params, state, [3, 0, 2])[0]
    other = after(window, cell, params, tuple(-array for array in state), [1, 1, 2])[0]
    np.testing.assert_allclose(one, other, rtol=1e-14)


GATES = [("rnn", 0), *(("gru", gate) for gate in range(3)), *(("lstm", gate) for gate in range(4))]


@either
@pytest.mark.parametrize(("cell", "gate"), GATES)
def test_an_entry_of_w_leads_from_the_unit_of_its_column_to_the_unit_of_its_row(
    window: Window, cell: str, gate: int
) -> None:
    params, state = random_case(cell)
    params["W"][...] = 0
    params["W"][3 * gate + 2, 0] = 1.5  # from unit 0 to unit 2
    before = after(window, cell, params, state, [2])[0]
    reached = []
    for unit in range(3):
        shifted = state[0].copy()
        shifted[unit] += 0.1
        h_last = after(window, cell, params, (shifted, *state[1:]), [2])[0]
        reached.append({int(k) for k in np.flatnonzero(h_last != before)} - {unit})  # a GRU keeps each unit's own
    assert reached == [{2}, set(), set()]
