"""The gradient check itself: it passes what is right, and each planted error is caught."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import takewhile
from typing import Any

import numpy as np
import pytest

from charloom.core import gradcheck
from charloom.core.cells import CELLS, Cell
from charloom.core.common.records import StepSizeError
from charloom.core.common.reference import REFERENCE, ReferenceErrors
from charloom.core.common.types import Array, IntArray
from charloom.core.gradcheck import Copies, Window, check, copies, second_window, well_conditioned
from charloom.core.gradcheck.check import TRUNCATION, Check, compare
from charloom.core.gradcheck.copies import forward
from charloom.core.gradcheck.numerical import COMPLEX_STEP, METHODS, analytic_gradient, numerical_gradient
from charloom.core.gradcheck.windows import amplified_rounding
from charloom.core.network import Network, Parameters

STEP, THRESHOLD = 1e-5, 1e-9
K, m, T = 6, 8, 12

every_cell = pytest.mark.parametrize("cell", sorted(CELLS))


def a_network(cell: str = "rnn", layers: int = 1, scale: float = 0.4, units: int = m) -> Network:
    network = Network(vocabulary_size=K, hidden_size=units, cell=cell, layers=layers, dtype=np.float64)
    network.parameters.vector[:] = np.random.default_rng(1).normal(0, scale, network.parameters.vector.size)
    return network


def a_window(network: Network, streams: int = 1, time_steps: int = T) -> Window:
    """One that never reads the character K - 1, with a state that is not zero."""
    rng = np.random.default_rng(2)
    inputs, targets = rng.integers(0, K - 1, (2, time_steps, streams))
    return Window(inputs, targets, rng.uniform(-0.8, 0.8, network.zero_state(streams).shape))


def with_masks(network: Network, window: Window) -> Window:
    """The same window with a dropout mask for every layer."""
    rng, (T, B) = np.random.default_rng(4), window.inputs.shape
    masks = [(rng.random((T * B, network.hidden_size)) >= 0.3) / 0.7 for _ in range(network.layers)]
    return replace(window, masks=masks)


def found(network: Network, window: Window | None = None, **options: Any) -> Check:
    return check(network, window or a_window(network), STEP, THRESHOLD, rng=np.random.default_rng(5), **options)


def spoil(monkeypatch: pytest.MonkeyPatch, planted: Callable[[Parameters], None]) -> None:
    """Have the backward pass commit the planted error."""
    right = Network.backward

    def wrong(self: Network, inputs: IntArray) -> Parameters:
        grads = right(self, inputs)
        planted(grads)
        return grads

    monkeypatch.setattr(Network, "backward", wrong)


def methods_that_name(problems: list[str], entry: str) -> set[str]:
    return {problem.split()[0] for problem in problems if f"finds {entry}" in problem}


@every_cell
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("streams", [1, 3])
def test_the_right_gradient_passes(cell: str, layers: int, streams: int) -> None:
    network = a_network(cell, layers, units=4)
    assert found(network, a_window(network, streams, time_steps=6)).problems == []


@every_cell
@pytest.mark.parametrize("scale", [0.0, 0.01, 1.0])
def test_the_right_gradient_passes_at_small_and_large_weights(cell: str, scale: float) -> None:
    assert found(a_network(cell, scale=scale)).problems == []


@pytest.mark.parametrize("time_steps", [1, 2])
def test_the_right_gradient_of_a_short_window_passes(time_steps: int) -> None:
    network = a_network()
    assert found(network, a_window(network, time_steps=time_steps)).problems == []


def a_steep_case() -> tuple[Network, Window]:
    """A network whose loss bends so much that the truncation of a central difference exceeds `TRUNCATION`."""
    network, rng = Network(vocabulary_size=4, hidden_size=16, dtype=np.float64), np.random.default_rng(2)
    network.initialize(0.6, rng=np.random.default_rng(1))
    inputs, targets = rng.integers(0, 4, (2, 40, 1))
    return network, Window(inputs, targets, rng.uniform(-0.5, 0.5, network.zero_state(1).shape))


def test_a_right_gradient_passes_where_the_truncation_of_the_central_difference_is_large() -> None:
    network, window = a_steep_case()
    checked = found(network, window)
    errors = checked.errors.central["W"]
    assert errors.max_absolute_error > 1.2 * TRUNCATION * errors.max_absolute_error / errors.max_scaled_error
    assert checked.problems == []


def test_a_wrong_gradient_is_caught_by_both_methods_where_the_truncation_is_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def planted(grads: Parameters) -> None:
        grads["W"][3, 5] *= 1.0005

    spoil(monkeypatch, planted)
    problems = found(*a_steep_case()).problems
    assert methods_that_name(problems, "W[3, 5]") == {"central", "complex_step"}


def test_the_complex_step_agrees_far_better_than_its_threshold() -> None:
    errors = found(a_network()).errors.complex_step
    assert max(tensor.max_scaled_error for tensor in errors.values()) < 1e-13


@pytest.mark.parametrize(("name", "entry"), [("W", (3, 5)), ("U", (2, 1)), ("V", (4, 7)), ("b", (6,)), ("c", (0,))])
def test_an_error_of_one_twentieth_of_a_percent_in_one_entry_is_caught_by_both_methods(
    monkeypatch: pytest.MonkeyPatch, name: str, entry: tuple[int, ...]
) -> None:
    network = a_network()

    def planted(grads: Parameters) -> None:
        grads[name][entry] *= 1.0005

    spoil(monkeypatch, planted)
    checked = found(network)
    assert methods_that_name(checked.problems, f"{name}{list(entry)}") == {"central", "complex_step"}
    assert len(checked.problems) == 2
    for method in METHODS:
        worst = getattr(checked.errors, method)[name].worst
        assert worst.index == entry
        assert worst.analytic == pytest.approx(1.0005 * worst.numerical, rel=1e-5)


def test_the_relative_error_of_a_planted_twentieth_of_a_percent_is_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(grads: Parameters) -> None:
        grads["b"][2] *= 1.0005

    spoil(monkeypatch, planted)
    errors = found(a_network()).errors.complex_step["b"]
    assert errors.max_relative_error == pytest.approx(0.0005 / 1.0005, rel=1e-6)


@every_cell
@pytest.mark.parametrize("name", ["W", "U", "V", "b", "c"])
def test_a_wrong_sign_is_caught(monkeypatch: pytest.MonkeyPatch, cell: str, name: str) -> None:
    def planted(grads: Parameters) -> None:
        np.negative(grads[name], out=grads[name])

    spoil(monkeypatch, planted)
    problems = found(a_network(cell)).problems
    assert methods_that_name(problems, name) == {"central", "complex_step"}


@every_cell
def test_a_missing_recurrent_term_is_caught_in_what_lies_before_it(monkeypatch: pytest.MonkeyPatch, cell: str) -> None:
    right = CELLS[cell].backward

    def forgetful(self: Cell[Any], params: dict[str, Array], *others: Any) -> Any:
        """Without what h_t does for the time steps after it, Wᵀ da_{t+1}."""
        return right(self, {**params, "W": np.zeros_like(params["W"])}, *others)

    monkeypatch.setattr(CELLS[cell], "backward", forgetful)
    problems = found(a_network(cell)).problems
    for name in ("W", "U", "b"):
        assert methods_that_name(problems, name) == {"central", "complex_step"}
    for name in ("V", "c"):
        assert methods_that_name(problems, name) == set()


def test_a_gradient_clipped_before_the_check_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    network = a_network()
    _, raw = analytic_gradient(network, a_window(network))
    limit = 0.9 * np.abs(raw).max()

    def planted(grads: Parameters) -> None:
        np.clip(grads.vector, -limit, limit, out=grads.vector)

    spoil(monkeypatch, planted)
    assert {problem.split()[0] for problem in found(network).problems} == {"central", "complex_step"}


@every_cell
@pytest.mark.parametrize("name", ["b", "c"])
def test_a_missing_bias_gradient_is_caught(monkeypatch: pytest.MonkeyPatch, cell: str, name: str) -> None:
    def planted(grads: Parameters) -> None:
        grads[name][...] = 0

    spoil(monkeypatch, planted)
    problems = found(a_network(cell)).problems
    assert methods_that_name(problems, name) == {"central", "complex_step"}
    assert len(problems) == 2


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_is_caught_by_both_methods(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    def planted(grads: Parameters) -> None:
        grads["V"][3, 2] = value

    spoil(monkeypatch, planted)
    with np.errstate(invalid="ignore"):  # inf / inf in the relative error
        problems = found(a_network()).problems
    assert methods_that_name(problems, "V[3, 2]") == {"central", "complex_step"}


def test_an_error_in_an_upper_layer_is_named_with_its_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(grads: Parameters) -> None:
        grads["layer1.U"][2, 3] += 0.1

    spoil(monkeypatch, planted)
    problems = found(a_network(layers=2)).problems
    assert methods_that_name(problems, "layer1.U[2, 3]") == {"central", "complex_step"}


def test_a_problem_gives_the_entry_both_values_and_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(grads: Parameters) -> None:
        grads["c"][1] = 123.0

    network = a_network()
    _, right = analytic_gradient(network, a_window(network))
    value = right[network.parameters.slices["c"]][1]
    spoil(monkeypatch, planted)
    assert (
        f"complex_step finds c[1] = {value:.9g} where the backward pass has 123 (bound 1.2e-07)"
        in found(network).problems
    )


def test_entries_that_are_exactly_zero_in_both_gradients_are_counted_apart() -> None:
    errors = found(a_network()).errors
    for method in METHODS:
        assert (
            getattr(errors, method)["U"].exact_zeros == m
        )  # the column of the character that the window does not read
        assert getattr(errors, method)["W"].exact_zeros == 0


def test_exact_zeros_give_no_relative_error_of_their_own() -> None:
    network = Network(vocabulary_size=2, hidden_size=1, dtype=np.float64)
    g_a, g_n = np.zeros(network.parameters.vector.size), np.zeros(network.parameters.vector.size)
    errors = compare(network, g_a, g_n)["V"]
    assert (errors.max_relative_error, errors.max_absolute_error, errors.exact_zeros) == (0.0, 0.0, 2)


def test_a_zero_against_a_number_that_is_not_is_a_relative_error_of_one() -> None:
    network = Network(vocabulary_size=2, hidden_size=1, dtype=np.float64)
    g_a, g_n = np.zeros(network.parameters.vector.size), np.zeros(network.parameters.vector.size)
    g_n[network.parameters.slices["c"]] = [0.0, 1e-30]
    errors = compare(network, g_a, g_n)["c"]
    assert (errors.max_relative_error, errors.exact_zeros, errors.worst.index) == (1.0, 1, (1,))


def test_the_errors_are_those_of_the_formula() -> None:
    network = Network(vocabulary_size=2, hidden_size=1, dtype=np.float64)
    g_a, g_n = np.ones(network.parameters.vector.size), np.ones(network.parameters.vector.size)
    g_a[network.parameters.slices["V"]] = [4.0, -0.5]
    g_n[network.parameters.slices["V"]] = [4.5, -0.4]
    errors = compare(network, g_a, g_n)["V"]
    assert errors.max_absolute_error == 0.5
    assert errors.max_relative_error == pytest.approx(0.2)  # |-0.5 + 0.4| / 0.5, more than 0.5 / 4.5
    assert errors.max_scaled_error == 0.125
    assert errors.entries == 2
    assert (errors.worst.index, errors.worst.analytic, errors.worst.numerical) == ((0, 0), 4.0, 4.5)


def test_the_numerical_gradient_calls_the_forward_pass_only(monkeypatch: pytest.MonkeyPatch) -> None:
    network = a_network()
    window = a_window(network)
    _, analytic = analytic_gradient(network, window)

    def forbidden(self: Network, inputs: IntArray) -> Parameters:
        raise AssertionError("backward was called")

    monkeypatch.setattr(Network, "backward", forbidden)
    for method, step in (("central", STEP), ("complex_step", COMPLEX_STEP)):
        numerical = numerical_gradient(network, window, method, step)
        np.testing.assert_allclose(numerical, analytic, rtol=1e-4, atol=1e-8)


def losses_one_by_one(network: Network, window: Window, positions: Array, change: complex) -> Array:
    """The loss with the parameter itself changed, one forward pass for each position."""
    found = []
    for i in positions:
        changed = network.astype(network.dtype)
        changed.parameters.vector[i] += change
        found.append(forward(changed, window)[0])
    return np.array(found)


@every_cell
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("change", [0.3, 0.3j])
def test_a_copy_has_the_loss_of_the_forward_pass_with_that_parameter_changed(
    cell: str, layers: int, streams: int, change: complex
) -> None:
    network = a_network(cell, layers, units=4).astype(np.complex128)
    window, rng = with_masks(network, a_window(network, streams, time_steps=5)), np.random.default_rng(7)
    window = replace(window, state=window.state.astype(np.complex128))
    for name, part in network.parameters.slices.items():
        positions = rng.integers(part.start, part.stop, 5)
        copies = Copies(network.astype(np.complex128), window, name, positions)
        expected = losses_one_by_one(network, window, positions, change)
        np.testing.assert_allclose(copies.losses(change), expected, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("change", [0.3, 0.3j])
def test_the_loss_does_not_change_with_the_weights_of_a_character_that_the_window_does_not_read(
    change: complex,
) -> None:
    network = a_network(scale=0.4).astype(np.complex128)
    window = a_window(network)
    window = replace(window, state=window.state.astype(np.complex128))
    before, _ = forward(network, window)
    network.parameters["U"][:, K - 1] += change
    assert forward(network, window)[0] == before


@pytest.mark.parametrize("name", ["U", "V"])
def test_a_numerical_gradient_of_more_entries_than_fit_in_a_pass_is_that_of_each(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    network = a_network()
    window, part = a_window(network, 2), network.parameters.slices[name]
    at_once = numerical_gradient(network, window, "complex_step", COMPLEX_STEP, indices=range(part.start, part.stop))
    monkeypatch.setattr(copies, "_MOST", 3)
    in_pieces = numerical_gradient(network, window, "complex_step", COMPLEX_STEP, indices=range(part.start, part.stop))
    np.testing.assert_allclose(in_pieces, at_once, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("method", METHODS)
def test_the_numerical_gradient_of_some_entries_is_that_of_all_at_their_places(method: str) -> None:
    network = a_network()
    window = a_window(network)
    everything = numerical_gradient(network, window, method, 1e-6)
    some = numerical_gradient(network, window, method, 1e-6, indices=[40, 3, 17])
    np.testing.assert_allclose(some, everything[[40, 3, 17]], rtol=1e-7)


def test_the_check_leaves_the_parameters_as_they_were() -> None:
    network = a_network()
    before = network.parameters.vector.copy()
    found(network)
    np.testing.assert_array_equal(network.parameters.vector, before)


def test_work_divided_among_processes_gives_the_same_check() -> None:
    network = a_network()

    def backwards(function: Callable[..., Array], jobs: list[Any]) -> Iterable[Array]:
        return [function(job) for job in reversed(jobs)][::-1]

    divided = found(network, map=backwards)
    assert divided.errors == found(network).errors


@every_cell
@pytest.mark.parametrize("units", [4, 40])
@pytest.mark.parametrize("time_steps", [1, 20])
@pytest.mark.parametrize("scale", [0.01, 0.3, 1.0])
def test_no_right_gradient_is_refused(cell: str, units: int, time_steps: int, scale: float) -> None:
    """A small form of `benchmarks/right_gradients.py`."""
    network, rng = a_network(cell, 2, scale, units), np.random.default_rng(5)
    whole = well_conditioned(network, a_window(network, 2, 2 * time_steps), THRESHOLD, rng=rng)
    window, problems = second_window(network, whole)
    assert problems + found(network, window, central=4, complex_step=4).problems == []


def a_chaotic_network() -> Network:
    """A change of one unit in the last place grows beyond all bounds in it within a hundred time steps."""
    return a_network(scale=3.0, units=30)


def test_a_window_over_which_rounding_grows_too_much_is_cut_until_it_does_not() -> None:
    network, rng = a_chaotic_network(), np.random.default_rng(5)
    window = a_window(network, time_steps=128)
    assert amplified_rounding(network, window, rng=rng) > THRESHOLD
    stable = well_conditioned(network, window, THRESHOLD, rng=rng)
    assert len(stable.inputs) in (2, 4, 8, 16, 32, 64)
    assert amplified_rounding(network, stable, rng=rng) < THRESHOLD
    np.testing.assert_array_equal(stable.inputs, window.inputs[: len(stable.inputs)])


def test_a_window_over_which_rounding_stays_small_is_kept() -> None:
    network = a_network()
    window = a_window(network)
    assert well_conditioned(network, window, THRESHOLD, rng=np.random.default_rng(5)) is window


def test_rounding_adds_up_along_a_random_direction_as_much_as_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """In each entry it is far below the bound; the sum of 40,000 of them is not."""
    network, rng = a_network(scale=0.3, units=200), np.random.default_rng(5)
    long = a_window(network, streams=2, time_steps=64)
    windows = [long.part(0, time_steps) for time_steps in range(2, 64)]
    measured = (10 * amplified_rounding(network, window, rng=rng) for window in windows)
    rounding = list(takewhile(lambda amount: amount < THRESHOLD, measured))
    assert 0 < len(rounding) < len(windows)
    noise = rng.normal(0, 0.2 * rounding[-1], (200, 200))

    def planted(grads: Parameters) -> None:
        grads["W"][:] += noise * np.sqrt(np.mean(grads["W"] ** 2))

    spoil(monkeypatch, planted)
    assert found(network, windows[len(rounding) - 1], central=4, complex_step=4).problems == []
    problems = found(network, windows[0], central=4, complex_step=4).problems
    assert [problem for problem in problems if "along a random direction of W" in problem] == problems != []


def test_a_wrong_entry_is_caught_in_what_is_left_of_a_chaotic_window(monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(grads: Parameters) -> None:
        grads["V"][3] *= 1.0005

    spoil(monkeypatch, planted)
    network, rng = a_chaotic_network(), np.random.default_rng(5)
    stable = well_conditioned(network, a_window(network, time_steps=128), THRESHOLD, rng=rng)
    problems = found(network, stable).problems
    assert "complex_step" in methods_that_name(problems, "V[3, ")


@every_cell
def test_the_second_window_starts_with_the_state_that_the_first_leaves(cell: str) -> None:
    network = a_network(cell, 2)
    whole = with_masks(network, a_window(network, 2, 10))
    second, problems = second_window(network, whole)
    first = whole.part(0, 5, whole.state)
    assert problems == []
    np.testing.assert_array_equal(second.state, forward(network, first)[1])
    np.testing.assert_array_equal(second.inputs, whole.inputs[5:])
    assert [mask.shape for mask in second.masks if mask is not None] == [(10, m)] * 2


def test_a_carried_state_that_is_wrong_is_named_with_both_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Network.forward

    def forgetful(*arguments: Any) -> Any:
        loss, state = right(*arguments)
        return loss, 0 * state

    monkeypatch.setattr(Network, "forward", forgetful)
    network = a_network()
    _, problems = second_window(network, a_window(network))
    assert problems[0].startswith("two windows with the state carried have the loss ")
    assert "where one of twice the length has " in problems[0]


def test_random_directions_see_an_error_in_entries_that_were_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(grads: Parameters) -> None:
        grads["W"][1:] *= 1.0001

    spoil(monkeypatch, planted)
    network = a_network()
    problems = found(network, central=1, complex_step=1).problems
    assert any("along a random direction of W" in problem for problem in problems)


def test_a_sample_has_as_many_entries_of_each_tensor_or_all_that_there_are() -> None:
    errors = found(a_network("lstm"), central=7, complex_step=9).errors
    for tensors, expected in ((errors.central, 7), (errors.complex_step, 9)):
        sizes = {name: tensor.entries for name, tensor in tensors.items()}
        assert sizes == {"W": expected, "U": expected, "b": expected, "V": expected, "c": K}


@pytest.fixture(scope="module")
def sweep() -> list[StepSizeError]:
    network = a_network()
    return gradcheck.step_sweep(network, a_window(network), rng=np.random.default_rng(3))


def errors_by_step(sweep: list[StepSizeError], method: str) -> dict[float, float]:
    return {
        round(np.log10(point.step), 6): point.max_relative_error
        for point in sweep
        if point.method == method and point.tensor == "all"
    }


def test_the_central_difference_is_worse_on_both_sides_of_its_best_step(sweep: list[StepSizeError]) -> None:
    central = errors_by_step(sweep, "central")
    assert central[-5] < 1e-7
    assert central[-1] > 1000 * central[-5]  # truncation
    assert central[-12] > 1000 * central[-5]  # rounding


def test_the_truncation_of_the_central_difference_falls_with_the_square_of_the_step(sweep: list[StepSizeError]) -> None:
    central = errors_by_step(sweep, "central")
    assert central[-1] / central[-2] == pytest.approx(100, rel=0.3)
    assert central[-2] / central[-3] == pytest.approx(100, rel=0.1)


def test_the_complex_step_is_exact_at_every_small_step(sweep: list[StepSizeError]) -> None:
    small = {step: error for step, error in errors_by_step(sweep, "complex_step").items() if step <= -8}
    assert sorted(small) == [-100, -70, -50, -30, -20, -15, -12, -10, -8]
    assert max(small.values()) < 1e-12


def test_all_is_the_largest_of_the_tensors(sweep: list[StepSizeError]) -> None:
    at = [point for point in sweep if point.method == "central" and point.step == pytest.approx(1e-3)]
    largest = {point.tensor: point.max_relative_error for point in at}
    assert set(largest) == {"W", "U", "b", "V", "c", "all"}
    assert largest.pop("all") == max(largest.values())


def test_the_table_has_a_line_for_each_tensor_with_the_references_figures() -> None:
    lines = gradcheck.table({"initial": found(a_network()).errors}, REFERENCE).splitlines()
    W = next(line for line in lines if line.startswith("W "))
    assert W.split()[-4:] == ["3.1e-07", "5.4e-06", "64", "0"]
    assert [line.split()[0] for line in lines[3:8]] == ["W", "U", "b", "V", "c"]


@pytest.mark.parametrize(("weights", "reference"), [("initial", {}), ("large", REFERENCE)], ids=["cell", "weights"])
def test_the_table_of_another_cell_or_other_weights_has_no_figures_of_the_reference(
    weights: str, reference: ReferenceErrors
) -> None:
    table = gradcheck.table({weights: found(a_network()).errors}, reference)
    assert "reference" not in table
    (W,) = (line for line in table.splitlines() if line.startswith("W "))
    assert len(W.split()) == 1 + 4 + 2
