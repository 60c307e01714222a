"""The formats of the stages' files, checked when they are read and replaced whole when they are written.

Beside the files of a stage stands SHA256SUMS, which has the sha256 of each: what differs from it is not read. Knows
nothing about what the files hold.
"""

import csv
import hashlib
import io
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from io import BufferedReader
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any, Generic, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from charloom.core.common.errors import StateError
from charloom.core.common.types import Ids

T = TypeVar("T")

CHECKSUMS = "SHA256SUMS"  # as `sha256sum -c` reads it
_CHECKSUM = re.compile(r"([0-9a-f]{64})  ([^/\\\x00-\x1f]+)")
_PIECE = 1 << 22  # ids read at once
_KINDS = {stat.S_IFDIR: "directory", stat.S_IFIFO: "FIFO", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to that takes the place of `path` once the block has ended without an error.

    It is written beside `path`, flushed to disk and moved: whenever the process is killed, `path` holds the old content
    or the new, whole.
    """
    with named_in_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".tmp", delete=False) as file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.chmod(file.name, 0o644)
                os.replace(file.name, path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
        if os.name == "posix":
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the new name, too, is on disk
            finally:
                os.close(folder)


@contextmanager
def named_in_errors(path: Path) -> Iterator[None]:
    """Name the file in the errors of the block that name none, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def open_regular(path: Path) -> BufferedReader:
    """Open a file to read it, and never wait for a FIFO or a device.

    Raises OSError as `open` does, and ValueError for what is no regular file.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise ValueError(f"it must be a regular file, got a {_KINDS.get(stat.S_IFMT(mode), 'socket')}")
    return path.open("rb")


def write_checksums(folder: Path, names: Iterable[str]) -> None:
    """Write SHA256SUMS, with the sha256 of each of these files in the folder."""
    lines = [f"{hash_file(folder / name)}  {name}\n" for name in sorted(names)]
    with replacing(folder / CHECKSUMS) as file:
        file.writelines(line.encode() for line in lines)


def read_checksums(folder: Path) -> dict[str, str]:
    """The sha256 of each file that SHA256SUMS in the folder names.

    Raises FileNotFoundError where there is none, and ValueError where it is damaged.
    """
    with open_regular(folder / CHECKSUMS) as file:
        found = [_CHECKSUM.fullmatch(line.decode()) for line in _lines(file.read())]
    checksums = {match[2]: match[1] for match in found if match}
    if len(checksums) < len(found):
        raise ValueError(f"{CHECKSUMS} must have a sha256, two spaces and another file on each line")
    return checksums


def hash_file(path: Path) -> str:
    """The sha256 of a file. Raises what `open_regular` raises."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_json(value: Any, **options: Any) -> str:
    """The plain `value` as JSON of the standard, with the `options` of `json.dumps`.

    Raises StateError for an infinity or a NaN, which JSON does not have.
    """
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError as error:
        raise StateError(f"all numbers in a JSON file must be finite ({error})") from None


@dataclass(frozen=True)
class Artifact:
    """A file that a stage writes, named by its path in the results folder, such as `train/model.npz`.

    Reading takes the results folder, which holds the folders of all stages; writing takes the stage's own folder.
    """

    name: str

    @property
    def stage(self) -> str:
        """The stage that writes it."""
        return self.name.partition("/")[0]

    def path(self, out: Path) -> Path:
        """Its path in the stage's own folder `out`."""
        return out / self.name.partition("/")[2]

    def write_bytes(self, out: Path, content: bytes) -> None:
        """Replace its content."""
        with replacing(self.path(out)) as file:
            file.write(content)

    def _parsed(self, inp: Path, parse: Callable[[bytes], T]) -> T:
        """What `parse` makes of the content. Raises StateError where it is missing, damaged or not what is parsed."""

        def parse_verified(file: IO[bytes], expected: str) -> T:
            content = file.read()
            _verify(hashlib.sha256(content), expected)
            return parse(content)

        return self._used(inp, parse_verified)

    def _used(self, inp: Path, use: Callable[[IO[bytes], str], T]) -> T:
        """What `use` makes of the open file, and of the sha256 that it must have."""
        path = inp / self.name
        try:
            with open_regular(path) as file:
                return use(file, self._expected_sha256(path))
        except FileNotFoundError:
            advice = f"run the {self.stage} stage first, or name its folder with inp="
            raise StateError(f"{path} is missing; {advice}") from None
        except (ValueError, csv.Error) as error:
            raise StateError(f"{path} is damaged ({first_problem(error)}); run the {self.stage} stage again") from None

    def _expected_sha256(self, path: Path) -> str:
        try:
            return read_checksums(path.parent)[path.name]
        except FileNotFoundError:
            raise ValueError(f"there is no {CHECKSUMS} beside it") from None
        except KeyError:
            raise ValueError(f"{CHECKSUMS} does not name it") from None


def first_problem(error: Exception) -> str:
    """What an error says, as one line; the first of several problems that pydantic found."""
    text = str(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        text = ": ".join([*map(str, first["loc"]), first["msg"]])
    return " ".join(text.split())


def _verify(found: "hashlib._Hash", expected: str) -> None:
    if found.hexdigest() != expected:
        raise ValueError(f"its sha256 must be the one in {CHECKSUMS}, got {found.hexdigest()[:16]}…")


@dataclass(frozen=True)
class Text(Artifact):
    """A text in UTF-8 whose line breaks are kept."""

    def read(self, inp: Path) -> str:
        """The text. Raises StateError where it is missing or not UTF-8."""
        return self._parsed(inp, bytes.decode)


@dataclass(frozen=True)
class IdsFile(Artifact):
    """The ids of a text as a .npy file, one unsigned integer for each character."""

    def read(self, inp: Path, *, below: int) -> Ids:
        """The ids as a memory map, shape (characters,), read once to verify them.

        Raises StateError where they are missing, damaged or something else, or where one is not below `below`.
        """
        return self._used(inp, lambda file, expected: _map_ids(file, expected, below))


def _map_ids(file: IO[bytes], expected: str, below: int) -> Ids:
    try:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        if len(shape) != 1 or dtype.kind != "u":
            raise ValueError(f"ids must be unsigned integers in one dimension, got {dtype} of shape {shape}")
        start = file.tell()
        file.seek(0)
        sha256 = hashlib.sha256(file.read(start))
        ids = np.memmap(file, dtype, "r", start, shape)
    except OSError:
        raise
    except Exception as error:  # on a damaged header NumPy raises almost anything
        raise ValueError(error) from None
    highest = 0
    for begin in range(0, len(ids), _PIECE):
        piece = ids[begin : begin + _PIECE]
        sha256.update(piece.data)
        highest = max(highest, int(piece.max()))
    _verify(sha256, expected)
    if highest >= below:
        raise ValueError(f"an id must be below the vocabulary's {below} characters, got {highest}")
    return ids


@dataclass(frozen=True)
class Typed(Artifact, Generic[T]):
    """A file of values of one type."""

    type: type[T]

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        return TypeAdapter(self.type)

    def from_plain(self, value: Any) -> T:
        """The value of this type that `dataclasses.asdict` made plain, or JSON."""
        return self._adapter.validate_python(value)


@dataclass(frozen=True)
class Json(Typed[T]):
    """One value as JSON."""

    def read(self, inp: Path) -> T:
        """The value. Raises StateError where the file is missing or holds something else."""
        return self._parsed(inp, lambda content: self._adapter.validate_json(content, strict=True))

    def write(self, out: Path, value: T) -> None:
        """Replace the value."""
        plain = self._adapter.dump_python(value)
        self.write_bytes(out, (to_json(plain, indent=2 if isinstance(plain, dict) else None) + "\n").encode())


@dataclass(frozen=True)
class JsonLines(Typed[T]):
    """One value as JSON on each line."""

    def read(self, inp: Path) -> list[T]:
        """The values. Raises StateError where the file is missing or a line holds something else."""
        return self._parsed(
            inp, lambda content: [self._adapter.validate_json(line, strict=True) for line in _lines(content)]
        )

    def write(self, out: Path, values: Iterable[T]) -> None:
        """Replace the values."""
        lines = (to_json(self._adapter.dump_python(value), ensure_ascii=False) + "\n" for value in values)
        self.write_bytes(out, "".join(lines).encode())


@dataclass(frozen=True)
class Csv(Typed[T]):
    """Rows of a dataclass with a column for each of its fields; an empty cell is None."""

    def read(self, inp: Path) -> list[T]:
        """The rows. Raises StateError where the file is missing or a row is something else."""
        return self._parsed(inp, self._rows)

    def write(self, out: Path, rows: Iterable[T]) -> None:
        """Replace the rows."""
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, self._names, lineterminator="\n")
        table.writeheader()
        table.writerows(map(vars, rows))
        self.write_bytes(out, text.getvalue().encode())

    def _rows(self, content: bytes) -> list[T]:
        table = csv.reader([line.decode() for line in _lines(content)], strict=True)
        names = next(table, [])
        if names != self._names:
            raise ValueError(f"its columns must be {', '.join(self._names)}, got {', '.join(names) or 'none'}")
        rows = []
        for cells in table:
            if len(cells) != len(names):
                raise ValueError(f"line {table.line_num} must have {len(names)} cells, got {len(cells)}")
            rows.append({name: cell or None for name, cell in zip(names, cells, strict=True)})
        return [self._adapter.validate_python(row) for row in rows]

    @cached_property
    def _names(self) -> list[str]:
        return [field.name for field in fields(self.type)]  # type: ignore[arg-type]


def _lines(content: bytes) -> list[bytes]:
    """The lines of a file, of which the last, too, must end in a line feed."""
    *lines, rest = content.split(b"\n")
    if rest:
        raise ValueError("it ends in the middle of a line")
    return lines
