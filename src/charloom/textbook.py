"""Recurrent networks as a textbook has them: a loop over time, column vectors, every equation on a line of its own.

    h_t = cell(x_t, h_{t-1})           rnn, gru or lstm, below
    o_t = V h_t + c                    p_t = softmax(o_t)
    L   = - sum_t log p_t[y_t]         (nats, summed over the window)

K is the vocabulary size, m the hidden size, T the sequence length. x_t (K×1) is the one-hot character that is read,
y_t the next one. Parameters and gradients are dictionaries with the same names and shapes: V (K×m), c (K×1), and the
cell's W (gates·m × m), U (gates·m × K) and b (gates·m × 1), the gates one below the other. A `d` before a name is the
derivative of L: dh is that of h_t. `docs/backpropagation.md` derives every line of the backward passes.

Written to be read, not to be fast: it needs NumPy alone and shares no code with the rest of charloom, so that each can
be checked against the other. `python -m charloom.textbook corpus.txt` trains a network and shows what it writes.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
Params = dict[str, Array]
Columns = tuple[Array, ...]
"""Above all a state, what a cell carries from one time step to the next: (h,), or (h, c) for an LSTM, each m×1."""


def one_hot(i: int, K: int, dtype: DTypeLike = np.float64) -> Array:
    """The column (K×1) with a 1 at place i and zeros elsewhere."""
    x = np.zeros((K, 1), dtype)
    x[i] = 1
    return x


def softmax(o: Array) -> Array:
    """The probabilities p = exp(o) / sum exp(o); o is shifted by its largest entry, so that exp cannot overflow."""
    e: Array = np.exp(o - o.max())
    p: Array = e / e.sum()
    return p


def sigmoid(a: Array) -> Array:
    """σ(a) = 1 / (1 + exp(-a)), the value of a gate: 0 is shut, 1 is open."""
    s: Array = 1 / (1 + np.exp(-a))
    return s


# Each cell is two functions of one time step. Forward: from x_t and the state before it to the state after it, and the
# values that the backward pass needs again. Backward: from the upstream gradient dh of h_t (an LSTM has dc_next of c_t
# as well) to that of the state before it, the dh_next of the time step before; dW, dU and db are added to `grads`.


def rnn_forward(params: Params, x: Array, state: Columns) -> tuple[Columns, Columns]:
    """The plain cell (Elman, 1990): h_t = tanh(W h_{t-1} + U x_t + b)."""
    W, U, b = params["W"], params["U"], params["b"]
    (h_prev,) = state
    a = W @ h_prev + U @ x + b
    h = np.tanh(a)
    return (h,), (x, h_prev, h)


def rnn_backward(params: Params, grads: Params, values: Columns, dh: Array) -> Columns:
    """da_t = dh_t (1 - h_t²); the gradient of h_{t-1} is Wᵀ da_t."""
    x, h_prev, h = values
    da = dh * (1 - h**2)
    grads["W"] += da @ h_prev.T
    grads["U"] += da @ x.T
    grads["b"] += da
    dh_next = params["W"].T @ da
    return (dh_next,)


def gru_forward(params: Params, x: Array, state: Columns) -> tuple[Columns, Columns]:
    """The gated recurrent unit (Cho et al., 2014), with gates in the order r, z, n.

    r resets and z keeps. As in cuDNN, r multiplies the product with h_{t-1}, which has a bias of its own, bn (m×1).
    """
    W_r, W_z, W_n = np.split(params["W"], 3)
    U_r, U_z, U_n = np.split(params["U"], 3)
    b_r, b_z, b_n = np.split(params["b"], 3)
    (h_prev,) = state
    r = sigmoid(W_r @ h_prev + U_r @ x + b_r)
    z = sigmoid(W_z @ h_prev + U_z @ x + b_z)
    q = W_n @ h_prev + params["bn"]
    n = np.tanh(r * q + U_n @ x + b_n)
    h = (1 - z) * n + z * h_prev
    return (h,), (x, h_prev, r, z, q, n)


def gru_backward(params: Params, grads: Params, values: Columns, dh: Array) -> Columns:
    """h_{t-1} reaches h_t through the three gates, and past them where z_t keeps it."""
    x, h_prev, r, z, q, n = values
    dz = dh * (h_prev - n)
    dn = dh * (1 - z)
    da_n = dn * (1 - n**2)
    dr = da_n * q
    dq = da_n * r
    da_z = dz * z * (1 - z)
    da_r = dr * r * (1 - r)
    da = np.concatenate([da_r, da_z, da_n])  # 3m×1, of U x_t + b
    dWh = np.concatenate([da_r, da_z, dq])  # 3m×1, of W h_{t-1}
    grads["W"] += dWh @ h_prev.T
    grads["U"] += da @ x.T
    grads["b"] += da
    grads["bn"] += dq
    dh_next = params["W"].T @ dWh + dh * z
    return (dh_next,)


def lstm_forward(params: Params, x: Array, state: Columns) -> tuple[Columns, Columns]:
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; forget gate: Gers et al., 2000), gates o, i, f, g.

    o is the output gate and c the cell state here; in the network around the cell, o is the output and c its bias.
    """
    W, U, b = params["W"], params["U"], params["b"]
    h_prev, c_prev = state
    a = W @ h_prev + U @ x + b  # 4m×1
    a_o, a_i, a_f, a_g = np.split(a, 4)
    o, i, f, g = sigmoid(a_o), sigmoid(a_i), sigmoid(a_f), np.tanh(a_g)
    c = f * c_prev + i * g
    h = o * np.tanh(c)
    return (h, c), (x, h_prev, c_prev, o, i, f, g, c)


def lstm_backward(params: Params, grads: Params, values: Columns, dh: Array, dc_next: Array) -> Columns:
    """c_t has two uses, in h_t and in c_{t+1}; the output gate takes part in the first alone."""
    x, h_prev, c_prev, o, i, f, g, c = values
    dc = dh * o * (1 - np.tanh(c) ** 2) + dc_next
    da_o = dh * np.tanh(c) * o * (1 - o)
    da_i = dc * g * i * (1 - i)
    da_f = dc * c_prev * f * (1 - f)
    da_g = dc * i * (1 - g**2)
    da = np.concatenate([da_o, da_i, da_f, da_g])  # 4m×1
    grads["W"] += da @ h_prev.T
    grads["U"] += da @ x.T
    grads["b"] += da
    dh_next = params["W"].T @ da
    dc_next = dc * f
    return dh_next, dc_next


FORWARD = {"rnn": rnn_forward, "gru": gru_forward, "lstm": lstm_forward}
BACKWARD: dict[str, Callable[..., Columns]] = {"rnn": rnn_backward, "gru": gru_backward, "lstm": lstm_backward}
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


def initial_parameters(
    K: int, m: int, cell: str = "rnn", scale: float = 0.01, *, rng: np.random.Generator, dtype: DTypeLike = np.float64
) -> Params:
    """Weights drawn from N(0, scale²), biases zero, but 1 for the LSTM's forget gate (Jozefowicz et al., 2015).

    >>> params = initial_parameters(K=65, m=100, cell="gru", rng=np.random.default_rng(1))
    >>> {name: array.shape for name, array in params.items()}
    {'W': (300, 100), 'U': (300, 65), 'b': (300, 1), 'bn': (100, 1), 'V': (65, 100), 'c': (65, 1)}
    """
    rows = GATES[cell] * m
    params = {"W": rng.normal(0, scale, (rows, m)), "U": rng.normal(0, scale, (rows, K)), "b": np.zeros((rows, 1))}
    if cell == "gru":
        params["bn"] = np.zeros((m, 1))
    if cell == "lstm":
        params["b"][2 * m : 3 * m] = 1
    params |= {"V": rng.normal(0, scale, (K, m)), "c": np.zeros((K, 1))}
    return {name: array.astype(dtype) for name, array in params.items()}


def zero_state(m: int, cell: str = "rnn", dtype: DTypeLike = np.float64) -> Columns:
    """The state at the start of a text."""
    zeros = np.zeros((m, 1), dtype)
    return (zeros, zeros) if cell == "lstm" else (zeros,)


def loss_and_gradients(
    params: Params, inputs: Sequence[int], targets: Sequence[int], state: Columns, *, cell: str = "rnn"
) -> tuple[float, Params, Columns]:
    """The loss of a window in nats, its gradients, and the state after the window (Werbos, 1990).

    `inputs` and `targets` are T ids each, `state` is what the window before has left. At zero weights every character
    is as likely as any other, and the loss is T ln K:

    >>> params = initial_parameters(K=4, m=3, scale=0.0, rng=np.random.default_rng(1))
    >>> loss, grads, state = loss_and_gradients(params, [0, 1, 2], [1, 2, 3], zero_state(3))
    >>> round(loss / float(np.log(4)), 12)
    3.0
    >>> grads["c"].ravel()  # the sum over the window of p_t - one_hot(y_t)
    array([ 0.75, -0.25, -0.25, -0.25])
    """
    V, c = params["V"], params["c"]
    K, T = len(c), len(inputs)

    # Forward: what each time step has computed is kept, because the backward pass needs it.
    h, p, values = {}, {}, {}
    loss = 0.0
    for t in range(T):
        x = one_hot(inputs[t], K, c.dtype)
        state, values[t] = FORWARD[cell](params, x, state)
        h[t] = state[0]
        o = V @ h[t] + c
        p[t] = softmax(o)
        loss -= np.log(p[t][targets[t], 0])

    # Backward: from the last time step to the first, adding up what each of them contributes.
    grads = {name: np.zeros_like(array) for name, array in params.items()}
    dh_next, *dc_next = (np.zeros_like(array) for array in state)  # dc_next: one column for an LSTM, else none
    for t in reversed(range(T)):
        do = p[t] - one_hot(targets[t], K, c.dtype)
        grads["V"] += do @ h[t].T
        grads["c"] += do
        dh = V.T @ do + dh_next
        dh_next, *dc_next = BACKWARD[cell](params, grads, values[t], dh, *dc_next)
    return float(loss), grads, state


def adagrad(
    params: Params,
    grads: Params,
    sums_of_squares: Params,
    *,
    learning_rate: float = 0.1,
    epsilon: float = 2.2e-16,
    clip_value: float = 5.0,
) -> None:
    """One update in place (Duchi et al., 2011): θ ← θ - η g / sqrt(s + ε), s the sum of all g² to date, g clipped.

    >>> params, sums_of_squares = {"b": np.array([1.0, 1.0])}, {"b": np.array([0.0, 0.0])}
    >>> adagrad(params, {"b": np.array([0.5, -99.0])}, sums_of_squares)
    >>> params["b"], sums_of_squares["b"]
    (array([0.9, 1.1]), array([ 0.25, 25.  ]))
    """
    for name in params:
        g = np.clip(grads[name], -clip_value, clip_value)
        sums_of_squares[name] += g**2
        params[name] -= learning_rate * g / np.sqrt(sums_of_squares[name] + epsilon)


def smooth(smooth_loss: float | None, loss: float) -> float:
    """The loss averaged over about a thousand windows; the first window's own to begin with."""
    return loss if smooth_loss is None else 0.999 * smooth_loss + 0.001 * loss


def train(
    params: Params, ids: Sequence[int], *, cell: str = "rnn", T: int = 25, learning_rate: float = 0.1
) -> Iterator[tuple[float, Columns, int]]:
    """Update `params` window by window, in the order of the text, from its start again when it ends; never stops.

    Yields after each update the smooth loss, the state after the window, and the id that is read next.

    >>> params = initial_parameters(K=3, m=8, cell="lstm", rng=np.random.default_rng(1))
    >>> losses = [smooth_loss for smooth_loss, _, _ in islice(train(params, [0, 1, 2] * 10, cell="lstm", T=9), 500)]
    >>> round(losses[0], 1), round(losses[-1], 1)  # of 9 characters, from 9 ln 3
    (9.9, 6.1)
    """
    m, dtype = params["V"].shape[1], params["V"].dtype
    sums_of_squares = {name: np.zeros_like(array) for name, array in params.items()}
    smooth_loss = None
    while True:
        state = zero_state(m, cell, dtype)
        for start in range(0, max(1, len(ids) - T - 1), T):
            window = ids[start : start + T + 1]
            loss, grads, state = loss_and_gradients(params, window[:-1], window[1:], state, cell=cell)
            adagrad(params, grads, sums_of_squares, learning_rate=learning_rate)
            smooth_loss = smooth(smooth_loss, loss)
            yield smooth_loss, state, window[-1]


def sample(
    params: Params, first: int, state: Columns, length: int, *, cell: str = "rnn", rng: np.random.Generator
) -> list[int]:
    """The ids of `length` characters, each drawn from the probabilities after the one before; `first` is read first."""
    V, c = params["V"], params["c"]
    K = len(c)
    ids = [first]
    for _ in range(length):
        state, _ = FORWARD[cell](params, one_hot(ids[-1], K, c.dtype), state)
        p = softmax(V @ state[0] + c)
        ids.append(int(rng.choice(K, p=p.ravel())))
    return ids[1:]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train a network on a text, and print the smooth loss and a sample now and then."""
    parser = argparse.ArgumentParser(prog="python -m charloom.textbook", description=main.__doc__)
    parser.add_argument("corpus", type=Path, help="a text file in UTF-8")
    parser.add_argument("--cell", choices=FORWARD, default="rnn")
    parser.add_argument("--hidden-size", type=int, default=100)
    parser.add_argument("--seq-length", type=int, default=25)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--steps", type=int, help="how many updates; endless where it is not given")
    parser.add_argument("--sample-every", type=int, default=1000, help="steps from one sample to the next")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(arguments)
    cell, T = args.cell, args.seq_length
    if min(args.hidden_size, T, args.sample_every, args.steps or 1) < 1:
        parser.error("sizes and numbers of steps must be at least 1")
    try:
        text = args.corpus.read_text(encoding="utf-8")
        if len(text) <= T:
            raise ValueError(f"a text must have at least {T + 1} characters, got {len(text)}; try a longer one")
    except (OSError, ValueError) as error:
        print(f"{args.corpus}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 3
    id_to_char = sorted(set(text))
    char_to_id = {char: i for i, char in enumerate(id_to_char)}
    ids = [char_to_id[char] for char in text]
    rng = np.random.default_rng(args.seed)
    params = initial_parameters(len(id_to_char), args.hidden_size, cell, rng=rng)
    updates = islice(train(params, ids, cell=cell, T=T, learning_rate=args.learning_rate), args.steps)
    try:
        for step, (smooth_loss, state, first) in enumerate(updates, start=1):
            if step == 1 or step % args.sample_every == 0 or step == args.steps:
                written = [id_to_char[i] for i in sample(params, first, state, 200, cell=cell, rng=rng)]
                print(f"step {step}, smooth loss {smooth_loss:.2f}\n{''.join(written)}\n", flush=True)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
