"""The network around the cells: input projection, output, loss, and the gradient of the loss by hand.

    a_t = W h_{t-1} + U x_t + b        h_t = tanh(a_t)          (or another cell's equations)
    o_t = V h_t + c                    p_t = softmax(o_t)
    L   = - sum_t log p_t[y_t]         (nats, summed over the window, the mean over the streams)

Only time is a loop, and that loop is the cell's; all else is done for the T time steps at once. Every operation of the
forward pass is complex-step safe: the gradient check differentiates it with complex parameters. Knows nothing about
files, training or text.
"""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from charloom.core.cells import CELLS
from charloom.core.common.types import Array, IntArray, Masks
from charloom.core.network.parameters import Parameters, layer_prefix, parameter_count
from charloom.core.network.window import Window


class Network:
    """A recurrent network that reads characters and predicts the next one.

    K = `vocabulary_size`, m = `hidden_size`. `parameters` holds W, U, b (the cell's gates stacked along the rows), V
    and c; the layers above the first are `layer1.W` and so on. `gradients` has the same names and shapes.

    >>> network = Network(vocabulary_size=5, hidden_size=3, cell="gru", dtype=np.float64)
    >>> {name: array.shape for name, array in network.parameters.items()}
    {'W': (9, 3), 'U': (9, 5), 'b': (9,), 'bn': (3,), 'V': (5, 3), 'c': (5,)}
    """

    def __init__(
        self, *, vocabulary_size: int, hidden_size: int, cell: str = "rnn", layers: int = 1, dtype: DTypeLike
    ) -> None:
        """A network with all parameters 0; see `initialize`. `cell` is a name in CELLS, `dtype` real or complex."""
        self.vocabulary_size, self.hidden_size, self.cell, self.layers = vocabulary_size, hidden_size, cell, layers
        self.dtype = np.dtype(dtype)
        self._shapes = self.shapes(vocabulary_size=vocabulary_size, hidden_size=hidden_size, cell=cell, layers=layers)
        self.parameters, self.gradients = Parameters(self._shapes, dtype), Parameters(self._shapes, dtype)
        self._windows: dict[tuple[int, ...], Window] = {}

    def place(self, parameters: Array, gradients: Array) -> None:
        """Keep the parameters and the gradients in these vectors from now on, with the values that they have."""
        self.parameters = Parameters(self._shapes, self.dtype, parameters)
        self.gradients = Parameters(self._shapes, self.dtype, gradients)

    @staticmethod
    def shapes(*, vocabulary_size: int, hidden_size: int, cell: str, layers: int) -> dict[str, tuple[int, ...]]:
        """The parameters' shapes by name, in their order in the vector."""
        K, m = vocabulary_size, hidden_size
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(layers):
            cell_shapes = CELLS[cell].parameter_shapes(m, inputs=m if layer else K)
            shapes |= {layer_prefix(layer) + name: shape for name, shape in cell_shapes.items()}
        return shapes | {"V": (K, m), "c": (K,)}

    @staticmethod
    def memory(T: int, B: int, *, dtype: DTypeLike, **sizes: Any) -> int:
        """The bytes of a network, its gradients and the buffers of a window, computed before they are allocated.

        `sizes` and `dtype` are the arguments that make the network.
        """
        elements = 2 * parameter_count(Network.shapes(**sizes)) + Window.size(T, B, **sizes)
        return np.dtype(dtype).itemsize * elements

    def initialize(self, scale: float, *, rng: np.random.Generator) -> None:
        """Draw the weights from N(0, scale²), in their order; biases are 0, except where the cell sets them."""
        for array in self.parameters.values():
            array[...] = rng.normal(0.0, scale, array.shape) if array.ndim > 1 else 0.0
        for layer_params in self.parameters.layers:
            CELLS[self.cell].initialize(layer_params)

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
        """The loss of a window in nats, summed over T time steps, the mean over B streams; and the state after it.

        `inputs` and `targets` are ids (T, B), `state` is (layers, states, B, m). `masks`, where given, has an array
        (T·B, m) or None for each layer, that the layer's output is multiplied with (dropout). The loss is a NumPy
        scalar of the network's type.
        """
        window = self.window(inputs.shape)
        state_last = self._recur(window, inputs, state, masks)
        window.outputs(self.parameters)
        return window.loss(targets.reshape(-1)), state_last

    def logits(self, inputs: IntArray, state: Array) -> tuple[Array, Array]:
        """The outputs o_t (T, B, K) of the ids `inputs` (T, B), and the state after them; a later call overwrites o."""
        window = self.window(inputs.shape)
        state_last = self._recur(window, inputs, state, ())
        return window.outputs(self.parameters).reshape(*inputs.shape, -1), state_last

    def backward(self, inputs: IntArray, *, since: int = 0) -> Parameters:
        """The gradient of the loss that `forward` just computed on these inputs: `gradients`.

        Of the loss of the time steps from the index `since` on, where it is given.

            dV = sum_t do_t h_tᵀ        dc = sum_t do_t        dh_t = Vᵀ do_t
            dW = sum_t da_t h_{t-1}ᵀ    dU = sum_t da_t x_tᵀ   db = sum_t da_t

        The sums over t and over the streams are products of the matrices that hold all time steps; the cell finds da_t.
        The next call overwrites `gradients`.
        """
        window, params, grads = self.window(inputs.shape), self.parameters, self.gradients
        do = window.output_gradient()  # (T·B, K)
        if since:
            do[: since * inputs.shape[1]] = 0
        np.dot(do.T, window.layer_output[-1], out=grads["V"])
        np.dot(window.ones, do, out=grads["c"])
        np.dot(do, params["V"], out=window.dh[-1])  # (T·B, m)
        for layer in reversed(range(self.layers)):
            if window.masks and (mask := window.masks[layer]) is not None:
                np.multiply(window.dh[layer], mask, out=window.dh[layer])
            layer_params, layer_grads = params.layers[layer], grads.layers[layer]
            da, d_product = window.cells[layer].backward(layer_params, layer_grads)
            da, d_product = (d.reshape(-1, d.shape[-1]) for d in (da, d_product))  # (T·B, gates·m)
            np.dot(d_product.T, window.h_prev[layer], out=layer_grads["W"])
            if layer:
                np.dot(window.ones, da, out=layer_grads["b"])
                np.dot(da.T, window.layer_output[layer - 1], out=layer_grads["U"])
                np.dot(da, layer_params["U"], out=window.dh[layer - 1])
            else:
                np.dot(window.one_hot(inputs.reshape(-1)), da, out=layer_grads["U"].T)
                np.dot(window.ones_K, layer_grads["U"].T, out=layer_grads["b"])  # each da_t is in one column of dU
        return grads

    def _recur(self, window: Window, inputs: IntArray, state: Array, masks: Masks) -> Array:
        """Compute every layer's h; the state after the window."""
        window.masks = masks
        state_last = np.empty_like(state)
        for layer, cell in enumerate(window.cells):
            layer_params, projection = self.parameters.layers[layer], window.input_projection[layer]
            if layer:
                np.dot(window.layer_output[layer - 1], layer_params["U"].T, out=projection)
            else:
                layer_params["U"].T.take(inputs.reshape(-1), axis=0, out=projection, mode="clip")
            np.add(projection, layer_params["b"], out=projection)
            cell.forward(layer_params, state[layer])
            state_last[layer] = cell.last_state()
            mask = masks[layer] if masks else None
            window.layer_output[layer] = window.h[layer] if mask is None else window.h[layer] * mask
        return state_last

    def window(self, shape: tuple[int, ...]) -> Window:
        """The buffers of the windows with this shape (T, B)."""
        if shape not in self._windows:
            self._windows[shape] = Window(*shape, **self.sizes)
        return self._windows[shape]


def _rebuild(sizes: dict[str, Any], vector: Array) -> Network:
    network = Network(**sizes)
    network.parameters.vector[:] = vector
    return network
