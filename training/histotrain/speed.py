"""How fast a training goes."""

from __future__ import annotations

import time


class Speed:
    """Patches per second, smoothed; time outside of steps can be left out."""

    def __init__(self, items: int) -> None:
        self._items = items
        self._last = time.perf_counter()
        self._seconds: float | None = None

    def tick(self) -> float:
        """Take notice of a step; returns patches per second."""
        now = time.perf_counter()
        seconds, self._last = max(now - self._last, 1e-6), now
        self._seconds = seconds if self._seconds is None else 0.9 * self._seconds + 0.1 * seconds
        return self._items / self._seconds

    def skip(self) -> None:
        """Leave out the time since the last step."""
        self._last = time.perf_counter()
