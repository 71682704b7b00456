"""The pixel layer: what the mouse paints is what the project holds, to the pixel, at every zoom."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_histoanno.annotation.tools import Tool

if TYPE_CHECKING:
    from napari_histoanno.layers.view import ProjectView

pytestmark = pytest.mark.gui


def stored(view: ProjectView) -> np.ndarray:
    raster = view.labels.raster
    return raster.read(0, 0, raster.shape[0], 0, raster.shape[1])


def within(points: list[tuple[float, float]], radius: float, shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre is at most ``radius`` from the line through points, one pixel at a time."""
    rows, columns = np.indices(shape) + 0.5
    near = np.zeros(shape, bool)
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        dx, dy = x1 - x0, y1 - y0
        t = np.clip(((columns - x0) * dx + (rows - y0) * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
        near |= (columns - x0 - t * dx) ** 2 + (rows - y0 - t * dy) ** 2 <= radius**2
    return near


@pytest.mark.parametrize("zoom", [4.0, 1.0, 0.25])
def test_a_brush_stroke_is_the_exact_capsule(view: ProjectView, session: Any, hand: Any, zoom: float) -> None:
    session.set_tool(Tool.BRUSH)
    session.set_brush_size(int(24 / zoom))
    hand.look(1200, 900, zoom)
    step = 40 / zoom
    went = hand.drag([(1200, 900), (1200 + step, 900), (1200 + step, 900 + step), (1180, 900 + 2 * step)])
    view.flush()
    expected = within(went, session.brush_size / 2, (view.labels.raster.shape[0], view.labels.raster.shape[1]))
    painted = stored(view)
    assert set(np.unique(painted)) == {0, 1}
    # Where a pixel centre lies on the rim itself, rounding decides.
    assert np.count_nonzero((painted > 0) != expected) <= 4
