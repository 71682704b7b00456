"""The boundary around a job function: thins its chatter and turns whatever breaks into an event."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from histotrain.events import Finished, Progressed
from napari_histoanno.jobs.errors import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from histotrain.events import Event

_log = logging.getLogger(__name__)

_SECONDS_BETWEEN_PROGRESS = 0.05


def guarded(start: Callable[[], Iterator[Event]]) -> Iterator[Event]:
    """Events of a job, thinned to what a person can see, and always ending in one :class:`Finished`.

    A job is a boundary: whatever breaks inside it becomes an event with the reason; for a fault of the program the
    traceback goes to the log.
    """
    last_progress = -1.0
    try:
        for event in start():
            if isinstance(event, Progressed) and event.step != event.total_steps:
                now = time.monotonic()
                if now - last_progress < _SECONDS_BETWEEN_PROGRESS:
                    continue
                last_progress = now
            yield event
            if isinstance(event, Finished):
                return
    except REFUSALS as error:
        _log.info("the job was refused", exc_info=True)
        yield Finished("failed", step=0, best_step=0, message=str(error))
        return
    except Exception as error:  # noqa: BLE001 - see the docstring
        _log.exception("the job failed")
        yield Finished("failed", step=0, best_step=0, message=str(error) or type(error).__name__)
        return
    yield Finished("completed", step=0, best_step=0)
