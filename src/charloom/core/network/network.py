"""The network around the cells: input drive, output, loss, and the gradient of the loss by hand.

    a_t = W h_{t-1} + U x_t + b        h_t = tanh(a_t)
    o_t = V h_t + c                    p_t = softmax(o_t)
    L   = - sum_t log p_t[y_t]         (nats, summed over the window, the mean over the streams)

Only time is a loop, and that loop is the cell's; all else is done for the T steps at once. Every operation is clean for
complex parameters, so that the gradient check can use the complex step. Knows nothing about files, training or text.
"""

import math
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from charloom.core.cells import CELLS
from charloom.core.cells.cell import IN_CACHE, rows
from charloom.core.common.types import Array, IntArray, Masks

_CACHE_LINE = 64  # bytes


class Parameters(Mapping[str, Array]):
    """All parameters of a network in one contiguous `vector`, and named views into it.

    The view of the first layer's U is m×K like in the equations, but its columns are contiguous in the vector: the
    input drive U x_t is then a gather of rows.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], dtype: DTypeLike, vector: Array | None = None) -> None:
        size = sum(math.prod(shape) for shape in shapes.values())
        self.vector = _zeros(size, np.dtype(dtype)) if vector is None else vector
        self._views: dict[str, Array] = {}
        self.slices: dict[str, slice] = {}
        start = 0
        for name, shape in shapes.items():
            stop = start + math.prod(shape)
            part = self.vector[start:stop]
            self._views[name] = part.reshape(shape[::-1]).T if name == "U" else part.reshape(shape)
            self.slices[name] = slice(start, stop)
            start = stop
        self.layers = [self._of_layer(layer) for layer in range(sum(name.endswith("W") for name in shapes))]

    def __getitem__(self, name: str) -> Array:
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def _of_layer(self, layer: int) -> dict[str, Array]:
        """The views of one layer's cell, by their names without the layer."""
        prefix = f"layer{layer}." if layer else ""
        names = (name.removeprefix(prefix) for name in self if name.startswith(prefix))
        return {name: self[prefix + name] for name in names if "." not in name}


class Network:
    """A recurrent network that reads characters and foretells the next one.

    K = `vocabulary_size`, m = `hidden_size`. `parameters` holds W, U, b (the cell's gates stacked along the rows), V
    and c; the layers above the first are `layer1.W` and so on. `gradients` has the same names and shapes.
    """

    def __init__(
        self, *, vocabulary_size: int, hidden_size: int, cell: str = "rnn", layers: int = 1, dtype: DTypeLike
    ) -> None:
        self.vocabulary_size, self.hidden_size, self.cell, self.layers = vocabulary_size, hidden_size, cell, layers
        self.dtype = np.dtype(dtype)
        self._shapes = self.shapes(vocabulary_size=vocabulary_size, hidden_size=hidden_size, cell=cell, layers=layers)
        self.parameters = Parameters(self._shapes, dtype)
        self.gradients = Parameters(self._shapes, dtype)
        self._windows: dict[tuple[int, int], _Window] = {}

    def place(self, parameters: Array, gradients: Array) -> None:
        """From now on, keep the parameters and the gradients in these vectors, as they are."""
        self.parameters = Parameters(self._shapes, self.dtype, parameters)
        self.gradients = Parameters(self._shapes, self.dtype, gradients)

    @staticmethod
    def shapes(*, vocabulary_size: int, hidden_size: int, cell: str, layers: int) -> dict[str, tuple[int, ...]]:
        """The parameters' shapes by name, in their order in the vector."""
        K, m = vocabulary_size, hidden_size
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(layers):
            prefix = f"layer{layer}." if layer else ""
            of_cell = CELLS[cell].shapes(m, inputs=m if layer else K)
            shapes |= {prefix + name: shape for name, shape in of_cell.items()}
        return shapes | {"V": (K, m), "c": (K,)}

    @staticmethod
    def memory(
        *, vocabulary_size: int, hidden_size: int, cell: str, layers: int, dtype: DTypeLike, T: int, B: int
    ) -> int:
        """The bytes of a network, its gradients and the buffers of a window, known before they are taken."""
        shapes = Network.shapes(vocabulary_size=vocabulary_size, hidden_size=hidden_size, cell=cell, layers=layers)
        parameters = sum(math.prod(shape) for shape in shapes.values())
        of_step = layers * CELLS[cell].buffers * hidden_size + 2 * vocabulary_size
        of_window = layers * CELLS[cell].gates * IN_CACHE  # a run of slopes
        return np.dtype(dtype).itemsize * (2 * parameters + T * B * of_step + of_window)

    def initialize(self, scale: float, *, rng: np.random.Generator) -> None:
        """Draw the weights from N(0, scale²), in their order; biases are zero, but for what the cell says."""
        for array in self.parameters.values():
            array[...] = rng.normal(0.0, scale, array.shape) if array.ndim > 1 else 0.0
        for of_layer in self.parameters.layers:
            CELLS[self.cell].initialize(of_layer)

    def astype(self, dtype: DTypeLike) -> "Network":
        """A copy of this network in another type."""
        return _rebuild({**self.sizes, "dtype": np.dtype(dtype)}, self.parameters.vector)

    @property
    def sizes(self) -> dict[str, Any]:
        """The keyword arguments that make a network of the same shape and type."""
        names = ("vocabulary_size", "hidden_size", "cell", "layers", "dtype")
        return {name: getattr(self, name) for name in names}

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.sizes, self.parameters.vector)  # views would be pickled as copies

    def zero_state(self, batch_size: int) -> Array:
        """The state at the start of a text: zeros (layers, states, B, m), where states is 1 for a plain cell."""
        return np.zeros((self.layers, CELLS[self.cell].states, batch_size, self.hidden_size), self.dtype)

    def forward(self, inputs: IntArray, targets: IntArray, state: Array, masks: Masks = ()) -> tuple[Any, Array]:
        """The loss of a window in nats, summed over T steps, the mean over B streams; and the state after it.

        `inputs` and `targets` are ids (T, B), `state` is (layers, states, B, m). `masks`, where given, has an array
        (T·B, m) or None for each layer: what that layer's h is multiplied with on its way up (dropout). The loss is
        a NumPy scalar of the network's type.
        """
        window = self._window(inputs.shape)
        state_last = self._recur(window, inputs, state, masks)
        return window.loss(self.parameters, targets.reshape(-1)), state_last

    def logits(self, inputs: IntArray, state: Array) -> tuple[Array, Array]:
        """The outputs o_t (T, B, K) for the ids `inputs` (T, B), and the state after them. The buffer is used again."""
        window = self._window(inputs.shape)
        state_last = self._recur(window, inputs, state, ())
        return window.outputs(self.parameters).reshape(*inputs.shape, -1), state_last

    def reader(self, state: Array) -> Generator[Array, Any, None]:
        """Reads a character of every stream at a time, from `state`: `send` it the ids, and it gives V h_t.

        The outputs o_t are that and c, which who draws from them adds to a block of noise, once for many characters.
        Where the state is of B streams, the ids are (B,) and what is given (B, K); for one stream an array () and (K,).
        It is filled again for the next. The first `send` is None. Never ends, in constant memory.

        Each layer's W h_t and what its h_t goes into above are one product, with both matrices in one. Measured at
        m = 100, float64: 1.6 µs for it, 2.1 µs for W h_t and V h_t.
        """
        params, B = self.parameters.layers, state.shape[2]
        above = [*(of["U"] for of in params[1:]), self.parameters["V"]]  # what each layer's h goes into
        cells, reading = [], []
        for of, matrix, before in zip(params, above, state, strict=True):
            both = _zeros(of["W"].size + matrix.size, self.dtype).reshape(-1, self.hidden_size)
            np.concatenate([of["W"], matrix], out=both)
            cells.append(CELLS[self.cell](1, B, self.hidden_size, self.dtype, len(matrix)))
            reading.append(cells[-1].read({**of, "W": both}, before))
            next(reading[-1])
        drive_of = params[0]["U"].T + params[0]["b"]  # (K, gates·m), for each character
        drive, *drives = (rows(cell.drive)[0] for cell in cells)
        *products, output = (cell.above for cell in cells)
        first, *others = reading
        upper = list(zip(products, params[1:], drives, others, strict=True))
        ids = yield output
        while True:
            drive_of.take(ids, 0, drive, "clip")
            next(first)
            for product, of, drive_above, layer in upper:
                np.add(product, of["b"], drive_above)
                next(layer)
            ids = yield output

    def backward(self, inputs: IntArray) -> Parameters:
        """The gradient of the loss that `forward` just computed on these inputs.

        Returned as `gradients`, whose arrays the next call fills again.
        """
        window, params, grads = self._window(inputs.shape), self.parameters, self.gradients
        do = window.output_gradient()  # (TB, K)
        np.dot(do.T, window.up[-1], out=grads["V"])
        np.dot(window.ones, do, out=grads["c"])
        np.dot(do, params["V"], out=window.dh[-1])  # (TB, m)
        for layer in reversed(range(self.layers)):
            if window.masks and (mask := window.masks[layer]) is not None:
                np.multiply(window.dh[layer], mask, out=window.dh[layer])
            of, dgrads = params.layers[layer], grads.layers[layer]
            d_drive, d_product = window.cells[layer].backward(of, dgrads)
            d_drive, d_product = (d.reshape(-1, d.shape[-1]) for d in (d_drive, d_product))  # (TB, gates·m)
            np.dot(d_product.T, window.h_before[layer], out=dgrads["W"])
            if layer:
                np.dot(window.ones, d_drive, out=dgrads["b"])
                np.dot(d_drive.T, window.up[layer - 1], out=dgrads["U"])
                np.dot(d_drive, of["U"], out=window.dh[layer - 1])
            else:
                np.dot(window.one_hot(inputs.reshape(-1)), d_drive, out=dgrads["U"].T)
                np.dot(window.ones_K, dgrads["U"].T, out=dgrads["b"])  # each x_t is one column of U, and b
        return grads

    def _recur(self, window: "_Window", inputs: IntArray, state: Array, masks: Masks) -> Array:
        """Fill every layer's h; the state after the window."""
        window.masks = masks
        state_last = np.empty_like(state)
        for layer, cell in enumerate(window.cells):
            of = self.parameters.layers[layer]
            drive = window.drive[layer]
            if layer:
                np.dot(window.up[layer - 1], of["U"].T, out=drive)
            else:
                of["U"].T.take(inputs.reshape(-1), axis=0, out=drive, mode="clip")
            np.add(drive, of["b"], out=drive)
            cell.forward(of, state[layer])
            state_last[layer] = cell.last_state()
            mask = masks[layer] if masks else None
            window.up[layer] = window.h[layer] if mask is None else window.h[layer] * mask
        return state_last

    def _window(self, shape: tuple[int, ...]) -> "_Window":
        T, B = shape
        if (T, B) not in self._windows:
            self._windows[T, B] = _Window(self, T, B)
        return self._windows[T, B]


def _zeros(size: int, dtype: np.dtype[Any]) -> Array:
    """Zeros that begin with a cache line, which NumPy's own need not.

    Measured at the reference settings: 25 products of W and a vector take 51.5 µs so, 55 µs from 16 bytes further on.
    """
    memory = np.zeros(size * dtype.itemsize + _CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % _CACHE_LINE
    return memory[start : start + size * dtype.itemsize].view(dtype)


def _rebuild(sizes: dict[str, Any], vector: Array) -> Network:
    network = Network(**sizes)
    network.parameters.vector[:] = vector
    return network


class _Window:
    """The buffers of a window of T steps and B streams: nothing of that size is allocated while training."""

    def __init__(self, network: Network, T: int, B: int) -> None:
        K, m, dtype = network.vocabulary_size, network.hidden_size, network.dtype
        self._B = B
        self.cells = [CELLS[network.cell](T, B, m, dtype) for _ in range(network.layers)]
        self.drive = [cell.drive.reshape(T * B, -1) for cell in self.cells]
        self.h = [cell.h[1:].reshape(T * B, m) for cell in self.cells]
        self.h_before = [cell.h[:-1].reshape(T * B, m) for cell in self.cells]
        self.dh = [cell.dh.reshape(T * B, m) for cell in self.cells]
        self.up = list(self.h)  # each layer's h as it is read above
        self.masks: Masks = ()
        self.ones = np.ones(T * B, dtype)
        self._o = np.empty((T * B, K), dtype)
        self._sum = np.empty(T * B, dtype)
        self.ones_K = np.ones(K, dtype)
        self._first = np.arange(T * B) * K  # where each row of o begins
        self._one_hot = np.zeros((K, T * B), dtype)
        self._columns = np.arange(T * B)

    def outputs(self, params: Parameters) -> Array:
        """o_t = V h_t + c for all steps and streams, (TB, K)."""
        np.dot(self.up[-1], params["V"].T, out=self._o)
        return np.add(self._o, params["c"], out=self._o)

    def loss(self, params: Parameters, targets: IntArray) -> Any:
        """L = sum_t (log sum_k exp o_tk - o_t[y_t]), with o shifted by its real maximum; o becomes exp o."""
        o = self.outputs(params)
        np.subtract(o, o.real.max(axis=1, keepdims=True), out=o)
        self._at_targets = self._first + targets
        o_at_targets = o.reshape(-1).take(self._at_targets)
        np.dot(np.exp(o, out=o), self.ones_K, out=self._sum)
        return (np.log(self._sum) - o_at_targets).sum() / self._B

    def output_gradient(self) -> Array:
        """do_t = (p_t - one_hot(y_t)) / B, (TB, K), where exp o was."""
        do, B = self._o, self._B
        np.divide(do, (self._sum * B)[:, None], out=do)
        do.reshape(-1)[self._at_targets] -= 1 / B
        return do

    def one_hot(self, inputs: IntArray) -> Array:
        """The inputs as columns, (K, TB): a product with it takes half the time of `np.add.at`."""
        self._one_hot[...] = 0
        self._one_hot[inputs, self._columns] = 1
        return self._one_hot
