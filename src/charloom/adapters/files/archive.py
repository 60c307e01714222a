"""Arrays and JSON values in one file that is whole or refused: an uncompressed .npz with a sha256 inside.

Knows nothing about what the arrays mean.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from charloom.adapters.files.formats import first_problem, open_regular, replacing, to_json
from charloom.core.common.errors import StateError
from charloom.core.common.types import Array

# Of each kind of file; a number grows when older versions cannot read it.
FORMATS = {"model": 1, "checkpoint": 1, "snapshot": 1, "snapshots": 1}


def save(path: Path, kind: str, arrays: Mapping[str, Array], values: Mapping[str, Any]) -> None:
    """Replace the file at `path`, once the new one is safe on disk, with arrays and JSON values.

    `kind`, a key of FORMATS, says what the file is, and `load` refuses another. The same content gives the same bytes.
    """
    metadata = {"format": FORMATS[kind], "kind": kind, "sha256": _digest(arrays, values), "values": dict(values)}
    text = np.frombuffer(to_json(metadata).encode(), np.uint8)
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in {"metadata": text, **arrays}.items():
            member = io.BytesIO()  # whole before it is written, unlike np.savez: the bytes are those of every Python
            np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())


def load(path: Path, kind: str) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and values that `save` wrote to `path`.

    Memory is bounded by the size of the file, whatever it promises. Raises StateError for anything but an undamaged
    file of this kind and format.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            size, promised = (
                os.fstat(file.fileno()).st_size,
                sum(max(m.file_size, m.compress_size) for m in archive.infolist()),
            )
            if promised > size:  # nothing is compressed; a forged directory can promise any size
                raise ValueError(f"it promises {promised} bytes of arrays in a file of {size}")
            metadata = json.loads(_read_member(archive, "metadata.npy").tobytes())
            found, version = str(metadata["kind"]), int(metadata["format"])
            readable = (found, version) == (kind, FORMATS[kind])
            if readable:
                names = [name for name in archive.namelist() if name != "metadata.npy"]
                arrays = {name.removesuffix(".npy"): _read_member(archive, name) for name in names}
                whole = _digest(arrays, values := metadata["values"]) == metadata["sha256"]
    except FileNotFoundError:
        raise StateError(f"there is no file {path}; run the train stage first") from None
    except PermissionError:
        raise
    except Exception as error:  # on damaged bytes the readers of zip and npy raise almost anything
        advice = "take another copy or train again"
        raise StateError(f"{path} is not a whole {kind} file ({first_problem(error)}); {advice}") from None
    if found != kind:
        raise StateError(f"{path} holds a {' '.join(found.split())}, not a {kind}")
    if not readable:
        advice = "upgrade charloom" if version > FORMATS[kind] else "train again"
        raise StateError(f"{path} has format {version}, and this version reads format {FORMATS[kind]}; {advice}")
    if not whole:
        raise StateError(f"{path} does not match its own sha256; take another copy or train again")
    return arrays, values


def _read_member(archive: zipfile.ZipFile, name: str) -> Array:
    """An array of the archive. Unlike NumPy's own reader, it allocates nothing for what a header promises."""
    content = io.BytesIO(archive.read(name))
    np.lib.format.read_magic(content)
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(content)
    array = np.frombuffer(content.getvalue(), dtype, offset=content.tell())
    return array.reshape(shape, order="F" if fortran_order else "C")


def _digest(arrays: Mapping[str, Array], values: Mapping[str, Any]) -> str:
    sha256 = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        sha256.update(f"{name} {array.dtype.str} {array.shape}".encode())
        sha256.update(array.tobytes())
    return sha256.hexdigest()
