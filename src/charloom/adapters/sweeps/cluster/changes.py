"""Files that are copied elsewhere while a process writes them: what is new since the last look, piece by piece.

Knows nothing about Ray.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

_GROWING = {"job.log", "journal.jsonl", "history.jsonl"}  # files to which lines are added; others are replaced
_END = 200  # bytes, in which the lines of a journal have their times
_MOST_BYTES = 1 << 25  # of a look


@dataclass(frozen=True)
class Piece:
    """A part of the file at `path`, which comes after the parts before it or, where it is `first`, begins the file.

    No data: the file is gone. With the `last` one, the file is as it was when it was looked at.
    """

    path: str
    data: bytes | None
    first: bool = False
    last: bool = False


@dataclass
class _Sent:
    version: tuple[int, ...]  # of a file that does not grow
    size: int = 0  # in bytes
    end: bytes = b""  # its last bytes, by which a file that grows is known again
    all: bool = False


class Outbox:
    """What is new in a folder."""

    def __init__(self, folder: Path, find: Callable[[Path], Iterable[Path]], *, appended: Iterable[str] = ()) -> None:
        """Look at the files that `find` finds in the folder; those of the names in `appended` are never begun anew."""
        self._folder, self._find, self._appended = folder, find, set(appended)
        self._sent: dict[Path, _Sent] = {}

    def skip(self) -> None:
        """Take all that is there as known."""
        while self.look():
            pass

    def look(self) -> list[Piece]:
        """What is new, 32 MB at most; nothing where all was sent.

        Files that grow are read last and stand first: history reaches as far as the checkpoints that count its rows.
        """
        pieces, room = list[Piece](), _MOST_BYTES
        found = sorted(set(self._find(self._folder)), key=lambda path: (path.name in _GROWING, path))
        for path in found:
            if room <= 0 and path.name not in _GROWING:
                continue
            with suppress(FileNotFoundError):  # it was removed meanwhile
                if piece := self._read(path, room):
                    pieces.append(piece)
                    room -= len(piece.data or b"")
        for path in set(self._sent) - set(found):
            del self._sent[path]
            pieces.append(Piece(self._name(path), None))
        return sorted(pieces, key=lambda piece: PurePosixPath(piece.path).name not in _GROWING)

    def _read(self, path: Path, room: int) -> Piece | None:
        grows = path.name in _GROWING
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            version = () if grows else (status.st_ino, status.st_mtime_ns, status.st_size)
            sent = self._sent.get(path)
            if sent is None or sent.version != version or not _goes_on(file, sent):
                sent = self._sent[path] = _Sent(version)
            if sent.all and sent.size == status.st_size:
                return None
            file.seek(sent.size)
            data = file.read(max(room, 1 << 16))
        first = sent.size == 0 and path.name not in self._appended
        sent.size += len(data)
        sent.end = (sent.end + data)[-_END:]
        sent.all = sent.size >= status.st_size
        return Piece(self._name(path), data, first=first, last=sent.all)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()


def _goes_on(file: BinaryIO, sent: _Sent) -> bool:
    """Whether a file still has what was sent of it last, where that was."""
    file.seek(sent.size - len(sent.end))
    return file.read(len(sent.end)) == sent.end


class Inbox:
    """The folder that what is new goes to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, pieces: Iterable[Piece]) -> None:
        """Write the pieces. A file that does not grow appears once it is whole."""
        for piece in pieces:
            path = self._folder / piece.path
            if ".." in PurePosixPath(piece.path).parts or PurePosixPath(piece.path).is_absolute():
                raise ValueError(f"a file must be within its folder, got {piece.path}")
            if piece.data is None:
                path.unlink(missing_ok=True)
                with suppress(OSError):  # it is not empty
                    path.parent.rmdir()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            written = path if path.name in _GROWING else path.with_name(f"{path.name}.tmp")
            with written.open("wb" if piece.first else "ab") as file:
                file.write(piece.data)
            if piece.last and written != path:
                os.replace(written, path)


def files_in(folder: Path, *, without: Iterable[str] = ()) -> list[Path]:
    """All files in a folder, through links to folders too; names in `without`, locks and temporary files left out."""
    kept = {"job.json", *without}
    walked: Any = os.walk(folder, followlinks=True)
    found = (Path(place) / name for place, _, names in walked for name in names if name not in kept)
    return [path for path in found if path.suffix not in (".lock", ".tmp") and path.is_file()]
