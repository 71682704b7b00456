"""Small pictures drawn in code: colour swatches and tool icons that stay sharp and follow the theme's text colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QBrush, QColor, QIcon, QPainter, QPainterPath, QPen, QPixmap, QPolygonF

if TYPE_CHECKING:
    from collections.abc import Callable

_SIZE = 48


def swatch(color: tuple[int, int, int], size: int = 16) -> QIcon:
    """A rounded square of one colour."""
    pixmap = QPixmap(size * 2, size * 2)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(0, 0, 0, 90), 2))
    painter.setBrush(QColor(*color))
    painter.drawRoundedRect(QRectF(2, 2, size * 2 - 4, size * 2 - 4), 6, 6)
    painter.end()
    return QIcon(pixmap)


def tool_icon(name: str, color: QColor) -> QIcon:
    """Icon of an annotation tool in one colour; raises KeyError for an unknown name."""
    pixmap = QPixmap(_SIZE, _SIZE)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    pen = QPen(color, 4)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.setPen(pen)
    _DRAWINGS[name](painter, color)
    painter.end()
    return QIcon(pixmap)


def _polygon(*points: tuple[float, float]) -> QPolygonF:
    return QPolygonF([QPointF(x, y) for x, y in points])


def _pan(p: QPainter, color: QColor) -> None:
    for turn in range(4):
        p.save()
        p.translate(24, 24)
        p.rotate(90 * turn)
        p.drawLine(QPointF(0, 0), QPointF(0, -18))
        p.drawLine(QPointF(0, -18), QPointF(-5, -12))
        p.drawLine(QPointF(0, -18), QPointF(5, -12))
        p.restore()


def _select(p: QPainter, color: QColor) -> None:
    p.setBrush(QBrush(color))
    p.drawPolygon(_polygon((14, 6), (14, 38), (22, 31), (28, 43), (33, 40), (27, 29), (37, 28)))


def _brush(p: QPainter, color: QColor) -> None:
    p.drawLine(QPointF(40, 8), QPointF(24, 26))
    p.setBrush(QBrush(color))
    path = QPainterPath(QPointF(24, 24))
    path.quadTo(10, 24, 8, 42)
    path.quadTo(26, 42, 28, 29)
    path.closeSubpath()
    p.drawPath(path)


def _erase(p: QPainter, color: QColor) -> None:
    p.drawPolygon(_polygon((8, 30), (26, 8), (42, 21), (24, 42), (16, 42)))
    p.drawLine(QPointF(17, 19), QPointF(33, 32))


def _fill(p: QPainter, color: QColor) -> None:
    p.drawPolygon(_polygon((20, 8), (38, 24), (22, 40), (6, 24)))
    p.setBrush(QBrush(color))
    p.drawPolygon(_polygon((9, 25), (35, 25), (22, 38)))
    p.drawEllipse(QPointF(41, 38), 3, 4)


def _lasso(p: QPainter, color: QColor) -> None:
    path = QPainterPath(QPointF(10, 26))
    path.cubicTo(4, 6, 44, 2, 42, 22)
    path.cubicTo(42, 38, 22, 30, 20, 40)
    pen = p.pen()
    pen.setDashPattern([2, 2])
    p.setPen(pen)
    p.drawPath(path)


def _polygon_tool(p: QPainter, color: QColor) -> None:
    corners = ((10, 18), (28, 7), (42, 22), (34, 41), (12, 38))
    p.drawPolygon(_polygon(*corners))
    p.setBrush(QBrush(color))
    for x, y in corners:
        p.drawEllipse(QPointF(x, y), 3, 3)


def _ellipse(p: QPainter, color: QColor) -> None:
    p.translate(24, 24)
    p.rotate(-25)
    p.drawEllipse(QPointF(0, 0), 19, 12)


def _box(p: QPainter, color: QColor) -> None:
    p.drawRect(QRectF(8, 12, 32, 24))


def _scribble(p: QPainter, color: QColor) -> None:
    path = QPainterPath(QPointF(6, 34))
    path.cubicTo(14, 6, 20, 6, 20, 26)
    path.cubicTo(20, 44, 28, 40, 30, 26)
    path.cubicTo(32, 12, 38, 14, 42, 18)
    p.drawPath(path)


def _point(p: QPainter, color: QColor) -> None:
    p.drawLine(QPointF(24, 6), QPointF(24, 15))
    p.drawLine(QPointF(24, 33), QPointF(24, 42))
    p.drawLine(QPointF(6, 24), QPointF(15, 24))
    p.drawLine(QPointF(33, 24), QPointF(42, 24))
    p.setBrush(QBrush(color))
    p.drawEllipse(QPointF(24, 24), 4, 4)


def _image(p: QPainter, color: QColor) -> None:
    p.drawRect(QRectF(7, 10, 34, 28))
    p.setBrush(QBrush(color))
    p.drawPolygon(_polygon((11, 34), (21, 21), (28, 29), (32, 25), (37, 34)))
    p.drawEllipse(QPointF(31, 17), 2.5, 2.5)


def _region(p: QPainter, color: QColor) -> None:
    pen = p.pen()
    pen.setDashPattern([2.5, 2])
    p.setPen(pen)
    p.drawRect(QRectF(7, 9, 34, 30))
    p.setPen(QPen(color, 4))
    p.drawPolyline(_polygon((15, 24), (22, 31), (34, 17)))


_DRAWINGS: dict[str, Callable[[QPainter, QColor], None]] = {
    "pan": _pan,
    "select": _select,
    "brush": _brush,
    "erase": _erase,
    "fill": _fill,
    "lasso": _lasso,
    "polygon": _polygon_tool,
    "ellipse": _ellipse,
    "box": _box,
    "scribble": _scribble,
    "point": _point,
    "image": _image,
    "region": _region,
}
