"""The explorer's page as bytes: explorer.html with its style, its scripts and the network in their places.

Knows nothing about files of results. The page's policy names its own scripts by their sha256, so that nothing else on
it can run and nothing is loaded.
"""

import base64
import hashlib
import json
import re
from importlib.resources import files
from typing import Any

import numpy as np

from charloom.core.common.types import Array
from charloom.core.network import Model

_REFERENCE = re.compile(r'<link rel="stylesheet" href="([\w.]+)">|<script src="([\w.]+)"></script>')
_DATA = '<script type="application/json" id="data">{}</script>'
# What could end a script or order the text around it: as escapes of JSON, it stands for itself all the same.
_ESCAPED = {ord("<"): "\\u003c"} | {
    code: f"\\u{code:04x}"
    for code in (*range(0x7F, 0xA0), 0x061C, *range(0x200B, 0x2010), *range(0x2028, 0x2070), 0xFEFF)
}


def page(*, model: Model, corpus: str, excerpt: str) -> bytes:
    """The page, as UTF-8.

    Arguments:
        model: the trained network and its vocabulary.
        corpus: the name of the text that it was trained on.
        excerpt: the text that the page starts with.
    """
    network = model.network
    return _assemble(
        {
            "corpus": corpus,
            "cell": network.cell,
            "hidden_size": network.hidden_size,
            "layers": network.layers,
            "vocabulary": model.vocabulary.characters,
            "excerpt": excerpt,
            "shapes": {name: array.shape for name, array in network.parameters.items()},
            "dtype": "float32",
            "parameters": _base64([*network.parameters.values()], "<f4"),
        }
    )


def _base64(arrays: list[Array], dtype: str) -> str:
    """The arrays, row by row and one after the other, as numbers of this type."""
    content = b"".join(np.ascontiguousarray(array, dtype).tobytes() for array in arrays)
    return base64.b64encode(content).decode("ascii")


def _assemble(data: dict[str, Any]) -> bytes:
    """explorer.html with the data, and with the files that it refers to instead of the references."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}

    def inlined(reference: re.Match[str]) -> str:
        tag, name = ("style", reference[1]) if reference[1] else ("script", reference[2])
        content = "\n" + _read(name)
        sha256 = hashlib.sha256(content.encode()).digest()
        hashes[tag].append(f"'sha256-{base64.b64encode(sha256).decode('ascii')}'")
        return f"<{tag}>{content}</{tag}>"

    html = _REFERENCE.sub(inlined, _read("explorer.html"))
    sources = "; ".join(f"{tag}-src {' '.join(found)}" for tag, found in hashes.items())
    policy = f"default-src 'none'; base-uri 'none'; form-action 'none'; {sources}"
    meta = '<meta charset="utf-8">'
    html = html.replace(meta, f'{meta}\n<meta http-equiv="Content-Security-Policy" content="{policy}">', 1)
    encoded = json.dumps(data, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPED)
    return html.replace(_DATA, _DATA.replace("{}", encoded), 1).encode()


def _read(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
