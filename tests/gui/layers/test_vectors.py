"""Shapes and points: what the mouse draws is what the project holds, and the other way round."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
from qtpy.QtCore import Qt

from napari_histoanno.annotation.geometry import Area, Box, Ellipse, Point, Scribble
from napari_histoanno.annotation.model import Granularity
from napari_histoanno.annotation.tools import Tool

if TYPE_CHECKING:
    from napari_histoanno.annotation.model import Annotation
    from napari_histoanno.layers.view import ProjectView

pytestmark = pytest.mark.gui

CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
EXACT = 2e-3
"""Level-0 pixels: napari keeps vertices as 32-bit floats."""


def records(session: Any) -> list[Annotation]:
    return session.project.annotations.query(session.slide_id)


def test_every_tool_makes_its_exact_record(view: ProjectView, session: Any, hand: Any) -> None:
    hand.look(1200, 900, 2.0)

    session.set_tool(Tool.ELLIPSE)
    (x0, y0), *_, (x1, y1) = hand.drag([(1100, 800), (1150, 830), (1180, 850)])
    session.set_tool(Tool.BOX)
    (bx0, by0), *_, (bx1, by1) = hand.drag([(1000, 700), (1010, 720), (1050, 760)])
    session.set_tool(Tool.POINT)
    hand.click(1300, 1000)
    point = hand.at(1300, 1000)
    session.set_class(2)
    session.set_tool(Tool.SCRIBBLE)
    session.set_brush_size(12)
    path = hand.drag([(1300, 700), (1302, 705), (1310, 710), (1330, 705), (1341, 711)])
    session.set_tool(Tool.POLYGON)
    corners = [(1050, 1000), (1100, 1000), (1100, 1050), (1050, 1050)]
    for corner in corners[:-1]:
        hand.click(*corner)
    hand.double_click(*corners[-1])
    session.set_tool(Tool.REGION)
    (rx0, ry0), *_, (rx1, ry1) = hand.drag([(950, 650), (1000, 700), (1400, 1080)])

    for _r in records(session):
        pass
    ellipse, box, click, scribble, area, region = records(session)
    assert [r.granularity for r in (ellipse, box, click, scribble, area, region)] == [
        Granularity.ELLIPSE,
        Granularity.BOX,
        Granularity.POINT,
        Granularity.SPARSE,
        Granularity.PIXEL,
        Granularity.EXHAUSTIVE,
    ]
    assert [r.class_id for r in (ellipse, box, click, scribble, area, region)] == [1, 1, 1, 2, 2, 0]
    drawn = ellipse.geometry
    assert isinstance(drawn, Ellipse)
    assert drawn.angle == 0
    expected = ((x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2)
    assert (drawn.cx, drawn.cy, drawn.a, drawn.b) == pytest.approx(expected, abs=EXACT)
    assert isinstance(box.geometry, Box)
    assert box.bounds == pytest.approx((bx0, by0, bx1, by1), abs=EXACT)
    assert isinstance(click.geometry, Point)
    assert (click.geometry.x, click.geometry.y) == pytest.approx(point, abs=EXACT)
    assert isinstance(scribble.geometry, Scribble)
    assert scribble.geometry.width == 12
    np.testing.assert_allclose(scribble.geometry.points, path, atol=EXACT)
    assert isinstance(area.geometry, Area)
    outline = shapely.Polygon([hand.at(*corner) for corner in corners])
    assert area.geometry.polygon.symmetric_difference(outline).area < 0.5
    assert isinstance(region.geometry, Box)
    assert region.bounds == pytest.approx((rx0, ry0, rx1, ry1), abs=EXACT)
    assert set(view.vectors.shapes.layer.shape_type) == {"ellipse", "rectangle", "path", "polygon"}
    assert len(view.vectors.shapes.layer.data) == 5
    assert len(view.vectors.points.layer.data) == 1


def test_undo_and_redo_run_over_all_tools(view: ProjectView, session: Any, hand: Any) -> None:
    hand.look(1200, 900, 2.0)
    session.set_tool(Tool.ELLIPSE)
    hand.drag([(1100, 800), (1150, 830), (1180, 850)])
    session.set_tool(Tool.BRUSH)
    hand.drag([(1200, 900), (1250, 900)])
    session.set_tool(Tool.POINT)
    hand.click(1300, 1000)

    def state() -> tuple[int, int, bool]:
        view.flush()
        painted = bool(session.project.raster(session.slide_id).counts())
        return len(view.vectors.shapes.layer.data), len(view.vectors.points.layer.data), painted

    assert state() == (1, 1, True)
    seen = []
    for _ in range(3):
        hand.key(Qt.Key.Key_Z, CONTROL)
        seen.append(state())
    assert seen == [(1, 0, True), (1, 0, False), (0, 0, False)]
    seen = []
    for _ in range(3):
        hand.key(Qt.Key.Key_Z, CONTROL | SHIFT)
        seen.append(state())
    assert seen == [(1, 0, False), (1, 0, True), (1, 1, True)]


def test_moving_and_deleting_reach_the_project(view: ProjectView, session: Any, hand: Any) -> None:
    session.add_annotation(Ellipse(1200.5, 900.25, 40, 20, 0.5), Granularity.ELLIPSE)
    session.add_annotation(Point(1300, 950), Granularity.POINT)
    hand.look(1200, 900, 2.0)
    session.set_tool(Tool.SELECT)
    hand.click(1205, 902)
    assert [r.granularity for r in view.selected] == [Granularity.ELLIPSE]
    (before,) = [r for r in records(session) if r.granularity is Granularity.ELLIPSE]
    assert before.modified is None

    start, *_, end = hand.drag([(1205, 902), (1210, 905), (1235, 952)])
    (moved,) = [r for r in records(session) if r.granularity is Granularity.ELLIPSE]
    assert isinstance(moved.geometry, Ellipse)
    assert moved.id == before.id
    expected = (1200.5 + end[0] - start[0], 900.25 + end[1] - start[1], 40, 20, 0.5)
    got = (moved.geometry.cx, moved.geometry.cy, moved.geometry.a, moved.geometry.b, moved.geometry.angle)
    assert got == pytest.approx(expected, abs=EXACT)

    hand.key(Qt.Key.Key_3)
    assert {r.class_id for r in records(session) if r.granularity is Granularity.ELLIPSE} == {3}

    hand.click(1300, 950)
    assert [r.granularity for r in view.selected] == [Granularity.POINT]
    hand.key(Qt.Key.Key_Delete)
    assert [r.granularity for r in records(session)] == [Granularity.ELLIPSE]
    hand.key(Qt.Key.Key_Z, CONTROL)
    assert len(records(session)) == 2
    assert len(view.vectors.points.layer.data) == 1


def test_a_polygon_in_the_making_survives_a_change_of_the_project(view: ProjectView, session: Any, hand: Any) -> None:
    hand.look(1200, 900, 2.0)
    session.set_tool(Tool.POLYGON)
    hand.click(1100, 900)
    hand.click(1150, 900)
    session.add_annotation(Box(1300, 900, 20, 20), Granularity.BOX)
    hand.qtbot.wait(250)
    hand.click(1150, 950)
    hand.double_click(1100, 950)
    areas = [r for r in records(session) if r.granularity is Granularity.PIXEL]
    assert len(areas) == 1
    assert areas[0].geometry.shape.area == pytest.approx(2500, rel=0.05)
    hand.qtbot.wait(50)
    assert sorted(view.vectors.shapes.layer.shape_type) == ["polygon", "rectangle"]
