"""How fast charloom is, beside its rivals: the same weights, the same text, one process, one thread.

    python benchmarks/bench.py [--rounds 9] [--quick]      or      make bench ARGS=--quick

The contenders take turns in rounds, so that whatever else the machine does meets all of them; a figure is the median of
its rounds, a ratio that of two medians. Before anything is timed, all must find the same loss for the first window.
Prints tables in Markdown; they and every round's figure go to `outputs/bench/`, as Markdown and JSON.

A contender is a function of a `Task` that yields the loss of one update after the other, for ever. A benchmark is a
function of the `Arguments` that returns a `Table`; a new one is a line in `BENCHMARKS`.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
# JAX reads this when it is first imported.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()

import numpy as np  # noqa: E402  (after the paths and the threads are set)
import textbook  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from threadpoolctl import threadpool_info, threadpool_limits  # noqa: E402

from charloom.corpus import read_text  # noqa: E402
from charloom.network import Network  # noqa: E402
from charloom.optimizers import AdaGrad  # noqa: E402
from charloom.synthesis import sample  # noqa: E402
from charloom.training import Training  # noqa: E402
from charloom.vocabulary import Vocabulary  # noqa: E402

OUTPUT = ROOT / "outputs" / "bench"
THREADS = 1
SAME_LOSS = 1e-4  # relative; of the first window


@dataclass(frozen=True)
class Arguments:
    """What the command line asks for."""

    rounds: int
    updates: int  # in a round
    characters: int  # sampled in a round


@dataclass(frozen=True)
class Task:
    """The training that all contenders do: the reference settings on the bundled text."""

    ids: NDArray[Any]
    K: int
    dtype: str
    m: int = 100
    T: int = 25
    learning_rate: float = 0.1
    epsilon: float = 2.2e-16
    clip_value: float = 5.0

    def network(self) -> Network:
        """The initial weights, the same for all."""
        network = Network(vocabulary_size=self.K, hidden_size=self.m, dtype=self.dtype)
        network.initialize(0.01, rng=np.random.default_rng(1))
        return network

    def params(self) -> dict[str, NDArray[Any]]:
        """The initial weights by name, W, U, b, V, c, each an array of its own."""
        return {name: np.ascontiguousarray(array) for name, array in self.network().parameters.items()}

    def windows(self) -> Iterator[tuple[int, NDArray[Any], NDArray[Any]]]:
        """Position, inputs and targets of one window after the other; at position 0 the state is zero."""
        while True:
            for start in range(0, len(self.ids) - self.T - 1, self.T):
                yield start, self.ids[start : start + self.T], self.ids[start + 1 : start + self.T + 1]


@dataclass
class Table:
    """Figures of several contenders; `rows` is what is printed, `rounds` every figure that it was made from."""

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    rounds: dict[str, list[float]] = field(default_factory=dict)
    unit: str = ""

    def markdown(self) -> str:
        """The table, with its title above it."""
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        return f"### {self.title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def textbook_updates(task: Task) -> Iterator[float]:
    """The textbook network of the tests."""
    params = {name: array.reshape(len(array), -1) for name, array in task.params().items()}
    sums_of_squares = {name: np.zeros_like(array) for name, array in params.items()}
    smooth_loss = None
    for start, inputs, targets in task.windows():
        if start == 0:
            h = np.zeros((task.m, 1), task.dtype)
        loss, grads, h = textbook.loss_and_gradients(params, inputs, targets, h)
        textbook.adagrad(
            params,
            grads,
            sums_of_squares,
            learning_rate=task.learning_rate,
            epsilon=task.epsilon,
            clip_value=task.clip_value,
        )
        smooth_loss = textbook.smooth(smooth_loss, loss)
        yield loss


def charloom_updates(task: Task) -> Iterator[float]:
    """charloom, as its own training runs."""
    network = task.network()
    optimizer = AdaGrad(
        network.parameters.vector.size,
        task.dtype,
        learning_rate=task.learning_rate,
        epsilon=task.epsilon,
        clip_value=task.clip_value,
    )
    training = Training(network, optimizer, task.ids, seq_length=task.T, batch_size=1, smoothing=0.999)
    for update in training.updates():
        yield update.loss


def torch_updates(task: Task) -> Iterator[float]:
    """PyTorch, eager: nn.RNN, its own AdaGrad and its own clipping."""
    import torch

    torch.set_num_threads(THREADS)
    dtype = getattr(torch, task.dtype)
    params = {name: torch.from_numpy(array.copy()) for name, array in task.params().items()}
    rnn = torch.nn.RNN(task.K, task.m, dtype=dtype)
    output = torch.nn.Linear(task.m, task.K, dtype=dtype)
    with torch.no_grad():
        rnn.weight_hh_l0.copy_(params["W"])
        rnn.weight_ih_l0.copy_(params["U"])
        rnn.bias_ih_l0.copy_(params["b"])
        rnn.bias_hh_l0.zero_()
        output.weight.copy_(params["V"])
        output.bias.copy_(params["c"])
    rnn.bias_hh_l0.requires_grad_(False)  # the model has one bias, not two
    trained = [p for p in (*rnn.parameters(), *output.parameters()) if p.requires_grad]
    optimizer = torch.optim.Adagrad(trained, lr=task.learning_rate, eps=task.epsilon)
    one_hot = torch.eye(task.K, dtype=dtype)
    ids = torch.from_numpy(task.ids.astype(np.int64))
    for start, _, _ in task.windows():
        if start == 0:
            h = torch.zeros(1, 1, task.m, dtype=dtype)
        inputs = one_hot[ids[start : start + task.T]][:, None]  # (T, 1, K)
        targets = ids[start + 1 : start + task.T + 1]
        optimizer.zero_grad()
        hs, h = rnn(inputs, h.detach())
        loss = torch.nn.functional.cross_entropy(output(hs[:, 0]), targets, reduction="sum")
        loss.backward()
        torch.nn.utils.clip_grad_value_(trained, task.clip_value)
        optimizer.step()
        yield loss.item()


def jax_updates(task: Task) -> Iterator[float]:
    """JAX: one jitted function for the whole update, a scan over time, all buffers donated, the text on the device.

    Of the forms that were tried (gather or one-hot product, scan unrolled or not, one vector or a dictionary, windows
    from the host or the device), this was the fastest in float64 and among the fastest in float32. JAX's default is to
    dispatch without waiting; as every loss is read at once, waiting is faster, and so is what is measured here.
    """
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    T, K, dtype = task.T, task.K, task.dtype

    def loss_of(params: Any, inputs: Any, targets: Any, h: Any) -> Any:
        drive = jax.nn.one_hot(inputs, K, dtype=dtype) @ params["U"].T + params["b"]  # (T, m)

        def step(h: Any, drive_t: Any) -> Any:
            h = jnp.tanh(params["W"] @ h + drive_t)
            return h, h

        h, hs = jax.lax.scan(step, h, drive)
        log_p = jax.nn.log_softmax(hs @ params["V"].T + params["c"])  # (T, K)
        return -(log_p * jax.nn.one_hot(targets, K, dtype=dtype)).sum(), h

    def update(params: Any, sums_of_squares: Any, h: Any, position: Any, ids: Any) -> Any:
        window = jax.lax.dynamic_slice(ids, (position,), (T + 1,))
        (loss, h), grads = jax.value_and_grad(loss_of, has_aux=True)(params, window[:-1], window[1:], h)
        grads = jax.tree.map(lambda g: jnp.clip(g, -task.clip_value, task.clip_value), grads)
        sums_of_squares = jax.tree.map(lambda s, g: s + g * g, sums_of_squares, grads)
        params = jax.tree.map(
            lambda p, g, s: p - task.learning_rate * g / jnp.sqrt(s + task.epsilon), params, grads, sums_of_squares
        )
        position = position + T
        at_end = position >= len(ids) - T - 1
        return params, sums_of_squares, jnp.where(at_end, 0, h).astype(dtype), jnp.where(at_end, 0, position), loss

    compiled = jax.jit(update, donate_argnums=(0, 1, 2, 3))
    params = {name: jnp.asarray(array) for name, array in task.params().items()}
    sums_of_squares = jax.tree.map(jnp.zeros_like, params)
    h, position, ids = jnp.zeros(task.m, dtype), jnp.asarray(0), jnp.asarray(task.ids.astype(np.int32))
    while True:
        params, sums_of_squares, h, position, loss = compiled(params, sums_of_squares, h, position, ids)
        yield float(loss)


Contender = Callable[[Task], Iterator[float]]

# Name, the distribution that it needs, and what runs it. charloom stands where it is measured against.
CONTENDERS: list[tuple[str, str, Contender]] = [
    ("textbook loops", "numpy", textbook_updates),
    ("charloom", "numpy", charloom_updates),
    ("PyTorch eager", "torch", torch_updates),
    ("JAX jit + scan", "jax", jax_updates),
]


def installed(distribution: str) -> bool:
    """Whether a contender can run here."""
    return importlib.util.find_spec(distribution) is not None


def bundled_text() -> tuple[NDArray[Any], int]:
    """The ids of the bundled corpus, and K."""
    text = read_text(ROOT / "data" / "corpus.txt", encoding="utf-8")
    vocabulary = Vocabulary.of(text)
    return vocabulary.encode(text), len(vocabulary)


def seconds(work: Callable[[], object]) -> float:
    """How long the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def update_at_reference_settings(arguments: Arguments) -> Table:
    """One update with m = 100, T = 25, B = 1."""
    ids, K = bundled_text()
    table = Table(
        f"One update: m = 100, T = 25, B = 1, K = {K}, AdaGrad",
        ["", "type", "µs, median", "µs, fastest and slowest round", "charloom is faster by"],
        unit="microseconds per update",
    )
    for dtype in ("float64", "float32"):
        task = Task(ids, K, dtype)
        running = {name: run(task) for name, needs, run in CONTENDERS if installed(needs)}
        demand_same_loss({name: next(updates) for name, updates in running.items()}, dtype)
        rounds: dict[str, list[float]] = {name: [] for name in running}
        for count in range(arguments.rounds + 1):
            for name, updates in running.items():
                took = seconds(lambda updates=updates: sum(islice(updates, arguments.updates)))
                if count:  # the first round warms up
                    rounds[name].append(1e6 * took / arguments.updates)
        own = statistics.median(rounds["charloom"])
        for name, needs, _ in CONTENDERS:
            if name not in rounds:
                table.rows.append([name, dtype, f"{needs} is not installed", "", ""])
                continue
            median, low, high = statistics.median(rounds[name]), min(rounds[name]), max(rounds[name])
            ratio = "" if name == "charloom" else f"{median / own:.2f}×"
            table.rows.append([name, dtype, f"{median:.0f}", f"{low:.0f} – {high:.0f}", ratio])
            table.rounds[f"{name}, {dtype}"] = rounds[name]
    return table


def demand_same_loss(first: dict[str, float], dtype: str) -> None:
    """End the benchmark if the contenders do not compute the same thing."""
    expected = first["charloom"]
    for name, loss in first.items():
        if not abs(loss - expected) <= SAME_LOSS * abs(expected):
            sys.exit(f"{name} has the loss {loss} for the first window in {dtype} where charloom has {expected}")


def sampling(arguments: Arguments) -> Table:
    """Characters written in a second, one stream, m = 100."""
    ids, K = bundled_text()
    table = Table(
        f"Sampling: m = 100, one stream, K = {K}",
        ["", "type", "characters/s, median", "slowest and fastest round", "charloom is faster by"],
        unit="characters per second",
    )
    length = arguments.characters
    for dtype in ("float64", "float32"):
        task = Task(ids, K, dtype)
        network, h = task.network(), np.zeros((task.m, 1), dtype)
        params = {name: array.reshape(len(array), -1) for name, array in task.params().items()}
        rng = np.random.default_rng(1)
        stream = sample(network, [0], network.zero_state(1), rng=rng)
        writers: dict[str, Callable[[], object]] = {
            "textbook loops": lambda params=params, h=h, rng=rng: textbook.sample(params, 0, h, length, rng=rng),
            "charloom": lambda stream=stream: [int(i) for (i,) in islice(stream, length)],
        }
        rounds: dict[str, list[float]] = {name: [] for name in writers}
        for count in range(arguments.rounds + 1):
            for name, write in writers.items():
                took = seconds(write)
                if count:
                    rounds[name].append(length / took)
        own = statistics.median(rounds["charloom"])
        for name, of_name in rounds.items():
            median = statistics.median(of_name)
            ratio = "" if name == "charloom" else f"{own / median:.2f}×"
            spread = f"{min(of_name):,.0f} – {max(of_name):,.0f}"
            table.rows.append([name, dtype, f"{median:,.0f}", spread, ratio])
            table.rounds[f"{name}, {dtype}"] = of_name
    return table


BENCHMARKS: list[Callable[[Arguments], Table]] = [update_at_reference_settings, sampling]


def machine() -> dict[str, str]:
    """What the figures depend on besides the code."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    facts = {
        "CPU": f"{cpu}, {os.cpu_count()} cores",
        "threads": f"{THREADS} for each contender",
        "Python": platform.python_version(),
        "NumPy": version("numpy"),
        "matrix library": ", ".join(
            f"{i['internal_api']} {i['version']}" for i in threadpool_info() if i["user_api"] == "blas"
        ),
    }
    for name, distribution in (("PyTorch", "torch"), ("JAX", "jax")):
        facts[name] = version(distribution) if installed(distribution) else "not installed"
    if hasattr(os, "getloadavg"):
        facts["load at the start"] = f"{os.getloadavg()[0]:.1f}"
    return facts


def main() -> None:
    """Run all benchmarks; print and keep their tables."""
    parser = argparse.ArgumentParser(description="charloom and its rivals side by side")
    parser.add_argument("--rounds", type=int, default=9, help="rounds in which the contenders take turns (default 9)")
    parser.add_argument("--quick", action="store_true", help="three short rounds: whether it runs, not how fast")
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error(f"--rounds must be 1 or more: {given.rounds}")
    arguments = Arguments(3, 30, 500) if given.quick else Arguments(given.rounds, 200, 5000)

    facts = machine()
    tables = []
    with threadpool_limits(limits=THREADS):
        for benchmark in BENCHMARKS:
            tables.append(benchmark(arguments))
            print(tables[-1].markdown())
    note = (
        f"Medians of {arguments.rounds} rounds of {arguments.updates} updates ({arguments.characters} characters). "
        + " · ".join(f"{name}: {value}" for name, value in facts.items())
    )
    print(note)

    OUTPUT.mkdir(parents=True, exist_ok=True)
    text = "\n".join(table.markdown() for table in tables)
    (OUTPUT / "bench.md").write_text(f"{text}\n{note}\n", encoding="utf-8")
    content = {"machine": facts, "arguments": asdict(arguments), "tables": [asdict(table) for table in tables]}
    (OUTPUT / "bench.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
