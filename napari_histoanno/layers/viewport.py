"""What part of the slide is on screen, said when it has come to rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal
from superqt.utils import qdebounced

if TYPE_CHECKING:
    from napari_histoanno.annotation.geometry import Bounds

REST_MS = 150


class Viewport:
    """Watches a viewer's camera and canvas.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose view.
    mpp : float
        Micrometres per level-0 pixel: world coordinates are level-0 ones times this.

    Attributes
    ----------
    changed : Signal(tuple, float)
        (x0, y0, x1, y1) on screen in level-0 pixels, and screen pixels per level-0 pixel. Emitted once the view
        has rested for ``REST_MS``.
    """

    changed = Signal(tuple, float)

    def __init__(self, viewer: Any, mpp: float) -> None:
        self._viewer, self._mpp = viewer, mpp
        self._later = qdebounced(self._tell, timeout=REST_MS)
        self._sources = (
            viewer.scene.camera.events.zoom,
            viewer.scene.camera.events.center,
            viewer.canvas.events.size,
        )
        for source in self._sources:
            source.connect(self._on_move)

    def _on_move(self, event: object = None) -> None:
        self._later()

    def _tell(self) -> None:
        self.changed.emit(self.bounds, self.zoom)

    @property
    def zoom(self) -> float:
        """Screen pixels per level-0 pixel."""
        return float(self._viewer.scene.camera.zoom) * self._mpp

    @property
    def bounds(self) -> Bounds:
        """(x0, y0, x1, y1) on screen, level-0 pixels; may reach beyond the slide."""
        height, width = self._viewer.canvas.size
        y, x = (value / self._mpp for value in self._viewer.scene.camera.center[-2:])
        half_width, half_height = width / self.zoom / 2, height / self.zoom / 2
        return (x - half_width, y - half_height, x + half_width, y + half_height)

    def fly_to(self, bounds: Bounds, *, margin: float = 0.1) -> None:
        """Centre a level-0 box and zoom so that it fills the view but for a margin (a fraction of its size)."""
        x0, y0, x1, y1 = bounds
        height, width = self._viewer.canvas.size
        spread = 1 + 2 * margin
        zoom = min(width / max((x1 - x0) * spread, 1e-9), height / max((y1 - y0) * spread, 1e-9))
        camera = self._viewer.scene.camera
        camera.center = (0.0, (y0 + y1) / 2 * self._mpp, (x0 + x1) / 2 * self._mpp)
        camera.zoom = zoom / self._mpp

    def close(self) -> None:
        """Stop watching."""
        for source in self._sources:
            source.disconnect(self._on_move)
        self._later.cancel()
