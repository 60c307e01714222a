"""The corpus: a text file of any length, read in pieces, and the vocabulary, ids and split that are made of it.

Knows nothing about networks.
"""

import codecs
import hashlib
import io
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np

from charloom.adapters.files import artifacts
from charloom.adapters.files.formats import named_in_errors, open_regular, read_checksums, replacing
from charloom.core.common.errors import DataError, StateError
from charloom.core.common.records import Summary
from charloom.core.common.types import Ids
from charloom.core.text.vocabulary import Vocabulary, code_points

_PIECE = 1 << 22  # characters, or bytes, read at once
_IN_MEMORY = 1 << 26  # bytes; the copy of a larger text is in the folder for temporary files
_LAST_CODE_POINT = 0x10FFFF
_SURROGATE = re.compile("[\ud800-\udfff]")
_ENCODING_ADVICE = "set data.encoding to the text's own"


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus; the validation text is what follows the training text.

    `checksums` has the sha256 of the files that the vocabulary and the ids were read from.
    """

    vocabulary: Vocabulary
    train_ids: Ids
    validation_ids: Ids
    summary: Summary
    checksums: dict[str, str]


def prepare(path: Path, out: Path, *, encoding: str, newline: str, validation_fraction: float) -> Summary:
    r"""Write the vocabulary, the ids and the summary of the text at `path` into the stage's folder `out`.

    `newline` is "universal" (\r\n and \r become \n) or "keep". The last `validation_fraction` (0 to 1) of the
    characters, rounded to a whole number, is the validation text. The file is read once: its hash, its vocabulary and
    its ids are those of one text, whatever replaces it meanwhile. Memory does not grow with it. Returns the summary.
    Raises DataError for a text that cannot be trained on.
    """
    with _copy(path) as (text, sha256):
        vocabulary, characters = _survey(path, _pieces(path, text, encoding, newline))
        validation_characters = round(characters * validation_fraction)
        if validation_characters == characters:
            raise DataError(
                f"data.validation_fraction={validation_fraction} leaves none of the {characters} characters for "
                "training; lower it"
            )
        with replacing(artifacts.IDS.path(out)) as ids:
            header = {"descr": vocabulary.dtype.str, "fortran_order": False, "shape": (characters,)}
            np.lib.format.write_array_header_1_0(ids, header)
            for piece in _pieces(path, text, encoding, newline):
                ids.write(vocabulary.encode(piece).tobytes())
    summary = Summary(
        path=path.as_posix(),
        encoding=encoding,
        newline=newline,
        sha256=sha256,
        characters=characters,
        vocabulary_size=len(vocabulary),
        train_characters=characters - validation_characters,
        validation_characters=validation_characters,
    )
    artifacts.VOCABULARY.write(out, list(vocabulary.characters))
    artifacts.SUMMARY.write(out, summary)
    return summary


def _survey(path: Path, pieces: Iterator[str]) -> tuple[Vocabulary, int]:
    """The vocabulary of a text and its number of characters. Raises DataError where there is nothing to learn."""
    seen = np.zeros(_LAST_CODE_POINT + 1, bool)
    characters = 0
    for piece in pieces:
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
    return vocabulary, characters


def load(inp: Path) -> Corpus:
    """The corpus that the prepare stage wrote to the results folder `inp`, its ids as memory maps.

    Raises DataError where a file is missing or damaged, or the files do not belong together.
    """
    folder = inp / artifacts.IDS.stage
    checksums = _checksums(folder)
    try:
        characters, summary = artifacts.VOCABULARY.read(inp), artifacts.SUMMARY.read(inp)
        ids = artifacts.IDS.read(inp, below=summary.vocabulary_size)
    except StateError as error:
        raise DataError(str(error)) from None
    if _checksums(folder) != checksums:
        raise DataError(f"the prepare stage replaced the files in {folder} while they were read; run this stage again")
    if problem := _disagreement(characters, ids, summary):
        raise DataError(f"the files in {folder} disagree: {problem}; run the prepare stage again")
    cut = summary.train_characters
    return Corpus(Vocabulary("".join(characters)), ids[:cut], ids[cut:], summary, checksums)


def encoded_with(vocabulary: Vocabulary, text: Corpus) -> Corpus:
    """The corpus with the ids of another vocabulary, which may have more characters.

    Where they differ, the ids are copied into memory, one to four bytes for each character. Raises DataError with a
    list of the characters of the corpus that the vocabulary lacks.
    """
    if vocabulary == text.vocabulary:
        return text
    try:
        table = vocabulary.encode(text.vocabulary.characters)  # the new id of each old one
    except DataError as error:
        raise DataError(f"the corpus has {error}; give one without them, or train a new model") from None
    return replace(
        text, vocabulary=vocabulary, train_ids=table[text.train_ids], validation_ids=table[text.validation_ids]
    )


def _checksums(folder: Path) -> dict[str, str]:
    """The sha256 of the files of vocabulary and ids; empty where the reading of these will say what is wrong."""
    try:
        checksums = read_checksums(folder)
    except (FileNotFoundError, ValueError):
        return {}
    names = {artifact.path(folder).name for artifact in (artifacts.VOCABULARY, artifacts.IDS)}
    return {name: sha256 for name, sha256 in checksums.items() if name in names}


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
    return None


def read_text(path: Path, *, encoding: str, newline: str = "universal", key: str = "data.path") -> str:
    """The whole text at `path`, without a byte-order mark; errors name `key` as the key that gave the path.

    Raises DataError where there is no text in this encoding.
    """
    with _copy(path, key) as (text, _):
        return "".join(_pieces(path, text, encoding, newline))


@contextmanager
def _copy(path: Path, key: str = "data.path") -> Iterator[tuple[IO[bytes], str]]:
    """A copy of the file's bytes that nothing else can change, and their sha256."""
    try:
        file = open_regular(path)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; set {key} to a text file") from None
    except PermissionError:
        raise DataError(f"{path} may not be read; change its permissions or set {key} to another file") from None
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({error.strerror}); set {key} to a text file") from None
    except ValueError as error:
        raise DataError(f"{path} cannot be read: {error}; set {key} to a text file") from None
    sha256 = hashlib.sha256()
    with file, tempfile.SpooledTemporaryFile(_IN_MEMORY) as copy:
        for piece in iter(partial(_read_piece, path, file), b""):
            sha256.update(piece)
            with named_in_errors(Path(tempfile.gettempdir())):
                copy.write(piece)
        yield copy, sha256.hexdigest()


def _read_piece(path: Path, file: IO[bytes]) -> bytes:
    with named_in_errors(path):
        return file.read(_PIECE)


def _pieces(path: Path, file: IO[bytes], encoding: str, newline: str) -> Iterator[str]:
    """The text that the file's bytes are, in pieces of some megabytes; errors name the `path` that they come from."""
    file.seek(0)
    _refuse_other_encodings(path, file.read(4096), encoding)
    file.seek(0)
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=newline == "universal")
    mark = "\ufeff"
    try:
        for content in chain(iter(partial(file.read, _PIECE), b""), [b""]):
            if piece := decoder.decode(content, final=not content):
                if _SURROGATE.search(piece):
                    raise DataError(f"{path} has half of a surrogate pair, which is no character; {_ENCODING_ADVICE}")
                yield piece.removeprefix(mark)
                mark = ""
    except UnicodeError as error:
        problem = str(error)  # such as UTF-16 without its byte-order mark
        if isinstance(error, UnicodeDecodeError):
            byte, at = error.object[error.start], file.tell() - len(error.object) + error.start
            problem = f"byte 0x{byte:02x} at offset {at} ({error.reason})"
        raise DataError(f"{path} is not {encoding}: {problem}; {_ENCODING_ADVICE}") from None


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
