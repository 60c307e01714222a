"""The engine beside the textbook, update by update, on the bundled corpus; the textbook's own gradient and program.

Two free runs part ways whatever one does: the first updates of AdaGrad are nearly sign(g)·η, so that rounding grows.
Each update is therefore compared from the same point: the engine's parameters, state and accumulator before it.

That both agree does not show that both are right: see test_cells_by_hand.py.
"""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charloom import textbook
from charloom.adapters.files.corpus import read_text
from charloom.core.network import Network, Parameters
from charloom.core.text.vocabulary import Vocabulary
from charloom.core.training.optimizers import AdaGrad
from charloom.core.training.training import Training
from charloom.textbook import Array, Columns, Params

CORPUS = Path(__file__).parents[1] / "data" / "corpus.txt"
T = 25
CELLS = ["rnn", "gru", "lstm"]
every_cell = pytest.mark.parametrize("cell", CELLS)


class Recording(AdaGrad):
    """AdaGrad that keeps the raw gradient of its last update."""

    raw: Array

    def update(self, params: Array, grads: Array) -> None:
        self.raw = grads.copy()
        super().update(params, grads)


@dataclass
class Moment:
    """The engine before and after an update, as columns and matrices of the textbook."""

    inputs: list[int]
    targets: list[int]
    params: Params
    sums_of_squares: Params
    state: Columns
    loss: float
    smooth_loss: float
    grads: Params
    params_after: Params
    state_last: Columns


@dataclass
class Run:
    """Updates of one cell, one after the other."""

    cell: str
    moments: list[Moment]


@dataclass
class Errors:
    """How far the textbook is from the engine, the largest over all updates."""

    loss: float  # relative
    gradient: float  # of the tensor's largest entry
    parameters: float  # absolute
    state: float  # absolute


def columns(state: Array) -> Columns:
    """The engine's state of one layer and one stream, (1, states, 1, m), as the textbook has it."""
    return tuple(array[:, None].copy() for array in state[0, :, 0])


def train(cell: str, updates: int, m: int, draw: Callable[[Network], None]) -> Run:
    text = read_text(CORPUS, encoding="utf-8")
    vocabulary = Vocabulary.of(text)
    ids = vocabulary.encode(text)
    network = Network(vocabulary_size=len(vocabulary), hidden_size=m, cell=cell, dtype=np.float64)
    draw(network)
    optimizer = Recording(
        network.parameters.vector.size, np.float64, learning_rate=0.1, epsilon=2.2e-16, clip_value=5.0
    )
    training = Training(network, optimizer, ids, seq_length=T, batch_size=1, smoothing=0.999)
    shapes = Network.shapes(vocabulary_size=len(vocabulary), hidden_size=m, cell=cell, layers=1)

    def named(vector: Array) -> Params:
        views = Parameters(shapes, np.float64)
        views.vector[:] = vector
        return {name: array.reshape(len(array), -1).copy() for name, array in views.items()}

    moments = []
    params_after = named(network.parameters.vector)
    for _ in range(updates):
        start = training.position
        window = ids[start : start + T + 1].tolist()
        params, state = params_after, columns(training.state)
        sums_of_squares = named(optimizer.state["sum_of_squares"])
        update = next(training.updates())
        params_after = named(network.parameters.vector)
        moments.append(
            Moment(
                inputs=window[:-1],
                targets=window[1:],
                params=params,
                sums_of_squares=sums_of_squares,
                state=state,
                loss=update.loss,
                smooth_loss=update.smooth_loss,
                grads=named(optimizer.raw),
                params_after=params_after,
                state_last=columns(training.state),
            )
        )
    return Run(cell, moments)


def at_the_reference_settings(network: Network) -> None:
    network.initialize(0.01, rng=np.random.default_rng(1))


def with_every_parameter_away_from_zero(network: Network) -> None:
    rng = np.random.default_rng(1)
    network.initialize(0.3, rng=rng)
    for array in network.parameters.values():
        if array.ndim == 1:
            array += rng.normal(0.0, 0.3, array.shape)


@pytest.fixture(scope="module")
def reference() -> Run:
    return train("rnn", 300, 100, at_the_reference_settings)


@pytest.fixture(scope="module", params=CELLS)
def run(request: pytest.FixtureRequest) -> Run:
    """The reference settings for the plain cell; for the gated ones smaller numbers, from larger weights."""
    if request.param == "rnn":
        reference_run: Run = request.getfixturevalue("reference")
        return reference_run
    return train(request.param, 60, 32, with_every_parameter_away_from_zero)


def copies(arrays: Params) -> Params:
    return {name: array.copy() for name, array in arrays.items()}


def compare(
    run: Run,
    loss_and_gradients: Callable[..., tuple[float, Params, Columns]] = textbook.loss_and_gradients,
    learning_rate: float = 0.1,
    clip_value: float = 5.0,
) -> Errors:
    errors = Errors(0.0, 0.0, 0.0, 0.0)
    for moment in run.moments:
        params, sums_of_squares = copies(moment.params), copies(moment.sums_of_squares)
        loss, grads, state = loss_and_gradients(params, moment.inputs, moment.targets, moment.state, cell=run.cell)
        textbook.adagrad(params, grads, sums_of_squares, learning_rate=learning_rate, clip_value=clip_value)
        errors.loss = max(errors.loss, abs(loss - moment.loss) / moment.loss)
        for mine, last in zip(state, moment.state_last, strict=True):
            errors.state = max(errors.state, float(np.abs(mine - last).max()))
        for name in params:
            relative = np.abs(grads[name] - moment.grads[name]).max() / np.abs(grads[name]).max()
            absolute = np.abs(params[name] - moment.params_after[name]).max()
            errors.gradient = max(errors.gradient, float(relative))
            errors.parameters = max(errors.parameters, float(absolute))
    return errors


@pytest.fixture(scope="module")
def errors(run: Run) -> Errors:
    return compare(run)


def test_three_hundred_updates_are_compared_and_the_loss_starts_at_that_of_a_guess(reference: Run) -> None:
    moments = reference.moments
    K = len(moments[0].params["c"])
    assert len(moments) == 300
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


def test_every_tensor_has_a_gradient_at_every_update(run: Run) -> None:
    names = {"W", "U", "b", "V", "c"} | ({"bn"} if run.cell == "gru" else set())
    for moment in run.moments:
        assert moment.grads.keys() == names
        assert all(array.any() for array in moment.grads.values())


def test_the_smooth_loss_is_the_textbooks(run: Run) -> None:
    smooth_loss = None
    for moment in run.moments:
        smooth_loss = textbook.smooth(smooth_loss, moment.loss)
        assert moment.smooth_loss == pytest.approx(smooth_loss, rel=1e-12)


def test_the_textbooks_own_training_reads_the_same_windows_from_the_same_states(reference: Run) -> None:
    text = read_text(CORPUS, encoding="utf-8")
    ids = Vocabulary.of(text).encode(text).tolist()
    training = textbook.train(copies(reference.moments[0].params), ids)
    for moment in reference.moments[:3]:  # later on, rounding has grown
        smooth_loss, (h,), next_id = next(training)
        assert smooth_loss == pytest.approx(moment.smooth_loss, rel=1e-6)
        np.testing.assert_allclose(h, moment.state_last[0], atol=1e-5)
        assert next_id == moment.targets[-1]


@every_cell
def test_training_begins_again_with_the_text_and_a_zero_state(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, m = list(range(12)), 3
    params = textbook.initial_parameters(12, m, cell, rng=np.random.default_rng(1))
    read = []

    def recording(
        params: Params, inputs: list[int], targets: list[int], state: Columns, *, cell: str
    ) -> tuple[float, Params, Columns]:
        read.append((inputs, targets, any(array.any() for array in state)))
        return 1.0, {}, tuple(array + 1 for array in state)

    monkeypatch.setattr(textbook, "loss_and_gradients", recording)
    monkeypatch.setattr(textbook, "adagrad", lambda *args, **kwargs: None)
    updates = textbook.train(params, ids, cell=cell, T=4)
    for _ in range(3):
        next(updates)
    first, second = ([0, 1, 2, 3], [1, 2, 3, 4], False), ([4, 5, 6, 7], [5, 6, 7, 8], True)
    assert read == [first, second, first]


def test_clipping_takes_place_within_the_updates_of_the_reference(reference: Run) -> None:
    assert max(np.abs(array).max() for moment in reference.moments for array in moment.grads.values()) > 5


def test_a_loss_that_is_off_by_1e_11_is_caught(run: Run) -> None:
    def perturbed(*arguments: Any, cell: str) -> tuple[float, Params, Columns]:
        loss, grads, state = textbook.loss_and_gradients(*arguments, cell=cell)
        return loss * (1 + 1e-11), grads, state

    assert compare(run, perturbed).loss > 1e-12


def test_a_gradient_with_one_entry_off_by_1e_9_is_caught_in_every_tensor(run: Run) -> None:
    for name in run.moments[0].params:

        def perturbed(*arguments: Any, cell: str, name: str = name) -> tuple[float, Params, Columns]:
            loss, grads, state = textbook.loss_and_gradients(*arguments, cell=cell)
            grads[name].flat[np.abs(grads[name]).argmax()] *= 1 + 1e-9
            return loss, grads, state

        assert compare(Run(run.cell, run.moments[:3]), perturbed).gradient > 1e-10, name


def test_another_state_at_the_start_of_a_window_is_caught(run: Run) -> None:
    def perturbed(
        params: Params, inputs: list[int], targets: list[int], state: Columns, *, cell: str
    ) -> tuple[float, Params, Columns]:
        zeros = tuple(array * 0 for array in state)
        return textbook.loss_and_gradients(params, inputs, targets, zeros, cell=cell)

    assert compare(run, perturbed).gradient > 1e-10


def test_a_learning_rate_that_is_off_by_a_hundred_thousandth_is_caught(reference: Run) -> None:
    assert compare(reference, learning_rate=0.1 * (1 + 1e-5)).parameters > 1e-7


def test_a_clip_at_another_value_is_caught(reference: Run) -> None:
    assert compare(reference, clip_value=4.99).parameters > 1e-7


@every_cell
def test_the_initial_parameters_are_the_engines(cell: str) -> None:
    network = Network(vocabulary_size=5, hidden_size=3, cell=cell, dtype=np.float64)
    network.initialize(0.2, rng=np.random.default_rng(7))
    params = textbook.initial_parameters(5, 3, cell, 0.2, rng=np.random.default_rng(7))
    assert list(params) == list(network.parameters)
    for name, array in params.items():
        np.testing.assert_array_equal(array.reshape(network.parameters[name].shape), network.parameters[name])


@every_cell
def test_the_zero_state_is_the_engines(cell: str) -> None:
    engine = columns(Network(vocabulary_size=5, hidden_size=3, cell=cell, dtype=np.float32).zero_state(1))
    state = textbook.zero_state(3, cell, np.float32)
    for mine, zeros in zip(state, engine, strict=True):
        np.testing.assert_array_equal(mine, zeros, strict=True)


@every_cell
def test_a_sample_is_drawn_from_the_engines_probabilities(cell: str) -> None:
    K, m, length = 5, 4, 60
    network = Network(vocabulary_size=K, hidden_size=m, cell=cell, dtype=np.float64)
    rng = np.random.default_rng(1)
    network.parameters.vector[:] = rng.normal(0.0, 0.5, network.parameters.vector.size)
    state = rng.uniform(-0.9, 0.9, network.zero_state(1).shape)
    params = {name: array.reshape(len(array), -1) for name, array in network.parameters.items()}
    written = textbook.sample(params, 2, columns(state), length, cell=cell, rng=np.random.default_rng(3))

    rng, expected = np.random.default_rng(3), [2]
    for _ in range(length):
        inputs = np.array([[expected[-1]]])
        # The loss of one time step with target y is -log p[y].
        losses = [network.forward(inputs, np.array([[y]]), state) for y in range(K)]
        expected.append(int(rng.choice(K, p=np.exp([-float(loss) for loss, _ in losses]))))
        state = losses[0][1]
    assert written == expected[1:]
    assert set(written) == set(range(K))  # no probability is so large that nothing is drawn


@pytest.fixture(params=CELLS)
def small(request: pytest.FixtureRequest) -> tuple[str, Params, Columns]:
    """A small network whose every parameter is far from zero, and a state."""
    rng = np.random.default_rng(1)
    params = textbook.initial_parameters(4, 3, request.param, rng=rng)
    for array in params.values():
        array += rng.normal(0.0, 0.5, array.shape)
    return request.param, params, tuple(rng.uniform(-0.9, 0.9, (3, 1)) for _ in textbook.zero_state(3, request.param))


def central_differences(cell: str, params: Params, state: Columns, name: str) -> Array:
    """The gradient of one tensor for a window of four characters, by (L(θ + ξ) - L(θ - ξ)) / 2ξ, entry by entry."""
    step_size = 1e-5
    grad = np.empty_like(params[name])
    for entry, value in np.ndenumerate(params[name]):
        losses = []
        for shifted in (value + step_size, value - step_size):
            params[name][entry] = shifted
            losses.append(textbook.loss_and_gradients(params, [0, 3, 1, 0], [3, 1, 0, 2], state, cell=cell)[0])
        params[name][entry] = value
        grad[entry] = (losses[0] - losses[1]) / (2 * step_size)
    return grad


def test_the_textbooks_gradient_is_that_of_central_differences(small: tuple[str, Params, Columns]) -> None:
    cell, params, state = small
    _, grads, _ = textbook.loss_and_gradients(params, [0, 3, 1, 0], [3, 1, 0, 2], state, cell=cell)
    for name, grad in grads.items():
        numerical = central_differences(cell, params, state, name)
        assert np.abs(grad - numerical).max() <= 1e-8 * np.abs(numerical).max(), name


def test_central_differences_catch_a_gradient_of_h_prev_that_is_not_passed_on(
    small: tuple[str, Params, Columns], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, params, state = small
    backward = textbook.BACKWARD[cell]

    def forgetful(*arguments: Any) -> Columns:
        dh_next, *dc_next = backward(*arguments)
        return (dh_next * 0.999, *dc_next)

    monkeypatch.setitem(textbook.BACKWARD, cell, forgetful)
    _, grads, _ = textbook.loss_and_gradients(params, [0, 3, 1, 0], [3, 1, 0, 2], state, cell=cell)
    numerical = central_differences(cell, params, state, "W")
    assert np.abs(grads["W"] - numerical).max() > 1e-6 * np.abs(numerical).max()


@every_cell
def test_a_float32_textbook_computes_in_float32(cell: str) -> None:
    params = textbook.initial_parameters(4, 3, cell, rng=np.random.default_rng(1), dtype=np.float32)
    sums_of_squares = {name: np.zeros_like(array) for name, array in params.items()}
    state = textbook.zero_state(3, cell, np.float32)
    _, grads, state = textbook.loss_and_gradients(params, [0, 1], [1, 2], state, cell=cell)
    textbook.adagrad(params, grads, sums_of_squares)
    arrays = [*params.values(), *grads.values(), *sums_of_squares.values(), *state]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


def test_the_textbook_imports_numpy_and_the_standard_library_only() -> None:
    imported = set()
    for node in ast.walk(ast.parse(Path(textbook.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "charloom").split(".")[0])
    assert "numpy" in imported
    assert imported - {"numpy"} <= sys.stdlib_module_names


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("In the beginning was the word. " * 20, encoding="utf-8")
    return path


@every_cell
def test_the_program_trains_and_prints_smooth_losses_and_samples(
    corpus: Path, capsys: pytest.CaptureFixture[str], cell: str
) -> None:
    sizes = ["--hidden-size", "16", "--seq-length", "10"]
    assert textbook.main([str(corpus), "--cell", cell, "--steps", "250", "--sample-every", "100", *sizes]) == 0
    printed = capsys.readouterr().out
    heads, samples = printed.splitlines()[::3], printed.splitlines()[1::3]
    assert [head.split(",")[0] for head in heads] == ["step 1", "step 100", "step 200", "step 250"]
    smooth_losses = [float(head.split()[-1]) for head in heads]
    assert smooth_losses == sorted(smooth_losses, reverse=True)
    assert smooth_losses[0] > smooth_losses[-1] + 2
    assert [len(sample) for sample in samples] == [200] * 4
    assert set("".join(samples)) <= set(corpus.read_text(encoding="utf-8"))


def test_the_program_runs_with_python_m(corpus: Path) -> None:
    command = [sys.executable, "-m", "charloom.textbook", str(corpus), "--steps", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("step 1, smooth loss ")


def test_ctrl_c_ends_the_program_in_one_line(
    corpus: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Iterator[tuple[float, Columns, int]]:
        yield 1.0, textbook.zero_state(100), 0
        raise KeyboardInterrupt

    monkeypatch.setattr(textbook, "train", interrupted)
    assert textbook.main([str(corpus)]) == 130
    printed = capsys.readouterr()
    assert printed.out.startswith("step 1, smooth loss 1.00\n")
    assert printed.err == "stopped\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"", "a text must have at least 26 characters, got 0; try a longer one"),
        (b"0123456789012345678901234", "a text must have at least 26 characters, got 25; try a longer one"),
        (b"\xff" * 100, "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
    ids=["missing", "empty", "short", "not UTF-8"],
)
def test_a_file_without_a_text_is_an_error_of_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, reason: str
) -> None:
    path = tmp_path / "corpus.txt"
    if content is not None:
        path.write_bytes(content)
    assert textbook.main([str(path)]) == 3
    assert capsys.readouterr().err == f"{path}: {reason}\n"


@pytest.mark.parametrize("option", ["--hidden-size", "--seq-length", "--sample-every", "--steps"])
def test_a_size_below_one_is_refused(corpus: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        textbook.main([str(corpus), option, "-1"])
    assert exit_.value.code == 2
    assert "must be at least 1" in capsys.readouterr().err
