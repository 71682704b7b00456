"""The view around the layers: many objects, previews, closing, layers that the user deletes, keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
from qtpy.QtCore import Qt

from napari_histoanno.annotation.geometry import Area, Box
from napari_histoanno.annotation.model import Annotation, Granularity
from napari_histoanno.annotation.tools import Tool
from napari_histoanno.jobs.events import PreviewResult
from napari_histoanno.project import Project

if TYPE_CHECKING:
    from napari_histoanno.layers.view import ProjectView

pytestmark = pytest.mark.gui


def outlines_drawn(view: ProjectView, qtbot: Any) -> None:
    tiles = view.vectors.outlines.tiles
    qtbot.waitUntil(lambda: not tiles.busy, timeout=20_000)
    qtbot.wait(300)


def test_many_objects_are_outlines_from_afar_and_editable_nearby(
    view: ProjectView, session: Any, hand: Any, qtbot: Any
) -> None:
    places = np.random.default_rng(0).uniform((40, 40), (2900, 1900), (3000, 2))
    boxes = shapely.box(places[:, 0] - 8, places[:, 1] - 8, places[:, 0] + 8, places[:, 1] + 8)
    session.project.annotations.add(
        [Annotation(session.slide_id, Granularity.PIXEL, Area(box), 1 + i % 3) for i, box in enumerate(boxes)]
    )
    view.fly_to((0, 0, 2999, 2001))
    qtbot.wait(400)
    assert not view.vectors.detailed
    assert len(view.vectors.shapes.layer.data) == 0
    assert view.vectors.outlines.visible
    outlines_drawn(view, qtbot)
    assert set(np.unique(view.vectors.outlines.displayed_tile()[2])) == {0, 1, 2, 3}

    x, y = places[0]
    hand.look(x, y, 4.0)
    assert view.vectors.detailed
    assert not view.vectors.outlines.visible
    x0, y0, x1, y1 = view.bounds
    expected = {r.id for r in session.project.annotations.query(session.slide_id, bounds=(x0, y0, x1, y1))}
    assert expected <= {r.id for r in view.vectors.shapes.records}

    view.vectors.select(expected)
    count = len(expected)
    hand.key(Qt.Key.Key_Delete)
    assert session.project.annotations.count(session.slide_id) == 3000 - count or count == 0
    session.undo()
    view.fly_to((0, 0, 2999, 2001))
    qtbot.wait(400)
    outlines_drawn(view, qtbot)
    assert session.project.annotations.count(session.slide_id) == 3000


def preview(session: Any, classes: np.ndarray) -> PreviewResult:
    return PreviewResult(
        slide=session.slide_id,
        location=(1000.0, 800.0),
        downsample=4.0,
        mpp=1.0,
        classes=classes,
        confidence=np.full(classes.shape, 255, np.uint8),
        probabilities=np.stack([np.where(classes == i, 255, 0) for i in (1, 2)]).astype(np.uint8),
        class_ids=(1, 2),
        step=1,
    )


def test_predictions_lie_exactly_over_their_place(view: ProjectView, session: Any, hand: Any, qtbot: Any) -> None:
    classes = np.ones((50, 50), np.uint8)
    classes[:, 25:] = 2
    view.predictions.opacity = 1.0
    view.predictions.show_preview(preview(session, classes))
    hand.look(1100, 900, 2.0)

    def color_at(x: float, y: float) -> tuple[int, ...]:
        shot = view.viewer.screenshot(canvas_only=True, flash=False)
        point = hand.to_screen(x, y)
        return tuple(int(value) for value in shot[point.y(), point.x(), :3])

    first, second = (label.color for label in list(session.project.scheme)[:2])
    assert color_at(1001, 801) == first
    assert color_at(1098, 900) == first
    assert color_at(1102, 900) == second
    assert color_at(1198, 998) == second
    outside = color_at(999, 900)
    assert outside not in (first, second)

    view.predictions.probability_class = 2
    assert not view.predictions.preview.visible
    assert color_at(1150, 900) == second
    assert color_at(1050, 900) != first
    view.predictions.clear_preview()

    levels = [np.zeros((500 >> i, 750 >> i), np.uint8) for i in range(2)]
    view.predictions.show_prediction(levels, 4.0)
    assert color_at(1150, 900) not in (first, second)
    for i, level in enumerate(levels):
        level[200 >> i : 250 >> i, 250 >> i : 300 >> i] = 1
    view.predictions.block_arrived((1000, 800, 1200, 1000))
    qtbot.wait(300)
    assert color_at(1150, 900) == first
    assert color_at(999, 900) == outside
    assert [layer.name for layer in view.viewer.layers][:3] == ["Slide", "Predictions", "Labels"]


def test_a_deleted_layer_comes_back_and_nothing_is_lost(
    view: ProjectView, session: Any, hand: Any, qtbot: Any, project_path: Any
) -> None:
    hand.look(1200, 900, 1.0)
    session.set_tool(Tool.BRUSH)
    hand.drag([(1150, 900), (1250, 900)])
    view.viewer.layers.remove(view.labels)
    qtbot.wait(50)
    assert [layer.name for layer in view.viewer.layers] == ["Slide", "Labels", "Outlines", "Shapes", "Points"]
    counts = session.project.raster(session.slide_id).counts()
    assert set(counts) == {1}
    hand.drag([(1150, 950), (1250, 950)])
    session.add_annotation(Box(10, 10, 5, 5), Granularity.BOX)
    view.close()
    assert len(view.viewer.layers) == 0
    session.close()
    with Project.open(project_path) as project:
        slide = project.slides[0].id
        assert project.raster(slide).counts()[1] > 1.5 * counts[1]
        assert project.annotations.count(slide) == 1


def test_keys_choose_classes_tools_and_brush(view: ProjectView, session: Any, hand: Any) -> None:
    session.set_tool(Tool.BRUSH)
    hand.key(Qt.Key.Key_2)
    assert session.class_id == 2
    assert view.labels.selected_label == 2
    size = session.brush_size
    hand.key(Qt.Key.Key_BracketRight)
    assert session.brush_size > size
    assert view.labels.brush_size == session.brush_size
    hand.key(Qt.Key.Key_O)
    assert session.tool is Tool.ELLIPSE
    assert view.viewer.layers.selection.active is view.vectors.shapes.layer
    view.viewer.layers.selection.active = view.labels
    view.labels.mode = "erase"
    assert session.tool is Tool.ERASE
    view.labels.mode = "pan_zoom"
    assert session.tool is Tool.PAN
