"""The recurrent network as a textbook has it: column vectors, a loop over time, every equation on a line of its own.

    a_t = W h_{t-1} + U x_t + b        h_t = tanh(a_t)
    o_t = V h_t + c                    p_t = softmax(o_t)
    L   = - sum_t log p_t[y_t]

Parameters are a dictionary of W (m×m), U (m×K), V (K×m), and the columns b (m×1) and c (K×1). This is what charloom is
held against in the tests and in the benchmark; it shares no code with it, and is written to be read, not to be fast.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
Params = dict[str, Array]


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


def loss_and_gradients(
    params: Params, inputs: Sequence[int], targets: Sequence[int], h_prev: Array
) -> tuple[float, Params, Array]:
    """The loss of a window in nats, its gradients, and the hidden state after the window.

    `inputs` and `targets` are T ids each, `h_prev` is the column (m×1) that the window before has left.
    """
    W, U, V, b, c = (params[name] for name in ("W", "U", "V", "b", "c"))
    K, T = len(c), len(inputs)

    # Forward: what each step computes is kept, because the way back needs it.
    x, p = {}, {}
    h = {-1: h_prev}
    loss = 0.0
    for t in range(T):
        x[t] = one_hot(inputs[t], K, W.dtype)
        a = W @ h[t - 1] + U @ x[t] + b
        h[t] = np.tanh(a)
        o = V @ h[t] + c
        p[t] = softmax(o)
        loss -= np.log(p[t][targets[t], 0])

    # Backward: from the last step to the first, adding up what each step contributes.
    dW, dU, dV, db, dc = (np.zeros_like(array) for array in (W, U, V, b, c))
    dh_next = np.zeros_like(h_prev)  # what the steps after this one ask of h_t
    for t in reversed(range(T)):
        do = p[t] - one_hot(targets[t], K, W.dtype)
        dV += do @ h[t].T
        dc += do
        dh = V.T @ do + dh_next
        da = (1 - h[t] ** 2) * dh
        dW += da @ h[t - 1].T
        dU += da @ x[t].T
        db += da
        dh_next = W.T @ da
    return float(loss), {"W": dW, "U": dU, "V": dV, "b": db, "c": dc}, h[T - 1]


def adagrad(
    params: Params,
    grads: Params,
    sums_of_squares: Params,
    *,
    learning_rate: float = 0.1,
    epsilon: float = 2.2e-16,
    clip_value: float = 5.0,
) -> None:
    """One update by AdaGrad, in place: each parameter's step shrinks with the sum of its squared gradients to date."""
    for name in params:
        g = np.clip(grads[name], -clip_value, clip_value)
        sums_of_squares[name] += g**2
        params[name] -= learning_rate * g / np.sqrt(sums_of_squares[name] + epsilon)


def smooth(smooth_loss: float | None, loss: float) -> float:
    """The loss averaged over about a thousand windows; the first window's own to begin with."""
    return loss if smooth_loss is None else 0.999 * smooth_loss + 0.001 * loss


def sample(params: Params, first: int, h: Array, length: int, *, rng: np.random.Generator) -> list[int]:
    """The ids of `length` characters, each drawn from the probabilities after the one before; `first` is read first."""
    W, U, V, b, c = (params[name] for name in ("W", "U", "V", "b", "c"))
    K = len(c)
    x = one_hot(first, K, W.dtype)
    ids = []
    for _ in range(length):
        h = np.tanh(W @ h + U @ x + b)
        p = softmax(V @ h + c)
        i = int(rng.choice(K, p=p.ravel()))
        x = one_hot(i, K, W.dtype)
        ids.append(i)
    return ids
