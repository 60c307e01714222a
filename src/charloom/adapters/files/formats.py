"""The formats of a stage's files: JSON, CSV and JSON lines, checked when they are read, and moved into place whole.

Knows nothing about what the files hold.
"""

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from charloom.core.common.errors import StateError

T = TypeVar("T")


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that becomes `path` when the block has ended well: what stands there is whole, before and after.

    It is written beside `path`, flushed to disk and moved.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name, too, is on disk
        finally:
            os.close(folder)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the file at `path` in one move."""
    with replacing(path) as file:
        file.write(content)


@dataclass(frozen=True)
class Artifact:
    """A file that a stage leaves, by its name below the folder of all results, such as `train/model.npz`."""

    name: str

    @property
    def stage(self) -> str:
        """The stage that writes it."""
        return self.name.partition("/")[0]

    def path(self, out: Path) -> Path:
        """Where the stage that writes to the folder `out` leaves it."""
        return out / self.name.partition("/")[2]

    def read_bytes(self, inp: Path) -> bytes:
        """Its content, below the folder of all results. Raises StateError where it is missing."""
        try:
            return (inp / self.name).read_bytes()
        except FileNotFoundError:
            raise StateError(
                f"{inp / self.name} is missing; run the {self.stage} stage first, or name its folder with inp="
            ) from None

    def write_bytes(self, out: Path, content: bytes) -> None:
        """Replace it in the stage's folder `out`."""
        write_bytes(self.path(out), content)

    def _damaged(self, inp: Path, error: ValueError) -> StateError:
        problem = error.errors()[0] if isinstance(error, ValidationError) else None
        where = "".join(f"{part}: " for part in problem["loc"]) if problem else ""
        found = f"{where}{problem['msg']}" if problem else str(error)
        return StateError(f"{inp / self.name} is damaged ({found}); run the {self.stage} stage again")


@dataclass(frozen=True)
class Text(Artifact):
    """A text in UTF-8, its line breaks as they stand."""

    def read(self, inp: Path) -> str:
        """The text. Raises StateError where it is missing or not UTF-8."""
        try:
            return self.read_bytes(inp).decode()
        except UnicodeDecodeError as error:
            raise self._damaged(inp, error) from None


@dataclass(frozen=True)
class Typed(Artifact, Generic[T]):
    """A file whose content, or each of its rows, is of a type."""

    type: type[T]

    @cached_property
    def _one(self) -> TypeAdapter[T]:
        return TypeAdapter(self.type)


@dataclass(frozen=True)
class Json(Typed[T]):
    """One value as indented JSON."""

    def read(self, inp: Path) -> T:
        """The value. Raises StateError where the file is missing or does not hold one."""
        try:
            return self._one.validate_json(self.read_bytes(inp))
        except ValidationError as error:
            raise self._damaged(inp, error) from None

    def write(self, out: Path, value: T) -> None:
        """Write the value into the stage's folder `out`."""
        plain: Any = asdict(value) if hasattr(value, "__dataclass_fields__") else value  # type: ignore[call-overload]
        indent = 2 if isinstance(plain, dict) else None
        self.write_bytes(out, (json.dumps(plain, indent=indent) + "\n").encode("ascii"))


@dataclass(frozen=True)
class Csv(Typed[T]):
    """Rows of a dataclass, a column for each field; None is an empty cell."""

    def read(self, inp: Path) -> list[T]:
        """The rows. Raises StateError where the file is missing or a row is not of the type."""
        try:
            rows = csv.DictReader(io.StringIO(self.read_bytes(inp).decode("ascii"), newline=""))
            return [self._one.validate_python({key: row[key] or None for key in row}) for row in rows]
        except (ValueError, csv.Error) as error:
            raise self._damaged(inp, ValueError(error) if isinstance(error, csv.Error) else error) from None

    def write(self, out: Path, rows: Sequence[T]) -> None:
        """Write the rows into the stage's folder `out`."""
        text = io.StringIO(newline="")
        names = [field.name for field in fields(self.type)]  # type: ignore[arg-type]
        table = csv.writer(text, lineterminator="\n")
        table.writerow(names)
        table.writerows([getattr(row, name) for name in names] for row in rows)
        self.write_bytes(out, text.getvalue().encode("ascii"))


@dataclass(frozen=True)
class JsonLines(Typed[T]):
    """Values of a dataclass, one a line."""

    def read(self, inp: Path) -> list[T]:
        """The values. Raises StateError where the file is missing or a line is not of the type."""
        try:
            return [self._one.validate_json(line) for line in self.read_bytes(inp).split(b"\n") if line]
        except ValidationError as error:
            raise self._damaged(inp, error) from None

    def write(self, out: Path, values: Sequence[T]) -> None:
        """Write the values into the stage's folder `out`."""
        lines = (json.dumps(asdict(value), ensure_ascii=False) + "\n" for value in values)  # type: ignore[call-overload]
        self.write_bytes(out, "".join(lines).encode())
