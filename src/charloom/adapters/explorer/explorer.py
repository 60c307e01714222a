"""The explorer's page as bytes: explorer.html with its style, its scripts and its data in their places.

Knows nothing about files of results. The page's policy names its own scripts by their sha256, so that nothing else on
it runs, and nothing is loaded.
"""

import base64
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from charloom.adapters.pages import policy_source
from charloom.core.common.types import Array
from charloom.core.network import Model
from charloom.core.network.units import Unit, Units

# Bytes in the page. With the default model it has 2.2 MB; 12 MB is what mail and phones take.
_NETWORK = {"float32": 3_000_000, "float16": 4_000_000}  # the most in each type: 560,000 and 1.5 million weights
LONGEST_TRAINING_TEXT = 1_300_000
_ALL = 12_000_000
_DTYPES = {"float32": "<f4", "float16": "<f2"}  # as they are decoded by data.js
_REFERENCE = re.compile(r'<link rel="stylesheet" href="([\w.]+)">|<script src="([\w.]+)"></script>')
_DATA = '<script type="application/json" id="data">{}</script>'
# What could end a script, or change the order of the text around it, is an escape of JSON.
_ORDERS = (*range(0x7F, 0xA0), 0x061C, *range(0x200B, 0x2010), *range(0x2028, 0x2070), 0xFEFF)
_ESCAPED = {ord("<"): "\\u003c"} | {code: f"\\u{code:04x}" for code in _ORDERS}


@dataclass(frozen=True)
class Page:
    """The page in UTF-8, and in sentences what was left out of it for its size; the page says so too."""

    content: bytes
    notes: list[str]


def page(
    *,
    model: Model,
    step: int,
    corpus: str,
    excerpt: str,
    training_text: str | None,
    order: int,
    ngram_losses: Sequence[float],
    units: Units,
    snapshots: Mapping[int, Mapping[str, Array]],
) -> Page:
    """The page of a trained network.

    Arguments:
        model: the network and its vocabulary.
        step: the training step that it is from.
        corpus: the name of the text that it was trained on.
        excerpt: the text that the page starts with.
        training_text: what the n-gram model counts; None where it is longer than the page may be.
        order: the n of the n-gram model.
        ngram_losses: the losses of the excerpt by the n-gram model in nats, from the second character on.
        units: what the network's units follow.
        snapshots: by training step, the parameters that the network had, with the names of its own.
    """
    network, fit = model.network, _Fit()
    parameters, dtype = fit.network([*network.parameters.values()])
    facts = (
        f"A character-level recurrent network ({network.cell}), {network.layers} "
        f"{'layer' if network.layers == 1 else 'layers'} of {network.hidden_size:,} hidden units, a vocabulary of "
        f"{network.vocabulary_size} characters, after {step:,} updates. Everything is computed here, in your browser, "
        "with the weights that this page holds; nothing is sent anywhere."
    )
    if not parameters:
        return Page(_left_out(corpus, fit.notes), fit.notes)
    training = fit.training_text(training_text)
    at_steps = {at: [values[name] for name in network.parameters] for at, values in snapshots.items()}
    chosen, snapshot_dtype = fit.snapshots(at_steps)
    data = {
        "corpus": corpus,
        "facts": facts,
        "notes": fit.notes,
        "cell": network.cell,
        "hidden_size": network.hidden_size,
        "layers": network.layers,
        "vocabulary": model.vocabulary.characters,
        "excerpt": excerpt,
        "order": order,
        "ngram_losses": [round(float(loss), 6) for loss in ngram_losses],
        "units": _plain_units(units),
        "step": step,
        "shapes": {name: array.shape for name, array in network.parameters.items()},
        "dtype": dtype,
        "parameters": parameters,
        "snapshot_dtype": snapshot_dtype,
        "snapshots": [{"step": at, "parameters": text} for at, text in chosen.items()],
        "training_text": training,
    }
    return Page(_filled("explorer.html", json.dumps(data, ensure_ascii=False, separators=(",", ":"))), fit.notes)


class _Fit:
    """What fits into the page, in which type; `notes` say what does not."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._left = _ALL

    def network(self, arrays: list[Array]) -> tuple[str, str]:
        """The parameters in base64, and their type; no text where even float16 is too large."""
        size = sum(array.size for array in arrays)
        for dtype, most in _NETWORK.items():
            if _base64_size(size, dtype) <= most:
                if dtype == "float16":
                    rounded = f"The network’s {size:,} weights are rounded to float16"
                    self.notes.append(f"{rounded}, so its figures are rounded too.")
                return self._take(_base64(arrays, dtype)), dtype
        smallest, most = _base64_size(size, "float16"), _NETWORK["float16"]
        takes = f"its {size:,} weights take {smallest:,} bytes"
        self.notes.append(f"The network is left out: {takes}, and this page holds at most {most:,}.")
        return "", ""

    def training_text(self, text: str | None) -> str | None:
        """The training text, or None where it is too large."""
        if text is None or len(text.encode()) > LONGEST_TRAINING_TEXT:
            limit = f"this page holds at most {LONGEST_TRAINING_TEXT:,} bytes of it"
            self.notes.append(f"The training text is left out: {limit}.")
            return None
        return self._take(text)

    def snapshots(self, parameters: dict[int, list[Array]]) -> tuple[dict[int, str], str]:
        """As many snapshots as fit, in base64 by their steps, and their type."""
        size = sum(array.size for arrays in parameters.values() for array in arrays)
        for dtype in _DTYPES:
            if _base64_size(size, dtype) <= self._left:
                return {step: _base64(arrays, dtype) for step, arrays in parameters.items()}, dtype
        each = _base64_size(size, "float16") // len(parameters)
        kept = sorted(parameters)[:: -(-len(parameters) // max(1, self._left // each))] if each <= self._left else []
        self.notes.append(f"Of the training’s {len(parameters)} snapshots, {len(kept)} are here, rounded to float16.")
        return {step: _base64(parameters[step], "float16") for step in kept}, "float16"

    def _take(self, text: str) -> str:
        self._left -= len(text.encode())
        return text


def _base64_size(size: int, dtype: str) -> int:
    return size * np.dtype(dtype).itemsize * 4 // 3


def _base64(arrays: Iterable[Array], dtype: str) -> str:
    """The arrays, row by row and one after the other, as little-endian numbers of this type."""
    content = b"".join(np.ascontiguousarray(array, _DTYPES[dtype]).tobytes() for array in arrays)
    return base64.b64encode(content).decode("ascii")


def _plain_units(units: Units) -> dict[str, Any]:
    """The units as lists of numbers and names; the features by their places."""
    features = [unit.feature for unit in units.by_feature]

    def plain(unit: Unit) -> list[Any]:
        figures = [round(unit.chosen_by, 4), round(unit.correlation, 4)]
        return [unit.layer, unit.vector, unit.unit, features.index(unit.feature), *figures]

    return {
        "features": features,
        "ranked": [plain(unit) for unit in units.ranked],
        "by_feature": [plain(unit) for unit in units.by_feature],
        "by_chance": round(units.by_chance, 4),
        "characters": units.characters,
    }


def _left_out(corpus: str, notes: list[str]) -> bytes:
    """A page that says why there is no network on it."""
    said = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return _filled("left_out.html", "{}").replace(b"<!-- notes -->", f"<h1>{html.escape(corpus)}</h1>{said}".encode())


def _filled(name: str, data: str) -> bytes:
    """A page with these data, and with the files that it refers to instead of the references."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}

    def inlined(reference: re.Match[str]) -> str:
        tag, file = ("style", reference[1]) if reference[1] else ("script", reference[2])
        content = "\n" + _read(file)
        hashes[tag].append(policy_source(content))
        return f"<{tag}>{content}</{tag}>"

    page = _REFERENCE.sub(inlined, _read(name))
    sources = "; ".join(f"{tag}-src {' '.join(found)}" for tag, found in hashes.items() if found)
    policy = f"default-src 'none'; base-uri 'none'; form-action 'none'; {sources}"
    meta = '<meta charset="utf-8">'
    page = page.replace(meta, f'{meta}\n<meta http-equiv="Content-Security-Policy" content="{policy}">', 1)
    return page.replace(_DATA, _DATA.replace("{}", data.translate(_ESCAPED)), 1).encode()


def _read(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
