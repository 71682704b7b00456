"""Live plot of a training: loss over steps, validation quality on its own axis beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtWidgets import QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

LOSS_COLOR = "#4c9be8"
QUALITY_COLOR = "#f5a623"
_GRID_ALPHA = 0.15
_MAX_POINTS = 1_000
_HEIGHT = 170


class CurvesPlot(QWidget):
    """Two curves over training steps: loss (left axis) and a validation metric in [0, 1] (right axis)."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._plot = pg.PlotWidget(background=None)
        self._plot.setFixedHeight(_HEIGHT)  # the controls below must stay in sight on a small screen
        self._plot.setMenuEnabled(False)
        self._plot.setMouseEnabled(x=False, y=False)
        self._plot.hideButtons()
        item = self._plot.getPlotItem()
        item.ctrlMenu.setParent(self._plot, item.ctrlMenu.windowFlags())  # without a parent it outlives the window
        item.getAxis("left").enableAutoSIPrefix(False)
        item.showGrid(x=True, y=True, alpha=_GRID_ALPHA)
        item.setLabel("bottom", "step")
        item.setLabel("left", "loss", color=LOSS_COLOR)
        self._loss = item.plot(pen=pg.mkPen(LOSS_COLOR, width=2))
        self._quality_view = pg.ViewBox(enableMenu=False)
        self._quality_view.setMouseEnabled(x=False, y=False)
        item.scene().addItem(self._quality_view)
        item.getAxis("right").linkToView(self._quality_view)
        self._quality_view.setXLink(item)
        self._quality_view.setYRange(0, 1, padding=0.02)
        self._quality = pg.PlotDataItem(
            pen=pg.mkPen(QUALITY_COLOR, width=2), symbol="o", symbolSize=6, symbolBrush=QUALITY_COLOR, symbolPen=None
        )
        self._quality_view.addItem(self._quality)
        item.vb.sigResized.connect(self._fit_quality_view)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._plot)
        self.setToolTip("Loss while training (blue) and quality on places kept aside (orange, higher is better)")

    def _fit_quality_view(self) -> None:
        box = self._plot.getPlotItem().vb
        self._quality_view.setGeometry(box.sceneBoundingRect())
        self._quality_view.linkedViewChanged(box, self._quality_view.XAxis)

    def set_curves(
        self, loss: Sequence[tuple[int, float]], quality: Sequence[tuple[int, float]], name: str = "Mean IoU"
    ) -> None:
        """Show two curves.

        Parameters
        ----------
        loss, quality : sequence of (step, value)
            NaN values are left out of the line.
        name : str
            Of the validation metric.
        """
        self._plot.getPlotItem().setLabel("right", name, color=QUALITY_COLOR)
        for curve, points in ((self._loss, loss), (self._quality, quality)):
            array = np.asarray(points, float).reshape(-1, 2)
            if len(array) > _MAX_POINTS:
                array = array[:: len(array) // _MAX_POINTS + 1]
            array = array[np.isfinite(array[:, 1])]
            curve.setData(array[:, 0], array[:, 1])
        self._fit_quality_view()

    def clear(self) -> None:
        self.set_curves([], [])
