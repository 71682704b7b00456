"""The events of a training on disk, beside its model: its curves survive the window, the worker and the project."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from histotrain.events import Event, Progressed, Status, reduce

if TYPE_CHECKING:
    from io import TextIOWrapper
    from types import TracebackType

RUN_LOG = "events.jsonl"
_SECONDS_BETWEEN_LOSSES = 0.5


class RunLog:
    """Appends events to a file, one JSON object a line; losses at most twice a second.

    Parameters
    ----------
    folder : Path
        Of the model.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: TextIOWrapper | None = None
        self._last = -1.0

    def __enter__(self) -> RunLog:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = (self._folder / RUN_LOG).open("a", encoding="utf-8", buffering=1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, event: Event) -> None:
        """Append an event."""
        if isinstance(event, Progressed) and event.step != event.total_steps:
            now = time.monotonic()
            if now - self._last < _SECONDS_BETWEEN_LOSSES:
                return
            self._last = now
        if self._file is not None:
            self._file.write(json.dumps(event.to_dict()) + "\n")


def read_status(folder: Path) -> Status:
    """Status of a training as its events on disk tell it; the initial one if there are none.

    A last line that a dying process left unfinished is passed over.
    """
    status = Status()
    try:
        lines = (Path(folder) / RUN_LOG).read_text(encoding="utf-8").splitlines()
    except OSError:
        return status
    for line in lines:
        with suppress(ValueError):
            status = reduce(status, Event.from_dict(json.loads(line)))
    return status
