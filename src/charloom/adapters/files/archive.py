"""Arrays and JSON values in one file that is whole or refused: an uncompressed .npz with a sha256 inside.

Knows nothing about what the arrays mean.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from charloom.adapters.files.formats import replacing, to_json
from charloom.core.common.errors import StateError
from charloom.core.common.types import Array

FORMAT = 1


def save(path: Path, kind: str, arrays: Mapping[str, Array], values: Mapping[str, Any]) -> None:
    """Replace the file at `path`, once the new one is safe on disk, with arrays and JSON values.

    `kind`, such as "model", says what the file is, and `load` refuses another. The same content gives the same bytes.
    """
    metadata = {"format": FORMAT, "kind": kind, "sha256": _digest(arrays, values), "values": dict(values)}
    text = np.frombuffer(to_json(metadata).encode(), np.uint8)
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in {"metadata": text, **arrays}.items():
            member = io.BytesIO()  # whole before it is written, unlike np.savez: the bytes are those of every Python
            np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())


def load(path: Path, kind: str) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and values that `save` wrote to `path`.

    Raises StateError for anything but an undamaged file of this kind and format.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > path.stat().st_size:  # nothing is compressed; a forged directory can promise any size
                raise ValueError(f"it promises {size} bytes of arrays in a file of {path.stat().st_size}")
        with np.load(path, allow_pickle=False) as file:
            members = {name: file[name] for name in file.files}
        metadata = json.loads(members.pop("metadata").tobytes())
        found, version, values = (metadata[key] for key in ("kind", "format", "values"))
        whole = _digest(members, values) == metadata["sha256"]
    except FileNotFoundError:
        raise StateError(f"there is no file {path}; run the train stage first") from None
    except IsADirectoryError:
        raise StateError(f"{path} is a directory, not a {kind} file") from None
    except PermissionError:
        raise
    except Exception as error:  # on damaged bytes the readers of zip and npy raise almost anything
        raise StateError(f"{path} is not a whole {kind} file ({error}); take another copy or train again") from None
    if found != kind:
        raise StateError(f"{path} holds a {found}, not a {kind}")
    if version != FORMAT:
        advice = "use a newer version of charloom"
        raise StateError(f"{path} has format {version}, and this version reads format {FORMAT}; {advice}")
    if not whole:
        raise StateError(f"{path} does not match its own sha256; take another copy or train again")
    return members, values


def _digest(arrays: Mapping[str, Array], values: Mapping[str, Any]) -> str:
    sha256 = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        sha256.update(f"{name} {array.dtype.str} {array.shape}".encode())
        sha256.update(array.tobytes())
    return sha256.hexdigest()
