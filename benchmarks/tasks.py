"""The task that all contenders do, and the table of their figures."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charloom.core.cells import CELLS
from charloom.core.network.network import Network

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "outputs" / "bench"


@dataclass(frozen=True)
class Arguments:
    """The choices made on the command line."""

    rounds: int
    updates: int  # in a round, at the reference settings
    characters: int  # sampled in a round by one stream
    seconds: float  # that charloom's turn takes where tasks differ in size; all contenders do as many updates
    megabytes: list[int]  # of the texts that are prepared
    quick: bool  # fewer and smaller sizes, to see that everything runs


@dataclass(frozen=True)
class Text:
    """The bundled corpus: its file of ids (.npy) and its vocabulary's size; benchmarks write to `folder`."""

    ids: Path
    K: int
    folder: Path


@dataclass(frozen=True)
class Task:
    """What to train or sample, the same for all contenders; the defaults are the reference settings.

    `text` is a file of ids (.npy); `threads` is the number of threads that a contender may use.
    """

    text: Path
    K: int
    dtype: str
    cell: str = "rnn"
    m: int = 100
    T: int = 25
    B: int = 1
    threads: int = 1
    optimizer: str = "adagrad"
    learning_rate: float = 0.1
    epsilon: float = 2.2e-16
    clip_value: float | None = 5.0
    init_scale: float = 0.01

    @property
    def ids(self) -> NDArray[Any]:
        """The text's ids, a memory map."""
        ids: NDArray[Any] = np.load(self.text, mmap_mode="r", allow_pickle=False)
        return ids

    def network(self) -> Network:
        """A network with the initial weights, which are the same for all contenders."""
        network = Network(vocabulary_size=self.K, hidden_size=self.m, cell=self.cell, dtype=self.dtype)
        network.initialize(self.init_scale, rng=np.random.default_rng(1))
        return network

    def params(self) -> dict[str, NDArray[Any]]:
        """The initial weights by name: W, U, b, V, c (and bn), each in an array of its own."""
        return {name: np.ascontiguousarray(array) for name, array in self.network().parameters.items()}

    @property
    def stream_length(self) -> int:
        """Characters in each of the B streams that the text is cut into."""
        return (len(self.ids) - 1) // self.B

    def streams(self) -> NDArray[Any]:
        """The streams as columns (stream_length + 1, B), the last row of each the first of the next."""
        length = self.stream_length
        ids = np.asarray(self.ids)
        return np.stack([ids[b * length : (b + 1) * length + 1] for b in range(self.B)], axis=1).astype(np.int64)

    def positions(self) -> Iterator[int]:
        """Where each window starts, without end; at position 0 the state is zero."""
        while True:
            yield from range(0, self.stream_length - self.T, self.T)

    @property
    def operations(self) -> int:
        """Floating-point operations of an update, two for each multiply-add of charloom's matrix products.

        For a character: W h_{t-1}, V h_t; backward Vᵀ do, Wᵀ da; the gradients of V, W and U, the last one a product
        with one-hot columns. The input projection is a gather, which counts as nothing.
        """
        rows = CELLS[self.cell].gates * self.m
        return 2 * self.T * self.B * (3 * rows * self.m + 3 * self.K * self.m + rows * self.K)


@dataclass
class Table:
    """Figures of several contenders: `rows` is printed, and `rounds` has every figure behind it.

    `ratios` are how many times as fast as a baseline charloom is, by the baseline's label in the chart.
    """

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    rounds: dict[str, list[float]] = field(default_factory=dict)
    unit: str = ""
    note: str = ""
    ratios: dict[str, float] = field(default_factory=dict)

    def markdown(self) -> str:
        """The table, with its title above it and its note below."""
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        table = f"### {self.title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)
        return f"{table}\n{self.note}\n" if self.note else table
