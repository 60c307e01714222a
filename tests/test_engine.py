"""What every cell, optimizer and schedule must hold beyond the reference, and PyTorch beside them where it is there."""

import itertools
import subprocess
import sys
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charloom.adapters.files import corpus
from charloom.core.cells import CELLS
from charloom.core.common.types import Array
from charloom.core.gradcheck import Window, check
from charloom.core.gradcheck.check import compare
from charloom.core.gradcheck.numerical import COMPLEX_STEP, analytic_gradient, numerical_gradient
from charloom.core.network.network import Network
from charloom.core.training.optimizers import OPTIMIZERS, Optimizer
from charloom.core.training.schedules import SCHEDULES, warm_up
from charloom.core.training.training import Training
from tests.results import seal

K, M = 5, 6


def random_network(cell: str, layers: int = 1, m: int = M, seed: int = 0) -> Network:
    """A network whose every parameter, biases included, is far from zero."""
    rng = np.random.default_rng(seed)
    network = Network(vocabulary_size=K, hidden_size=m, cell=cell, layers=layers, dtype=np.float64)
    network.parameters.vector[:] = rng.normal(0.0, 0.4, network.parameters.vector.size)
    return network


def random_window(network: Network, T: int, B: int, seed: int = 1) -> Window:
    rng = np.random.default_rng(seed)
    state = rng.uniform(-0.5, 0.5, network.zero_state(B).shape)
    return Window(rng.integers(0, K, (T, B)), rng.integers(0, K, (T, B)), state)


@pytest.mark.parametrize("T", [1, 2, 25])
@pytest.mark.parametrize("B", [1, 3])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_every_entry_agrees_with_the_complex_step_to_a_billionth(cell: str, layers: int, B: int, T: int) -> None:
    network = random_network(cell, layers)
    window = random_window(network, T, B)
    _, analytic = analytic_gradient(network, window)
    errors = compare(network, analytic, numerical_gradient(network, window, "complex_step", COMPLEX_STEP))
    assert max(error.max_scaled_error for error in errors.values()) <= 1e-9
    assert check(network, window, 1e-5, 1e-9, rng=np.random.default_rng(2)).problems == []


@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_under_a_fixed_dropout_mask_is_that_of_the_complex_step(cell: str) -> None:
    network = random_network(cell, layers=3)
    window = random_window(network, 7, 2)
    rng = np.random.default_rng(2)
    masks = [(rng.random((14, M)) < 0.5) / 0.5, None, (rng.random((14, M)) < 0.7) / 0.7]

    network.forward(window.inputs, window.targets, window.state, masks)
    analytic = network.backward(window.inputs).vector.copy()
    exact = network.astype(np.complex128)
    theta, state = exact.parameters.vector, window.state.astype(np.complex128)
    numerical = np.empty_like(analytic)
    for i in range(len(theta)):
        value = theta[i]
        theta[i] = value + 1e-20j
        numerical[i] = exact.forward(window.inputs, window.targets, state, masks)[0].imag / 1e-20
        theta[i] = value
    np.testing.assert_allclose(analytic, numerical, rtol=0, atol=1e-12 * np.abs(analytic).max())


def test_a_mask_of_zeros_cuts_the_layers_apart() -> None:
    network = random_network("gru", layers=2)
    window = random_window(network, 5, 2)
    network.forward(window.inputs, window.targets, window.state, [np.zeros((10, M)), None])
    gradient = network.backward(window.inputs)
    assert not gradient["W"].any()
    assert gradient["layer1.W"].any()


def test_evaluation_after_a_window_with_dropout_has_none() -> None:
    network = random_network("lstm", layers=2)
    window = random_window(network, 5, 2)
    plain, _ = network.forward(window.inputs, window.targets, window.state)
    network.forward(window.inputs, window.targets, window.state, [np.zeros((10, M)), np.zeros((10, M))])
    again, _ = network.forward(window.inputs, window.targets, window.state)
    assert again == plain


def test_the_forget_gates_bias_starts_at_one_and_all_others_at_zero() -> None:
    network = Network(vocabulary_size=K, hidden_size=M, cell="lstm", layers=2, dtype=np.float64)
    network.initialize(0.01, rng=np.random.default_rng(0))
    for layer_params in network.parameters.layers:
        gates = layer_params["b"].reshape(4, M)  # o, i, f, g
        assert (gates[2] == 1).all()
        assert not gates[[0, 1, 3]].any()


@pytest.mark.parametrize("cell", CELLS)
def test_memory_is_predicted_to_a_tenth(cell: str) -> None:
    sizes = {"vocabulary_size": 60, "hidden_size": 128, "cell": cell, "layers": 2, "dtype": np.float32}
    inputs = np.zeros((32, 16), np.intp)
    tracemalloc.start()
    network = Network(**sizes)  # type: ignore[arg-type]  # the dictionary's values are of several types
    network.forward(inputs, inputs, network.zero_state(16))
    network.backward(inputs)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert Network.memory(32, 16, **sizes) == pytest.approx(taken, rel=0.1)  # type: ignore[arg-type]


# Gates in PyTorch's order, as places in ours.
TORCH_GATES = {"rnn": [0], "gru": [0, 1, 2], "lstm": [1, 2, 3, 0]}


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_losses_and_gradients_are_those_of_pytorchs_layer(cell: str, layers: int) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is in the extra `bench`")
    network, T, B = random_network(cell, layers), 7, 3
    window = random_window(network, T, B)
    make = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[cell]
    torch_layer, readout = make(K, M, layers).double(), torch.nn.Linear(M, K).double()

    def in_their_order(array: Array) -> Any:
        gates = array.reshape(CELLS[cell].gates, M, -1)[TORCH_GATES[cell]]
        return torch.tensor(gates.reshape(array.shape).copy())

    with torch.no_grad():
        for layer, of in enumerate(network.parameters.layers):
            getattr(torch_layer, f"weight_hh_l{layer}")[:] = in_their_order(of["W"])
            getattr(torch_layer, f"weight_ih_l{layer}")[:] = in_their_order(of["U"])
            getattr(torch_layer, f"bias_ih_l{layer}")[:] = in_their_order(of["b"])
            getattr(torch_layer, f"bias_hh_l{layer}")[:] = 0
            if "bn" in of:
                getattr(torch_layer, f"bias_hh_l{layer}")[2 * M :] = torch.tensor(of["bn"])
        readout.weight[:] = torch.tensor(network.parameters["V"])
        readout.bias[:] = torch.tensor(network.parameters["c"])
    state = torch.tensor(window.state)
    before = (state[:, 0].contiguous(), state[:, 1].contiguous()) if cell == "lstm" else state[:, 0].contiguous()
    h, _ = torch_layer(torch.nn.functional.one_hot(torch.tensor(window.inputs), K).double(), before)
    loss = torch.nn.functional.cross_entropy(readout(h).reshape(-1, K), torch.tensor(window.targets).reshape(-1)) * T
    loss.backward()

    ours, _ = network.forward(window.inputs, window.targets, window.state)
    gradient = network.backward(window.inputs)
    assert ours == pytest.approx(loss.item(), rel=1e-12)
    close = partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
    close(gradient["V"], readout.weight.grad.numpy())
    for layer, of in enumerate(gradient.layers):
        close(in_their_order(of["W"]).numpy(), getattr(torch_layer, f"weight_hh_l{layer}").grad.numpy())
        close(in_their_order(of["U"]).numpy(), getattr(torch_layer, f"weight_ih_l{layer}").grad.numpy())
        close(in_their_order(of["b"]).numpy(), getattr(torch_layer, f"bias_ih_l{layer}").grad.numpy())
        if "bn" in of:
            close(of["bn"], getattr(torch_layer, f"bias_hh_l{layer}").grad.numpy()[2 * M :])


VALUES = {"epsilon": 1e-8, "decay": 0.9, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.1, "momentum": 0.7}


def _optimizer(name: str, network: Network, **common: Any) -> Optimizer:
    rule = OPTIMIZERS[name]
    options = {option: VALUES[option] for option in rule.options}
    vector, matrices = network.parameters.vector, network.parameters.matrices
    return rule(vector.size, vector.dtype, matrices=matrices, **{"learning_rate": 0.05, **common}, **options)


@pytest.mark.parametrize("name", ["rmsprop", "adam", "sgd"])
def test_thirty_updates_are_those_of_pytorchs_optimizer(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is in the extra `bench`")
    rng = np.random.default_rng(4)
    start, gradients = rng.normal(size=50), rng.normal(size=(30, 50))
    ours, theirs = start.copy(), torch.nn.Parameter(torch.tensor(start))
    v = VALUES
    options: dict[str, Any] = {option: v[option] for option in OPTIMIZERS[name].options}
    rule = OPTIMIZERS[name](50, np.float64, learning_rate=0.05, **options)
    torch_optimizer = {
        "rmsprop": lambda: torch.optim.RMSprop([theirs], 0.05, alpha=v["decay"], eps=v["epsilon"]),
        "adam": lambda: torch.optim.AdamW(
            [theirs], 0.05, (v["beta1"], v["beta2"]), v["epsilon"], weight_decay=v["weight_decay"]
        ),
        "sgd": lambda: torch.optim.SGD([theirs], 0.05, momentum=v["momentum"]),
    }[name]()
    for gradient in gradients:
        rule.update(ours, gradient.copy())
        theirs.grad = torch.tensor(gradient)
        torch_optimizer.step()
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_starts_at_one_and_never_rises_nor_falls_below_its_end(name: str) -> None:
    course = [SCHEDULES[name](p, final_fraction=0.1, periods=4) for p in np.linspace(0, 1, 101)]
    assert course[0] == 1
    assert all(later <= earlier for earlier, later in itertools.pairwise(course))
    assert course[-1] == pytest.approx(1.0 if name == "constant" else 0.1)


def test_the_learning_rate_of_each_update_is_the_schedules() -> None:
    network = random_network("rnn")
    optimizer = _optimizer("sgd", network)

    def rate(step: int, progress: float) -> float:
        return warm_up(step, 2) * SCHEDULES["linear"](progress, final_fraction=0.5, periods=1)

    training = Training(
        network,
        optimizer,
        np.tile(np.arange(K, dtype=np.uint8), 20),
        seq_length=4,
        batch_size=1,
        smoothing=0.9,
        steps=4,
        learning_rate=rate,
    )
    rates = [optimizer.learning_rate for _ in zip(range(4), training.updates(), strict=False)]
    assert rates == [0.5, 0.875, 0.75, 0.625]


def test_the_best_parameters_are_those_of_the_lowest_validation_loss() -> None:
    network = random_network("rnn")
    training = Training(
        network, _optimizer("sgd", network), np.zeros(50, np.uint8), seq_length=4, batch_size=1, smoothing=0.9
    )
    kept = []
    for loss in (2.0, 1.5, 1.7, 1.6):
        training.step += 1
        network.parameters.vector += 1
        kept.append(network.parameters.vector.copy())
        training.note_validation(loss)
    assert (training.best_step, training.best_validation, training.validations_since_best) == (2, 1.5, 2)
    np.testing.assert_array_equal(training.best, kept[1])


def test_time_counts_as_progress_where_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    network, now = random_network("rnn"), [100.0]
    monkeypatch.setattr("charloom.core.training.training.time.monotonic", lambda: now[0])
    training = Training(
        network,
        _optimizer("sgd", network),
        np.zeros(50, np.uint8),
        seq_length=4,
        batch_size=1,
        smoothing=0.9,
        steps=1000,
        max_seconds=10.0,
    )
    now[0] += 4
    assert training.progress == pytest.approx(0.4)
    training.seconds = 9.0  # as of a training that is resumed
    assert training.progress == pytest.approx(0.9)
    now[0] += 5
    assert training.progress == 1


# Says its largest memory in bytes. Linux hands ru_maxrss on from the process that starts another; VmHWM is its own.
_PREPARE = """
import resource, sys
from pathlib import Path
from charloom.adapters.files import corpus
corpus.prepare(Path(sys.argv[1]), Path(sys.argv[2]), encoding="utf-8", newline="universal", validation_fraction=0.1)
status = Path("/proc/self/status")
if status.exists():
    print(1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:")))
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_preparing_takes_no_more_memory_for_a_text_thirty_times_as_long(tmp_path: Path) -> None:
    line = "The loom has four shafts, and the wéft is wound on a bobbin; nobody counts the ends twice.\n"
    peaks = []
    for name, copies in (("short", 50_000), ("long", 1_500_000)):  # 4.6 MB and 138 MB
        text = tmp_path / f"{name}.txt"
        with text.open("w", encoding="utf-8") as file:
            for _ in range(copies // 10_000):
                file.write(line * 10_000)
        command = [sys.executable, "-c", _PREPARE, str(text), str(tmp_path / name / "prepare")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert corpus.load(seal(tmp_path / "long")).summary.characters == 1_500_000 * len(line)
    assert peaks[1] < 1.3 * peaks[0]
    assert peaks[1] < 400e6
