"""The slide is where the coordinates say: every screen pixel shows the slide pixel that lies under it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.gui.layers.conftest import MPP, checkerboard

if TYPE_CHECKING:
    from napari_histoanno.layers.view import ProjectView

pytestmark = pytest.mark.gui


def test_screen_pixels_are_slide_pixels(view: ProjectView, hand: Any) -> None:
    image = checkerboard()
    # Far from the origin, at the odd end of the slide, where a wrong level factor would show most.
    for zoom, step in ((4.0, 1), (1.0, 1), (0.5, 2), (0.25, 4)):
        hand.look(2800.6, 1900.6, zoom)
        shot = view.viewer.screenshot(canvas_only=True, flash=False)[..., :3]
        x0, y0, _, _ = view.viewport.bounds
        columns = np.floor(x0 + (np.arange(shot.shape[1]) + 0.5) / zoom).astype(int)
        rows = np.floor(y0 + (np.arange(shot.shape[0]) + 0.5) / zoom).astype(int)
        # The corner with the scale bar, and what lies beyond the slide, are left out.
        shown_rows = np.flatnonzero((rows >= 0) & (rows < image.shape[0] // 8 * 8) & (np.arange(len(rows)) < 400))
        shown_columns = np.flatnonzero((columns >= 0) & (columns < image.shape[1] // 8 * 8))
        expected = image[np.ix_(rows[shown_rows] // step * step, columns[shown_columns] // step * step)]
        got = shot[np.ix_(shown_rows, shown_columns)]
        assert len(shown_rows) > 100
        assert np.abs(got.astype(int) - expected).max() <= 1, f"at zoom {zoom}"


def test_slide_layer_is_in_micrometres_with_a_scale_bar(view: ProjectView) -> None:
    assert view.viewer.canvas.overlays.scale_bar.visible
    assert {tuple(str(unit) for unit in layer.units) for layer in view.viewer.layers} == {("micrometer",) * 2}
    assert tuple(view.slide_layer.contrast_limits) == (0, 255)
    x, y = 100.0, 50.0
    for layer in (view.slide_layer, view.labels):
        assert tuple(layer.world_to_data((y * MPP, x * MPP))) == pytest.approx((y - 0.5, x - 0.5))
    shapes = view.vectors.shapes.layer
    assert tuple(shapes.world_to_data((y * MPP, x * MPP))) == pytest.approx((y, x))
    assert [layer.name for layer in view.viewer.layers] == ["Slide", "Labels", "Outlines", "Shapes", "Points"]
