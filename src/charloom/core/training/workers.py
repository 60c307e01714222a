"""The gradient of a window, computed by one process or by several that share its streams.

Each has a network of its own, with the same parameters, and as many streams as the others; the loss is the mean over
the streams, so the loss of all is the mean of theirs, and the gradient too. Processes, not threads: between two matrix
products of a step lies work that holds the interpreter, and threads would wait for each other there. Measured, GRU,
m = 384, B = 64, T = 64, float32, two cores: 43,000 characters/s by two processes, 38,000 by one with two threads in
the matrix library.

Knows nothing about optimizers and texts.
"""

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from charloom.core.common.errors import EnvironmentFault
from charloom.core.common.types import Array, IntArray
from charloom.core.network.network import Network

_CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Dropout:
    """For each layer the probability that an element of h is 0 on its way up, and the seed of what is drawn."""

    probabilities: Sequence[float] = ()
    seed: tuple[int, ...] = ()

    def masks(self, shape: tuple[int, int], dtype: DTypeLike, *key: int) -> list[Array | None]:
        """A mask of `shape` for each layer: 0 with the layer's probability, else what keeps the mean.

        The same `key` gives the same masks: there is no generator whose state a checkpoint would have to hold.
        """
        if not any(self.probabilities):
            return []
        rng = np.random.default_rng([*self.seed, *key])
        masks: list[Array | None] = []
        for probability in self.probabilities:
            kept = rng.random(shape, np.float32) >= probability if probability else None
            masks.append(None if kept is None else np.multiply(kept, 1 / (1 - probability), dtype=dtype))
        return masks


class Crew:
    """The process that makes it and `workers` - 1 others, each with its share of the B streams: a context they live in.

    With one worker there are no others, and the context may be left out; with more, the network's parameters move to
    memory that all of them see, where one copy of W leaves more room in the cache than two. `initializer` is called in
    each of the others before its work, and can be pickled. Raises EnvironmentFault when one of them is gone.
    """

    def __init__(
        self,
        network: Network,
        dropout: Dropout | None = None,
        *,
        seq_length: int = 0,
        batch_size: int = 0,
        workers: int = 1,
        initializer: Callable[[], object] = int,
    ) -> None:
        self.network = network
        self._own = _Share(network, dropout or Dropout(), 0)
        size = batch_size // workers
        self._shares = [slice(number * size, (number + 1) * size) for number in range(workers)]
        self._helpers: list[_Helper] = []
        if workers > 1:
            params = _Memory(network.parameters.vector.shape, network.dtype)
            shared = params.array()
            shared[...] = network.parameters.vector
            network.place(shared, network.gradients.vector)
            self._helpers = [
                _Helper(self._own, params, number, seq_length, size, initializer) for number in range(1, workers)
            ]

    def __enter__(self) -> "Crew":
        # A signal to the whole group of processes is this one's to obey: the others inherit that it is blocked.
        resource_tracker.ensure_running()  # what starts processes starts this first, and unblocks the signals
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            for helper in self._helpers:
                helper.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for helper in self._helpers:
            helper.stop()

    def gradient(self, window: IntArray, state: Array, step: int) -> tuple[float, Array]:
        """The loss of the ids `window` (T + 1, B), and the state after it; the gradient is in `network.gradients`.

        `step` decides what dropout leaves out.
        """
        if not self._helpers:
            return self._own.gradient(window, state, step)
        network, (own, *others) = self.network, self._shares
        try:
            for helper, share in zip(self._helpers, others, strict=True):
                helper.begin(window[:, share], state[:, :, share], step)
            loss, state_last = self._own.gradient(window[:, own], state[:, :, own], step)
            losses, states, grads = [loss], [state_last], network.gradients.vector
            for helper in self._helpers:
                losses.append(helper.loss())
                states.append(helper.state)
                np.add(grads, helper.grads, out=grads)
        except (EOFError, OSError):
            raise EnvironmentFault("a worker process has ended; the last checkpoint is kept; train again") from None
        np.multiply(grads, 1 / len(losses), out=grads)
        return sum(losses) / len(losses), np.concatenate(states, axis=2)


class _Share:
    """One process's streams: what it does for an update."""

    def __init__(self, network: Network, dropout: Dropout, number: int) -> None:
        self.network, self.dropout, self._number = network, dropout, number

    def gradient(self, window: IntArray, state: Array, step: int) -> tuple[float, Array]:
        """As the crew's."""
        inputs, targets = window[:-1], window[1:]
        masks = self.dropout.masks((inputs.size, self.network.hidden_size), self.network.dtype, step, self._number)
        loss, state = self.network.forward(inputs, targets, state, masks)
        self.network.backward(inputs)
        return float(loss), state


class _Helper:
    """Another process, as the one that it helps sees it. Parameters and gradients are in memory that both see."""

    def __init__(
        self,
        of_crew: _Share,
        params: "_Memory",
        number: int,
        T: int,
        B: int,
        initializer: Callable[[], object],
    ) -> None:
        network = of_crew.network
        memories = (
            _Memory(network.parameters.vector.shape, network.dtype),
            _Memory((T + 1, B), np.dtype(np.intp)),
            _Memory(network.zero_state(B).shape, network.dtype),
        )
        self.grads, self._window, self.state = (memory.array() for memory in memories)
        self._connection, self._its_connection = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(
            target=_help,
            args=(network.sizes, of_crew.dropout, number, (params, *memories), self._its_connection, initializer),
            name=f"charloom worker {number}",
            daemon=True,
        )

    def start(self) -> None:
        self._process.start()
        self._its_connection.close()  # the end of the process is now the end of the pipe

    def stop(self) -> None:
        self._connection.close()
        self._process.join()

    def begin(self, window: IntArray, state: Array, step: int) -> None:
        """Let it compute the loss of its share of the streams, and the gradient."""
        self._window[...], self.state[...] = window, state
        self._connection.send(step)

    def loss(self) -> float:
        """The loss, once it is there; `state` is then the state after the window, and `grads` the gradient."""
        loss: float = self._connection.recv()
        return loss


class _Memory:
    """The memory of an array. A process that is started with it sees the same memory."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._shape, self._dtype = shape, dtype
        self._raw = _CONTEXT.RawArray("b", int(np.prod(shape)) * dtype.itemsize)

    def array(self) -> Array:
        """The array."""
        return np.frombuffer(self._raw, self._dtype).reshape(self._shape)


def _help(
    sizes: dict[str, Any],
    dropout: Dropout,
    number: int,
    memories: Sequence[_Memory],
    connection: Connection,
    initializer: Callable[[], object],
) -> None:
    """What a helper does, until the other end of the connection is closed."""
    kept = initializer()  # noqa: F841 - what it sets may last as long as what it returns
    network = Network(**sizes)
    params, grads, window, state = (memory.array() for memory in memories)
    network.place(params, grads)
    share = _Share(network, dropout, number)
    while True:
        try:
            step = connection.recv()
            loss, state[...] = share.gradient(window, state, step)
            connection.send(loss)
        except (EOFError, OSError):
            return
