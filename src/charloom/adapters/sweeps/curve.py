"""The validation curve of a job, running or ended, from its journal: of what is on disk, whoever wrote it."""

import json
from collections.abc import Iterator
from pathlib import Path

_JOURNAL = Path("tracking/journal.jsonl")


class ValidationCurve:
    """The validation losses of the job in a folder, read as they come."""

    def __init__(self, folder: Path) -> None:
        self._path, self._offset = folder / _JOURNAL, 0

    def new_points(self) -> Iterator[tuple[int, float]]:
        """The steps that were validated since the last call, each with the loss in nats per character."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            lines = file.read().splitlines(keepends=True)
        for line in lines:
            if not line.endswith(b"\n"):  # still under way
                return
            self._offset += len(line)
            event = json.loads(line)
            if event["event"] == "row" and event["validation_nats_per_char"] is not None:
                yield event["step"], event["validation_nats_per_char"]
