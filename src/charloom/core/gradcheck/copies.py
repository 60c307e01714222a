"""Many copies of a window, another entry of a parameter changed in each, as the streams of one batch.

One forward pass of the network then has the losses of all of them. To change U[i, j] by ξ is to add ξ x_t[j] to the
row i of U x_t + b at every time step of that copy; so it is with W, V and the biases. Nothing here is differentiated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from charloom.core.cells import CELLS
from charloom.core.common.types import Array, IntArray, Masks
from charloom.core.network import Network

_ELEMENTS = 400_000  # about as many as the largest buffers of a pass have together, which then stay in the cache
_MOST = 64  # copies at once: measured, more take as long for each


@dataclass(frozen=True)
class Window:
    """What a gradient is checked on: ids (T, B), the state before them, which should not be zero, and dropout masks."""

    inputs: IntArray
    targets: IntArray
    state: Array
    masks: Masks = ()

    def astype(self, dtype: DTypeLike) -> "Window":
        """The same window for a network of another type."""
        return replace(self, state=self.state.astype(dtype))

    def part(self, start: int, stop: int, state: Array | None = None) -> "Window":
        """The time steps from `start` to `stop`, with the `state` before them, or that before this window."""
        B = self.inputs.shape[1]
        masks = [mask if mask is None else mask[start * B : stop * B] for mask in self.masks]
        return Window(self.inputs[start:stop], self.targets[start:stop], self.state if state is None else state, masks)


def forward(network: Network, window: Window) -> tuple[Any, Array]:
    """The loss of the window, and the state after it."""
    return network.forward(window.inputs, window.targets, window.state, window.masks)


class Copies:
    """Copies of a window, in each of which the entry at another of `positions` in the network's vector differs.

    All of them are entries of the tensor `name`.
    """

    @staticmethod
    def at_once(T: int, B: int, *, vocabulary_size: int, hidden_size: int, cell: str, **_: Any) -> int:
        """How many copies of a window go through a network of these sizes at once: 2 or more."""
        elements = T * B * (CELLS[cell].gates * hidden_size + vocabulary_size)
        return max(2, min(_MOST, _ELEMENTS // elements))

    def __init__(self, network: Network, window: Window, name: str, positions: NDArray[np.intp]) -> None:
        """Lay out the streams: all of the first copy, then all of the second, and so on."""
        self._network, self._name, self._positions = network, name, positions
        (T, B), P = window.inputs.shape, max(2, len(positions))  # a single stream has buffers of another shape
        self._rows, *columns = np.repeat(network.parameters.index(name, np.resize(positions, P)), B, axis=1)
        self._columns = columns[0] if columns else None
        self._shape, self._streams = (T, P, B), np.arange(P * B)
        self._one = window.astype(network.dtype)
        self._all = Window(
            np.tile(window.inputs, P),
            np.tile(window.targets, P),
            np.tile(self._one.state, (1, 1, P, 1)),
            [mask if mask is None else self._repeat(mask).reshape(-1, mask.shape[1]) for mask in window.masks],
        )

    def losses(self, change: complex) -> Array:
        """The loss of every copy, the mean over its streams, with its entry changed by `change`."""
        prefix, _, tensor = self._name.rpartition(".")
        layer = int(prefix.removeprefix("layer") or 0)
        if tensor in ("V", "c"):
            self._change_output(change)
        elif tensor == "W":
            W = _ChangedMatrix(self._network.parameters[self._name].real, change, self._rows, self._columns)
            self._forward(layer, {"W": cast(Array, W)})
        elif tensor in ("U", "b"):
            b = self._biases(self._network.parameters.layers[layer]["b"], change * self._inputs(layer))
            self._forward(layer, {"b": b})
        else:
            return self._one_by_one(change)
        losses = self._network.window(self._all.inputs.shape).losses.reshape(self._shape).sum(axis=0).mean(axis=1)
        return cast(Array, losses[: len(self._positions)])

    def _forward(self, layer: int, changed: Mapping[str, Array]) -> None:
        """All copies through the network, with these in place of a layer's own parameters."""
        params = self._network.parameters.layers[layer]
        original = dict(params)
        params.update(changed)
        forward(self._network, self._all)
        params.update(original)

    def _change_output(self, change: complex) -> None:
        """The loss alone for each copy: V h_t + c is the same in all but for the row of its entry."""
        network, all_targets = self._network, self._all.targets
        forward(network, self._one)
        one, all_copies = network.window(self._one.inputs.shape), network.window(all_targets.shape)
        o = all_copies.o.reshape(*all_targets.shape, -1)
        o[...] = self._repeat(one.outputs(network.parameters))
        o[:, self._streams, self._rows] += change * self._inputs(network.layers)
        all_copies.loss(all_targets.reshape(-1))

    def _inputs(self, layer: int) -> Any:
        """The element of a layer's input that each copy's entry is multiplied with, (T, P·B); 1 for a bias.

        The output of the layer below is the same in all copies.
        """
        if self._columns is None:
            return 1
        if not layer:
            return np.equal(self._all.inputs, self._columns)
        forward(self._network, self._one)
        T, _, B = self._shape
        below: Array = self._network.window((T, B)).layer_output[layer - 1].reshape(T, B, -1)
        return below[:, self._streams % B, self._columns]

    def _one_by_one(self, change: complex) -> Array:
        theta, losses = self._network.parameters.vector, []
        for i in self._positions:
            value = theta[i]
            theta[i] = value + change
            losses.append(forward(self._network, self._one)[0])
            theta[i] = value
        return np.array(losses)

    def _biases(self, bias: Array, changes: Array | complex) -> Array:
        """A bias for every time step and stream, (T·P·B, n), with `changes` added to the row of each copy's entry."""
        biases = np.empty((self._shape[0], len(self._streams), len(bias)), bias.dtype)
        biases[...] = bias
        biases[:, self._streams, self._rows] += changes
        return biases.reshape(-1, len(bias))

    def _repeat(self, rows: Array) -> Array:
        """What (T·B, n) is for one copy, (T, P·B, n) for all."""
        T, P, B = self._shape
        return np.tile(rows.reshape(T, B, -1), (1, P, 1))


class _ChangedMatrix:
    """W, another entry of it changed for each column of h that it is multiplied with; all that a cell asks of W."""

    def __init__(self, W: Array, change: complex, rows: Array, columns: Array | None) -> None:
        self._W, self._change, streams = W.copy(), change, np.arange(len(rows))
        self._from, self._to = (columns, streams), (rows, streams)

    def dot(self, h: Array, out: Array) -> None:
        # W is real: half the work of a complex product.
        np.dot(self._W, np.ascontiguousarray(h).view(np.float64), out=out.view(np.float64))
        out[self._to] += self._change * h[self._from]
