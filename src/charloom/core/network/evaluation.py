"""Evaluation: how well a network predicts a text, as a whole and where.

A text is read by two protocols. **Carried**: once from its start to its end, the state carried all the way, as in
training. **Windows**: cut into windows that do not overlap, each read from a zero state; the mean is over all
characters that are predicted, so that the last, shorter window weighs by its characters.

The second is that of nanoGPT, whose context ends at 256 characters. nanoGPT itself estimates it: the mean of 200
batches of 64 windows that begin at random places of the text (`estimate_loss` in its train.py, block_size = 256).
Reading all windows once has the same expectation but for the windows' borders, and no chance in it.

Knows nothing about files.
"""

import math
from collections.abc import Iterator

import numpy as np

from charloom.core.common.errors import DataError, StateError
from charloom.core.common.records import Evaluation, GroupLoss, Score
from charloom.core.common.types import Array, Ids
from charloom.core.network.network import Network
from charloom.core.text import KINDS, Vocabulary, kind

_PIECE = 256  # time steps read at once; the loss does not depend on it
_STREAMS = 16  # windows read side by side; more are hardly faster, and take more memory
_COSTLIEST = 20  # characters that are listed


def evaluation_memory(network: Network) -> int:
    """The bytes that an evaluation takes, beside the text, computed before they are allocated."""
    return Network.memory(_PIECE, _STREAMS + 1, **network.sizes)


def evaluate(network: Network, ids: Ids) -> float:
    """The mean loss of a text in nats per character, read once with carried state from a zero state.

    The first character is read and not predicted. Changes neither the network's parameters nor any training's state.
    Raises DataError for a text `ids` (n,) of fewer than two characters.

    >>> round(evaluate(Network(vocabulary_size=3, hidden_size=2, dtype=np.float64), np.array([0, 1, 2])), 3)  # ln 3
    1.099
    """
    _require_two(ids)
    total = 0.0
    for _, losses in _read(network, ids[None]):
        total += float(losses.sum())
    return total / (len(ids) - 1)


def evaluate_text(network: Network, vocabulary: Vocabulary, ids: Ids, *, window: int, skipped: int = 0) -> Evaluation:
    """How well the network predicts a text, by both protocols, and what costs most.

    Kinds and characters are those of the text with carried state, positions those in the windows. Memory does not grow
    with the text.

    Arguments:
        network: what predicts.
        vocabulary: the characters that the ids stand for.
        ids: the text, (n,), n >= 2; may be a memory map.
        window: characters that a window of the second protocol predicts, >= 1.
        skipped: how many unknown characters the ids lack, for the record.

    Raises DataError for a text of fewer than two characters, and StateError where the loss is not finite.
    """
    _require_two(ids)
    K = len(vocabulary)
    total, count, cost = 0.0, np.zeros(K, np.int64), np.zeros(K)  # by character
    for targets, losses in _read(network, ids[None]):
        total += float(losses.sum())  # in this order, to the last bit the validation loss of `evaluate`
        count += np.bincount(targets.reshape(-1), minlength=K)
        cost += np.bincount(targets.reshape(-1), losses.reshape(-1), minlength=K)
    by_position = _by_position(network, ids, window)
    kinds = np.array([KINDS.index(kind(character)) for character in vocabulary.characters])
    costliest = np.argsort(-cost, kind="stable")[:_COSTLIEST]
    return Evaluation(
        characters=len(ids) - 1,
        skipped=skipped,
        window=window,
        carried=_score(total / (len(ids) - 1)),
        windows=_score(sum(group.nats_per_char * group.characters for group in by_position) / (len(ids) - 1)),
        by_position=by_position,
        by_kind=[
            group
            for number, name in enumerate(KINDS)
            if (group := _group(name, count[kinds == number], cost[kinds == number], total)).characters
        ],
        costliest=[_group(vocabulary.characters[k], count[k], cost[k], total) for k in costliest.tolist() if count[k]],
    )


def _read(network: Network, streams: Ids) -> Iterator[tuple[Ids, Array]]:
    """Read B streams (B, n) from a zero state, T time steps at a time: the targets and their losses, (T, B) each."""
    state, characters = network.zero_state(len(streams)), streams.T
    for start in range(0, len(characters) - 1, _PIECE):
        piece = characters[start : start + _PIECE + 1]
        inputs, targets = piece[:-1], piece[1:]
        _, state = network.forward(inputs, targets, state)
        yield targets, network.window(inputs.shape).losses.reshape(inputs.shape)


def _windows(ids: Ids, window: int) -> Iterator[Ids]:
    """The windows of a text, some (B, window + 1) at a time, the last and shorter one alone.

    They share their borders: each begins with the character that the one before predicts last.
    """
    whole = (len(ids) - 1) // window
    if whole:
        windows = np.lib.stride_tricks.sliding_window_view(ids, window + 1)[::window]
        yield from (windows[start : start + _STREAMS] for start in range(0, whole, _STREAMS))
    if (len(ids) - 1) % window:
        yield ids[None, whole * window :]


def _by_position(network: Network, ids: Ids, window: int) -> list[GroupLoss]:
    """The losses at positions 1, 2, 3–4, 5–8, … of the windows."""
    last = 2 ** np.arange((window - 1).bit_length() + 1)  # position of each group
    count, cost = np.zeros(len(last), np.int64), np.zeros(len(last))
    for windows in _windows(ids, window):
        position = 1
        for _, losses in _read(network, windows):
            T, B = losses.shape
            groups = np.searchsorted(last, np.arange(position, position + T))
            count += B * np.bincount(groups, minlength=len(last))
            cost += np.bincount(groups, losses.sum(axis=1), minlength=len(last))
            position += T
    first, last = np.append(1, last[:-1] + 1), np.minimum(last, window)
    names = [f"{i}" if i == j else f"{i}–{j}" for i, j in zip(first.tolist(), last.tolist(), strict=True)]
    total = float(cost.sum())
    return [
        _group(name, n, nats, total) for name, n, nats in zip(names, count[:, None], cost[:, None], strict=True) if n
    ]


def _group(name: str, count: Array, cost: Array, total: float) -> GroupLoss:
    characters, nats = int(count.sum()), float(cost.sum())
    mean = nats / characters if characters else 0.0
    return GroupLoss(name=name, characters=characters, nats_per_char=mean, share=nats / total if total else 0.0)


def _score(nats_per_char: float) -> Score:
    """The same loss in three units. Raises StateError where one is not finite."""
    if not nats_per_char < math.log(np.finfo(np.float64).max):
        raise StateError(f"the loss must be finite, and e to it too, got {nats_per_char} nats per character")
    return Score.of(nats_per_char)


def _require_two(ids: Ids) -> None:
    if len(ids) < 2:
        raise DataError(f"a text to evaluate must have two characters or more, got {len(ids)}")
