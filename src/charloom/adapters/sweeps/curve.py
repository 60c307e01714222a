"""The validation curve of a job, running or ended, from its journal: of what is on disk, whoever wrote it."""

from collections.abc import Iterator
from pathlib import Path

from charloom.adapters.tracking.journal import FOLDER, read


class ValidationCurve:
    """The validation losses of the job in a folder, read as they come."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._offset = folder / FOLDER, 0

    def new_points(self) -> Iterator[tuple[int, float]]:
        """The steps that were validated since the last call, each with the loss in nats per character."""
        for event, offset in read(self._folder, self._offset):
            self._offset = offset
            if event["event"] == "row" and event["validation_nats_per_char"] is not None:
                yield event["step"], event["validation_nats_per_char"]
