"""Writing text: one character after the other, each drawn from what the network foretells.

Knows nothing about files. Drawing from softmax(o / τ) is done as argmax(o + τ G), G standard Gumbel noise (Gumbel
1954; Maddison, Tarlow, Minka, A* sampling, 2014): one pass for every temperature, 0 included, and the noise is drawn
in blocks. G is -log E with E standard exponential, which NumPy draws in a third of the time of its own Gumbel noise.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from charloom.core.cells.cell import rows
from charloom.core.common.types import Array
from charloom.core.network.network import Network

_BLOCK = 128  # characters whose noise is drawn at once


def sample(
    network: Network,
    first: Sequence[int] | Array,
    state: Array,
    *,
    rng: np.random.Generator,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Iterator[Array]:
    """Ids without end, (B,) at a time, one for each stream: the network reads the ids `first` (B,) from `state`,
    (layers, states, B, m), and goes on from there. What is yielded is filled again for the next step.

    `temperature` 0 takes the most likely character. `top_k` > 0 draws from the k likeliest characters only; `top_p` < 1
    from the smallest set of likeliest characters whose probability is at least p. Memory is constant.
    """
    B, c, add = len(first), network.parameters["c"], np.add
    reader = network.reader(state)
    next(reader)
    outputs = reader.send
    ids = np.array(first, np.intp)
    chosen = ids.squeeze()  # the same memory; for one stream without an axis, like what the reader gives
    restricted = top_k > 0 or top_p < 1
    noise = np.empty((_BLOCK, B, len(c)))
    noise_and_c = np.empty_like(noise, dtype=network.dtype)
    of_steps = rows(noise_and_c)
    while True:
        np.log(rng.standard_exponential(out=noise), noise)
        add(np.multiply(noise, -temperature, noise), c, noise_and_c)
        for rest in of_steps:
            o = outputs(chosen)  # less c, which is in the rest
            if restricted:
                kept = [likeliest(of_stream, temperature, top_k, top_p) for of_stream in (o + c).reshape(B, -1)]
                o = np.stack(kept).reshape(o.shape) - c
            add(o, rest, rest).argmax(-1, chosen)
            yield ids


def likeliest(o: Array, temperature: float, top_k: int, top_p: float) -> Array:
    """The outputs o (K,), with -inf in place of those that are not among the likeliest; the first always stays.

    >>> likeliest(np.log([0.5, 0.3, 0.2]), 1.0, 2, 1.0).round(2)
    array([-0.69, -1.2 ,  -inf])
    >>> likeliest(np.log([0.5, 0.3, 0.2]), 1.0, 0, 0.5).round(2)
    array([-0.69,  -inf,  -inf])
    """
    order = np.argsort(-o, kind="stable")
    keep = len(o) if top_k == 0 else min(top_k, len(o))
    if top_p < 1 and temperature > 0:
        p = np.exp((o[order].astype(np.float64) - o[order[0]]) / temperature)
        p = p[:keep] / p[:keep].sum()
        keep = 1 + int(np.searchsorted(p.cumsum(), top_p - 1e-12))
    kept = np.full_like(o, -np.inf)
    kept[order[:keep]] = o[order[:keep]]
    return kept


def read(network: Network, ids: Sequence[int] | Array, state: Array) -> Array:
    """The state after reading the ids, in windows, so that memory is constant."""
    inputs = np.asarray(ids)[:, None]
    for start in range(0, len(inputs), _BLOCK):
        _, state = network.logits(inputs[start : start + _BLOCK], state)
    return state
