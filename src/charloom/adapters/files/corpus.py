"""The corpus: a text file of any length, read in pieces, and the vocabulary, ids and split that are made of it.

Knows nothing about networks.
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
from charloom.core.text.vocabulary import Vocabulary, code_points

_PIECE = 1 << 22  # characters read at once
_LAST_CODE_POINT = 0x10FFFF


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus; the validation text is what follows the training text."""

    vocabulary: Vocabulary
    train_ids: Ids
    validation_ids: Ids
    summary: Summary


def prepare(path: Path, out: Path, *, encoding: str, newline: str, validation_fraction: float) -> Summary:
    r"""Write the vocabulary, the ids and the summary of the text at `path` into the stage's folder `out`.

    `newline` is "universal" (\r\n and \r become \n) or "keep". The last `validation_fraction` (0 to 1) of the
    characters, rounded to a whole number, is the validation text. The file is read three times, for its vocabulary, its
    hash and its ids, so that memory does not grow with it. Returns the summary. Raises DataError for a text that cannot
    be trained on.
    """
    seen = np.zeros(_LAST_CODE_POINT + 1, bool)
    characters = 0
    for piece in _pieces(path, encoding, newline):
        seen[code_points(piece)] = True
        characters += len(piece)
    vocabulary = Vocabulary("".join(map(chr, np.flatnonzero(seen))))
    if characters == 0:
        raise DataError(f"{path} is empty; give a text, a hundred thousand characters or more")
    if characters == 1:
        raise DataError(f"{path} has one character; give a text of at least two")
    if len(vocabulary) == 1:
        only = vocabulary.characters
        raise DataError(f"{path} has a single distinct character, {only!r}, {characters} times; nothing to learn")

    validation_characters = round(characters * validation_fraction)
    if validation_characters == characters:
        raise DataError(
            f"data.validation_fraction={validation_fraction} leaves none of the {characters} characters for training; "
            "lower it"
        )
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256")
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
    with replacing(artifacts.IDS.path(out)) as ids:
        header = {"descr": vocabulary.dtype.str, "fortran_order": False, "shape": (characters,)}
        np.lib.format.write_array_header_1_0(ids, header)
        for piece in _pieces(path, encoding, newline):
            ids.write(vocabulary.encode(piece).tobytes())
    artifacts.VOCABULARY.write(out, list(vocabulary.characters))
    artifacts.SUMMARY.write(out, summary)
    return summary


def load(inp: Path) -> Corpus:
    """The corpus that the prepare stage wrote to the results folder `inp`, its ids as memory maps.

    Raises DataError where a file is missing or damaged, or the files do not belong together.
    """
    try:
        characters, ids = artifacts.VOCABULARY.read(inp), artifacts.IDS.read(inp)
        summary = artifacts.SUMMARY.read(inp)
    except StateError as error:
        raise DataError(str(error)) from None
    if problem := _disagreement(characters, ids, summary):
        raise DataError(f"the files in {inp / artifacts.IDS.stage} disagree: {problem}; run the prepare stage again")
    cut = summary.train_characters
    return Corpus(Vocabulary("".join(characters)), ids[:cut], ids[cut:], summary)


def _disagreement(characters: list[str], ids: Ids, summary: Summary) -> str | None:
    if characters != sorted(set("".join(characters))):
        return "the vocabulary must be a sorted list of distinct characters"
    if len(characters) != summary.vocabulary_size:
        return f"the vocabulary has {len(characters)} characters, its summary says {summary.vocabulary_size}"
    if len(ids) != summary.characters:
        return f"there are {len(ids)} ids, the summary says {summary.characters} characters"
    if not 0 < summary.train_characters == summary.characters - summary.validation_characters <= summary.characters:
        return (
            f"{summary.train_characters} training and {summary.validation_characters} validation characters are not "
            f"the whole text of {summary.characters}"
        )
    if ids.max() >= len(characters):
        return f"an id must be below the vocabulary's {len(characters)} characters, got {ids.max()}"
    return None


def read_text(path: Path, *, encoding: str, newline: str = "universal", key: str = "data.path") -> str:
    """The whole text at `path`, without a byte-order mark; errors name `key` as the key that gave the path.

    Raises DataError where there is no text in this encoding.
    """
    return "".join(_pieces(path, encoding, newline, key=key))


def _pieces(path: Path, encoding: str, newline: str, key: str = "data.path") -> Iterator[str]:
    """The text in pieces of some megabytes."""
    try:
        with path.open("rb") as file:
            _refuse_other_encodings(path, file.peek(4096)[:4096], encoding)
            text = io.TextIOWrapper(file, encoding, newline=None if newline == "universal" else "")
            try:
                yield text.read(_PIECE).removeprefix("\ufeff")
                while piece := text.read(_PIECE):
                    yield piece
            except UnicodeError as error:
                problem = str(error)  # such as UTF-16 without its byte-order mark
                if isinstance(error, UnicodeDecodeError):
                    byte, at = error.object[error.start], file.tell() - len(error.object) + error.start
                    problem = f"byte 0x{byte:02x} at offset {at} ({error.reason})"
                raise DataError(f"{path} is not {encoding}: {problem}; set data.encoding to the text's own") from None
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; set {key} to a text file") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a directory; set {key} to a text file in it") from None
    except PermissionError:
        raise DataError(f"{path} may not be read; change its permissions or set {key} to another file") from None


def _refuse_other_encodings(path: Path, head: bytes, encoding: str) -> None:
    """Raise DataError for UTF-16 and UTF-32, which, read as UTF-8, give a misleading error or a text full of zeros."""
    if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig", "ascii", "iso8859-1", "cp1252"):
        return
    signs = {
        "utf-32": head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)),
        "utf-16": head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)),
        "utf-16-le": head[1::2].count(0) > len(head) // 4,
        "utf-16-be": head[::2].count(0) > len(head) // 4,
    }
    if found := next((name for name, is_there in signs.items() if is_there), None):
        raise DataError(f"{path} looks like {found.upper()}, not {encoding}; set data.encoding={found}")
