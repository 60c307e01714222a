"""The corpus: a text file read in pieces, its vocabulary, its ids on disk and the split for training and validation.

Memory stays that of a piece, however long the file. Knows nothing about networks.
"""

import codecs
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from charloom.adapters.files import artifacts
from charloom.adapters.files.formats import replacing
from charloom.core.common.errors import DataError, StateError
from charloom.core.common.records import Summary
from charloom.core.common.types import Ids
from charloom.core.text.vocabulary import Vocabulary, code_points_of

_PIECE = 1 << 22  # bytes read at once
_LAST_CODE_POINT = 0x10FFFF


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus: training text first, validation text last, cut once."""

    vocabulary: Vocabulary
    train_ids: Ids
    validation_ids: Ids
    summary: Summary


def prepare(path: Path, folder: Path, *, encoding: str, newline: str, validation_fraction: float) -> Summary:
    r"""Read the text at `path` twice, once for its vocabulary and once for its ids, and write both into `folder`.

    `newline` is "universal" (\r\n and \r become \n) or "keep". The last `validation_fraction` of the characters,
    rounded to a whole one, is the validation text. Raises DataError for a text that cannot be trained on.
    """
    seen = np.zeros(_LAST_CODE_POINT + 1, bool)
    characters = 0
    sha256 = hashlib.sha256()
    for piece in _pieces(path, encoding, newline, sha256):
        seen[code_points_of(piece)] = True
        characters += len(piece)
    vocabulary = Vocabulary("".join(map(chr, np.flatnonzero(seen))))
    if characters == 0:
        raise DataError(f"{path} is empty; give a text, a hundred thousand characters or more")
    if characters == 1:
        raise DataError(f"{path} has one character; to learn what follows what takes at least two")
    if len(vocabulary) == 1:
        raise DataError(
            f"{path} has a single distinct character, {vocabulary.characters!r}, {characters} times; nothing to learn"
        )

    validation_characters = round(characters * validation_fraction)
    if validation_characters == characters:
        raise DataError(
            f"data.validation_fraction={validation_fraction} leaves none of the {characters} characters for training; "
            "lower it"
        )
    summary = Summary(
        path=path.as_posix(),
        encoding=encoding,
        newline=newline,
        sha256=sha256.hexdigest(),
        characters=characters,
        vocabulary_size=len(vocabulary),
        train_characters=characters - validation_characters,
        validation_characters=validation_characters,
    )
    folder.mkdir(parents=True, exist_ok=True)
    _write_ids(artifacts.IDS.path(folder), vocabulary, characters, _pieces(path, encoding, newline))
    artifacts.VOCABULARY.write(folder, list(vocabulary.characters))
    artifacts.SUMMARY.write(folder, summary)
    return summary


def load(folder: Path) -> Corpus:
    """The corpus that `prepare` left in `folder`, its ids as a memory map. Raises DataError where it is not whole."""
    inp = folder.parent
    try:
        characters, summary = artifacts.VOCABULARY.read(inp), artifacts.SUMMARY.read(inp)
        ids = np.load(artifacts.IDS.path(folder), mmap_mode="r", allow_pickle=False)
    except StateError as error:
        raise DataError(str(error)) from None
    except FileNotFoundError as error:
        raise DataError(f"{error.filename} is missing; run the prepare stage first") from None
    except (ValueError, TypeError) as error:
        raise DataError(f"{folder} does not hold a prepared corpus ({error}); run the prepare stage again") from None
    if len(ids) != summary.characters or len(characters) != summary.vocabulary_size:
        raise DataError(
            f"{folder} has {len(ids)} ids and {len(characters)} characters where its summary says {summary.characters} "
            f"and {summary.vocabulary_size}; run the prepare stage again"
        )
    cut = summary.train_characters
    return Corpus(Vocabulary("".join(characters)), ids[:cut], ids[cut:], summary)


def read_text(path: Path, *, encoding: str, newline: str = "universal", key: str = "data.path") -> str:
    """The whole text at `path`, which `key` named, without a byte-order mark. Raises DataError."""
    return "".join(_pieces(path, encoding, newline, key=key))


def _write_ids(path: Path, vocabulary: Vocabulary, characters: int, pieces: Iterator[str]) -> None:
    with replacing(path) as file:
        header = {
            "descr": np.lib.format.dtype_to_descr(vocabulary.dtype),
            "fortran_order": False,
            "shape": (characters,),
        }
        np.lib.format.write_array_header_1_0(file, header)
        for piece in pieces:
            file.write(vocabulary.encode(piece).tobytes())


def _pieces(
    path: Path, encoding: str, newline: str, sha256: "hashlib._Hash | None" = None, key: str = "data.path"
) -> Iterator[str]:
    """The text in pieces of some megabytes; `sha256`, where given, is fed the file's bytes."""
    decoder = codecs.getincrementaldecoder(encoding)()
    newlines = io.IncrementalNewlineDecoder(None, translate=newline == "universal")
    consumed = 0
    try:
        with path.open("rb") as file:
            while True:
                data = file.read(_PIECE)
                if consumed == 0:
                    _refuse_other_encodings(path, data, encoding)
                if sha256 is not None:
                    sha256.update(data)
                pending = len(decoder.getstate()[0])
                try:
                    text = newlines.decode(decoder.decode(data, final=not data), final=not data)
                except UnicodeDecodeError as error:
                    at = consumed - pending + error.start
                    raise DataError(
                        f"{path} is not {encoding}: byte 0x{error.object[error.start]:02x} at offset {at} "
                        f"({error.reason}); set data.encoding to the text's own"
                    ) from None
                except UnicodeError as error:  # UTF-16 without its byte-order mark
                    raise DataError(f"{path} is not {encoding}: {error}; set data.encoding to the text's own") from None
                yield text.removeprefix("\ufeff") if consumed == 0 else text
                consumed += len(data)
                if not data:
                    return
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; set {key} to a text file") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a directory; set {key} to a text file in it") from None
    except PermissionError:
        raise DataError(f"{path} may not be read; change its permissions or set {key} to another file") from None


def _refuse_other_encodings(path: Path, head: bytes, encoding: str) -> None:
    """Name UTF-16 and UTF-32, which read as UTF-8 are an error far from its cause, or a text full of zeros."""
    if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig", "ascii", "iso8859-1", "cp1252"):
        return
    head = head[:4096]
    found = None
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        found = "utf-32"
    elif head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        found = "utf-16"
    elif head[1::2].count(0) > len(head) // 4:
        found = "utf-16-le"
    elif head[::2].count(0) > len(head) // 4:
        found = "utf-16-be"
    if found:
        raise DataError(f"{path} looks like {found.upper()}, not {encoding}; set data.encoding={found}")
