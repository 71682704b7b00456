"""The pixel layer: what the mouse paints is what the project holds, to the pixel, at every zoom."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

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


@pytest.mark.parametrize("zoom", [2.0, 0.25])
def test_gestures_undo_and_reopening(view: ProjectView, session: Any, hand: Any, zoom: float) -> None:
    session.set_tool(Tool.LASSO)
    hand.look(1200, 900, zoom)
    size = 100 / zoom
    corners = [(1200, 900), (1200 + size, 900), (1200 + size, 900 + size), (1200, 900 + size)]
    for corner in corners[:-1]:
        hand.click(*corner)
    hand.double_click(*corners[-1])
    view.flush()
    (x0, y0), (x1, y1) = hand.at(*corners[0]), hand.at(*corners[2])
    area = stored(view) == 1
    rows, columns = np.indices(area.shape) + 0.5
    inside = (columns > x0) & (columns < x1) & (rows > y0) & (rows < y1)
    assert np.count_nonzero(area != inside) <= 0.002 * inside.sum()

    session.set_class(2)
    session.set_tool(Tool.FILL)
    hand.click(1200 + size / 2, 900 + size / 2)
    view.flush()
    assert set(np.unique(stored(view)[area])) == {2}
    assert not stored(view)[~area].any()

    session.set_tool(Tool.ERASE)
    session.set_brush_size(10 / zoom)
    hand.drag([(1200, 900 + size / 2), (1200 + size, 900 + size / 2)])
    view.flush()
    erased = stored(view)
    assert 0 < np.count_nonzero(erased == 2) < area.sum()

    view.undo()
    assert np.count_nonzero(stored(view) == 2) == area.sum()
    view.undo()
    assert np.count_nonzero(stored(view) == 1) == area.sum()
    view.redo()
    view.redo()
    np.testing.assert_array_equal(stored(view), erased)
    hand.qtbot.wait(30)
    assert_screen_is_truth(view)

    path = session.project.path
    session.close_project()
    hand.qtbot.wait(20)
    assert len(view.viewer.layers) == 0
    session.open_project(path)
    hand.qtbot.wait(20)
    np.testing.assert_array_equal(stored(view), erased)


def assert_screen_is_truth(view: ProjectView) -> None:
    labels = view.labels
    step, (row, column), tile = labels.displayed_tile()
    level = int(np.log2(step))
    truth = labels.raster.read(level, row, row + tile.shape[0], column, column + tile.shape[1])
    np.testing.assert_array_equal(tile, truth)


def test_encircling_paints_the_inside_in_one_action(view: ProjectView, session: Any, hand: Any) -> None:
    session.set_tool(Tool.BRUSH)
    session.set_brush_size(40)
    hand.look(1500, 1000, 0.5)
    around = np.linspace(0, 2 * np.pi, 40)
    circle = [(1500 + 300 * np.cos(t), 1000 + 300 * np.sin(t)) for t in around]
    right = Qt.MouseButton.RightButton
    hand.press(*circle[0], right)
    hand.release(*circle[0], right)
    for position in circle[1:]:
        hand.move(*position)
    view.flush()
    painted = stored(view) == 1
    rows, columns = np.indices(painted.shape) + 0.5
    distance = np.hypot(columns - 1500, rows - 1000)
    assert painted[distance < 300].all()
    assert not painted[distance > 330].any()
    assert [entry.action for entry in session.project.history.entries() if not entry.undone][:1] == ["paint"]
    view.undo()
    assert not stored(view).any()


def test_waiting_strokes_are_seen_saved_in_order_and_never_lost(view: ProjectView, session: Any, hand: Any) -> None:
    session.set_tool(Tool.BRUSH)
    session.set_brush_size(20)
    hand.look(1200, 900, 2.0)
    states: list[str] = []
    view.save_state_changed.connect(states.append)
    with session.project.transaction("hold"):
        # The project is busy: strokes are drawn, shown and queued meanwhile.
        hand.drag([(1150, 900), (1250, 900)])
        session.set_class(2)
        hand.drag([(1200, 850), (1200, 950)])
        assert view.labels.saving
        step, (row, column), _ = view.labels.displayed_tile()
        shown = np.asarray(view.labels.data[0][895:905, 1150:1250])
        assert set(np.unique(shown)) == {1, 2}
        assert step == 1
        assert (row, column) <= (895, 1150)
    session.undo()
    assert not view.labels.saving
    assert set(np.unique(stored(view))) == {0, 1}
    assert states == ["saving…", "saving…", "saved"] or states[-1] == "saved"
    hand.qtbot.wait(30)
    assert_screen_is_truth(view)


def test_a_failed_commit_is_told_and_the_screen_shows_the_truth(
    view: ProjectView, session: Any, hand: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.set_tool(Tool.BRUSH)
    hand.look(1200, 900, 1.0)
    told: list[str] = []
    session.error.disconnect()
    session.error.connect(told.append)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(view.labels.raster, "edit", full)
    hand.drag([(1150, 900), (1250, 900)])
    view.flush()
    assert len(told) == 1
    assert "No space left" in told[0]
    assert_screen_is_truth(view)
    assert not view.labels.displayed_tile()[2].any()


def test_status_names_the_class_and_colours_follow_the_scheme(view: ProjectView, session: Any, hand: Any) -> None:
    session.project.raster(session.slide_id).write(900, 1200, np.full((8, 8), 2, np.uint8))
    hand.look(1204, 904, 0.125)
    world = (904.5 * 0.25, 1204.5 * 0.25)
    assert view.labels.get_status(world, world=True)["value"] == "stroma"
    assert view.labels.get_status((0.0, 0.0), world=True)["value"] == "unlabelled"
    scheme = session.project.scheme.with_changed(2, color=(10, 20, 30), name="fibre")
    session.set_scheme(scheme)
    hand.qtbot.wait(30)
    assert view.labels.get_status(world, world=True)["value"] == "fibre"
    np.testing.assert_allclose(view.labels.get_color(2), (10 / 255, 20 / 255, 30 / 255, 1), atol=1e-6)
    view.labels.contour = 2
    hand.look(1204, 904, 4.0)
    view.labels.contour = 0
    view.labels.selected_label = 3
    assert session.class_id == 3
    session.set_class(1)
    assert view.labels.selected_label == 1
