"""How a running job hears from whoever started it.

A job function is a generator of events; what goes the other way (stop, and "show me this place") comes through a
channel, which the function asks between steps. Asking costs nothing: on a cluster the answers are fetched in the
background.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from napari_histoanno.jobs.events import PreviewRequest


class Channel(Protocol):
    """What a job function may ask between steps."""

    def cancelled(self) -> bool:
        """Whether the job should stop now, keeping what it has."""

    def preview_request(self) -> PreviewRequest | None:
        """The place that is looked at now, or None; only the newest request counts."""


class LocalChannel:
    """Channel of a job that runs in the caller's own process."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._request: PreviewRequest | None = None

    def cancel(self) -> None:
        """Ask the job to stop at its next step."""
        self._cancelled.set()

    def request_preview(self, request: PreviewRequest | None) -> None:
        """Replace the place to predict; None stops previewing."""
        self._request = request

    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def preview_request(self) -> PreviewRequest | None:
        return self._request
