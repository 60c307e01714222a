"""The export to safetensors: the equations of PyTorch's layers give the loss that charloom gives."""

import hashlib
import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charloom
from charloom import CharloomError, Model, Network, Vocabulary
from charloom.adapters.files import exports
from charloom.core.cells import CELLS
from charloom.core.network import evaluate
from tests.project import Project

TEXT = "a bad cab\né abed\n" * 8

every_network = pytest.mark.parametrize(("cell", "layers"), [(cell, layers) for cell in CELLS for layers in (1, 2)])


def a_model(cell: str = "gru", layers: int = 1, dtype: str = "float64") -> Model:
    vocabulary = Vocabulary.of(TEXT)
    network = Network(vocabulary_size=len(vocabulary), hidden_size=5, cell=cell, layers=layers, dtype=dtype)
    rng = np.random.default_rng(3)
    for array in network.parameters.values():
        array[...] = rng.normal(0, 0.7, array.shape)  # biases, too
    return Model(network, vocabulary)


def sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


def rnn(gi: Any, gh: Any, h: Any, c: Any) -> Any:
    return np.tanh(gi + gh), c


def gru(gi: Any, gh: Any, h: Any, c: Any) -> Any:
    (ir, iz, i_n), (hr, hz, hn) = np.split(gi, 3), np.split(gh, 3)
    r, z = sigmoid(ir + hr), sigmoid(iz + hz)
    n = np.tanh(i_n + r * hn)
    return (1 - z) * n + z * h, c


def lstm(gi: Any, gh: Any, h: Any, c: Any) -> Any:
    i, f, g, o = np.split(gi + gh, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


# The equations in the documentation of torch.nn.RNN, torch.nn.GRU and torch.nn.LSTM.
EQUATIONS: dict[str, Callable[..., Any]] = {"rnn": rnn, "gru": gru, "lstm": lstm}


@every_network
def test_the_documented_equations_of_pytorch_give_the_same_loss(cell: str, layers: int) -> None:
    model = a_model(cell, layers)
    params, ids = dict(exports.tensors(model.network)), model.vocabulary.encode(TEXT)
    state, total = np.zeros((layers, 2, 5)), 0.0
    for read, target in pairwise(ids):
        x = np.eye(len(model.vocabulary))[read]
        for layer in range(layers):
            gi = params[f"weight_ih_l{layer}"] @ x + params[f"bias_ih_l{layer}"]
            gh = params[f"weight_hh_l{layer}"] @ state[layer, 0] + params[f"bias_hh_l{layer}"]
            state[layer] = EQUATIONS[cell](gi, gh, *state[layer])
            x = state[layer, 0]
        o = params["decoder.weight"] @ x + params["decoder.bias"]
        total += np.log(np.exp(o).sum()) - o[target]
    assert total / (len(ids) - 1) == pytest.approx(evaluate(model.network, ids), rel=1e-12)


@every_network
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_pytorch_computes_the_same_loss(tmp_path: Path, cell: str, layers: int, dtype: str) -> None:
    torch, load_file = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch").load_file
    model = a_model(cell, layers, dtype)
    model.export(tmp_path / "model.safetensors")
    params = load_file(tmp_path / "model.safetensors")
    K, kind = len(model.vocabulary), getattr(torch, dtype)
    network = getattr(torch.nn, cell.upper())(K, 5, layers, dtype=kind)
    decoder = torch.nn.Linear(5, K, dtype=kind)
    decoder.load_state_dict({name: params.pop(f"decoder.{name}") for name in ("weight", "bias")})
    network.load_state_dict(params)
    ids = torch.tensor(model.vocabulary.encode(TEXT).astype(np.int64))
    with torch.no_grad():
        h, _ = network(torch.nn.functional.one_hot(ids[:-1], K).to(kind))
        loss = torch.nn.functional.cross_entropy(decoder(h), ids[1:]).item()
    expected = evaluate(model.network, ids.numpy())
    assert loss == pytest.approx(expected, rel=1e-12 if dtype == "float64" else 1e-6)


@every_network
def test_the_file_has_every_tensor_as_it_is_and_the_vocabulary(tmp_path: Path, cell: str, layers: int) -> None:
    safe_open = pytest.importorskip("safetensors").safe_open
    model = a_model(cell, layers, "float32")
    model.export(tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", "numpy") as file:
        about = json.loads(file.metadata()["charloom"])
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a file is no mapping
    expected = dict(exports.tensors(model.network))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor, strict=True)
    sizes = {"hidden_size": 5, "cell": cell, "layers": layers, "dtype": "float32"}
    assert about == {**sizes, "vocabulary_size": 8, "vocabulary": "\n abcdeé"}


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    hashes = set()
    for name in ("one", "two", "three"):
        a_model("lstm", 2).export(tmp_path / name)
        hashes.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(hashes) == 1


def test_without_safetensors_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(CharloomError, match=r"safetensors, which is not installed; .*'charloom\[export\]'"):
        a_model().export(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_the_command_exports_the_model_in_a_file(tmp_path: Path, project: Project) -> None:
    pytest.importorskip("safetensors")
    a_model().save(tmp_path / "model.npz")
    ended = project.python("-m", "charloom.export", str(tmp_path / "model.npz"), "new.safetensors")
    assert (ended.code, ended.output) == (0, "wrote new.safetensors\n"), ended.errors
    charloom.load(tmp_path / "model.npz").export(tmp_path / "expected")
    assert (project.root / "new.safetensors").read_bytes() == (tmp_path / "expected").read_bytes()


def test_the_command_takes_two_files(project: Project) -> None:
    project.python("-m", "charloom.export", "one").assert_one_error(2, "export takes a model file and a new file")
