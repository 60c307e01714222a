"""What single units of a network follow: their correlation with features of the text that the network reads.

Among a thousand units one correlates with anything, by chance. So each unit's feature is chosen on the first half of
the text, and its correlation given on the second half; and the largest correlation with features that are shifted
against the text says how large one has to be to mean anything.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from charloom.core.common.types import Array, IntArray, Vector
from charloom.core.network.network import Network

_SHIFTS = 19  # a correlation above all of these is one in twenty by chance


@dataclass(frozen=True)
class Unit:
    """A unit of a layer, and the feature that it follows most closely.

    `vector` names what it is an entry of: h, the state c of an LSTM, or a gate, as in the cell's equations.
    `chosen_by` is the correlation on the text that the feature was chosen on, `correlation` that on another text.
    """

    layer: int
    vector: str
    unit: int
    feature: str
    chosen_by: float
    correlation: float


@dataclass(frozen=True)
class Units:
    """The units and the features that belong together, as far as so many `characters` show.

    `ranked` has all units with the feature of each, the closest first; `by_feature` all features with the unit of
    each. `by_chance` is the largest absolute correlation of any unit with any feature where the features are shifted in
    time by 1/20, 2/20, … of the text that they are chosen on: below it, a correlation says little.
    """

    ranked: list[Unit]
    by_feature: list[Unit]
    by_chance: float
    characters: int


def vectors(network: Network, ids: IntArray) -> dict[tuple[int, str], Array]:
    """The states and gates of each layer while the network reads `ids` (T,), by layer and name, (T, m) each."""
    network.logits(ids[:, None], network.zero_state(1))
    cells = network.window((len(ids), 1)).cells
    return {(layer, name): found[:, 0] for layer, cell in enumerate(cells) for name, found in cell.vectors().items()}


def compare(network: Network, ids: IntArray, features: Mapping[str, Vector]) -> Units:
    """Compare all units with all features of the text `ids` (T,), an array (T,) for each.

    A unit or a feature that does not change in one half of the text is left out.
    """
    half = len(ids) // 2
    if not half:
        return Units([], [], 0.0, len(ids))
    found = vectors(network, ids)
    names = [(layer, name, unit) for (layer, name), values in found.items() for unit in range(values.shape[1])]
    values = np.concatenate([*found.values()], axis=1).astype(np.float64)  # (T, N)
    table = np.stack([*features.values()], axis=1) if features else np.zeros((len(ids), 0))  # (T, F)
    halves = [
        (_standardized(values[part]), _standardized(table[part])) for part in (slice(half), slice(half, 2 * half))
    ]
    usable = np.logical_and.reduce([features.any(axis=0) for _, features in halves])
    if not usable.any():
        return Units([], [], 0.0, len(ids))
    first, second = (values.T @ features[:, usable] for values, features in halves)  # (N, F): the correlations
    columns = [name for name, use in zip(features, usable, strict=True) if use]

    def unit(n: int, f: int) -> Unit:
        return Unit(*names[n], columns[f], chosen_by=float(first[n, f]), correlation=float(second[n, f]))

    strength = np.abs(first)
    ranked = [
        unit(n, strength[n].argmax()) for n in np.argsort(-strength.max(axis=1), kind="stable") if strength[n].any()
    ]
    by_feature = [unit(strength[:, f].argmax(), f) for f in np.argsort(-strength.max(axis=0), kind="stable")]
    values, table = halves[0]
    by_chance = max(float(np.abs(values.T @ np.roll(table, shift, axis=0)).max()) for shift in _shifts(half))
    return Units(ranked, by_feature, by_chance, len(ids))


def _shifts(size: int) -> Iterator[int]:
    return (size * part // (_SHIFTS + 1) for part in range(1, _SHIFTS + 1))


def _standardized(values: Array) -> Array:
    """The columns with mean 0 and length 1, so that a product of two is their correlation; constant ones are 0."""
    centred = values - values.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    standardized: Array = np.divide(
        centred, length, out=np.zeros_like(centred), where=length > 1e-9 * len(values) ** 0.5
    )
    return standardized
