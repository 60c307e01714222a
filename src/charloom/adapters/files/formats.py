"""The formats of the stages' files, checked when they are read and replaced whole when they are written.

Knows nothing about what the files hold.
"""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any, Generic, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from charloom.core.common.errors import StateError
from charloom.core.common.types import Ids

T = TypeVar("T")


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to that takes the place of `path` once the block has ended without an error.

    It is written beside `path`, flushed to disk and moved: whenever the process is killed, `path` holds the old content
    or the new, whole.
    """
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

    def _parsed(self, inp: Path, parse: Callable[[Path], T]) -> T:
        """What `parse` makes of the file. Raises StateError where it is missing or `parse` rejects its content."""
        path = inp / self.name
        try:
            return parse(path)
        except FileNotFoundError:
            advice = f"run the {self.stage} stage first, or name its folder with inp="
            raise StateError(f"{path} is missing; {advice}") from None
        except ValidationError as error:
            first = error.errors()[0]
            problem = ": ".join([*map(str, first["loc"]), first["msg"]])
        except (ValueError, csv.Error) as error:
            problem = str(error)
        raise StateError(f"{path} is damaged ({' '.join(problem.split())}); run the {self.stage} stage again")


@dataclass(frozen=True)
class Text(Artifact):
    """A text in UTF-8 whose line breaks are kept."""

    def read(self, inp: Path) -> str:
        """The text. Raises StateError where it is missing or not UTF-8."""
        return self._parsed(inp, lambda path: path.read_bytes().decode())


@dataclass(frozen=True)
class IdsFile(Artifact):
    """The ids of a text as a .npy file, one unsigned integer for each character."""

    def read(self, inp: Path) -> Ids:
        """The ids as a memory map, shape (characters,). Raises StateError where they are missing or something else."""
        return self._parsed(inp, _read_ids)


def _read_ids(path: Path) -> Ids:
    try:
        ids = np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # on a damaged header NumPy raises almost anything
        raise ValueError(error) from None
    if ids.ndim != 1 or ids.dtype.kind != "u":
        raise ValueError(f"ids must be unsigned integers in one dimension, got {ids.dtype} of shape {ids.shape}")
    return ids


@dataclass(frozen=True)
class Typed(Artifact, Generic[T]):
    """A file of values of one type."""

    type: type[T]

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        return TypeAdapter(self.type)


@dataclass(frozen=True)
class Json(Typed[T]):
    """One value as JSON."""

    def read(self, inp: Path) -> T:
        """The value. Raises StateError where the file is missing or holds something else."""
        return self._parsed(inp, lambda path: self._adapter.validate_json(path.read_bytes(), strict=True))

    def write(self, out: Path, value: T) -> None:
        """Replace the value."""
        plain = self._adapter.dump_python(value)
        self.write_bytes(out, (to_json(plain, indent=2 if isinstance(plain, dict) else None) + "\n").encode())


@dataclass(frozen=True)
class JsonLines(Typed[T]):
    """One value as JSON on each line."""

    def read(self, inp: Path) -> list[T]:
        """The values. Raises StateError where the file is missing or a line holds something else."""
        return self._parsed(inp, lambda path: [self._adapter.validate_json(line, strict=True) for line in _lines(path)])

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

    def _rows(self, path: Path) -> list[T]:
        table = csv.reader([line.decode() for line in _lines(path)], strict=True)
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


def _lines(path: Path) -> list[bytes]:
    """The lines of a file, of which the last, too, must end in a line feed."""
    *lines, rest = path.read_bytes().split(b"\n")
    if rest:
        raise ValueError("it ends in the middle of a line")
    return lines
