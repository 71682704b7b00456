"""The dock: the four steps in the order of work, with the current state always in sight; and each step by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QTabWidget, QVBoxLayout, QWidget

from napari_histoanno.layers import view_of
from napari_histoanno.widgets.annotate_page import AnnotatePage
from napari_histoanno.widgets.export_page import ExportPage
from napari_histoanno.widgets.guide import FactsWatch
from napari_histoanno.widgets.header import StatusHeader
from napari_histoanno.widgets.slides_page import SlidesPage
from napari_histoanno.widgets.style import apply_style, follow_theme
from napari_histoanno.widgets.train_page import TrainPage

if TYPE_CHECKING:
    import napari

    from napari_histoanno.layers import ProjectView


_WIDTH = 400


def _scrolled(page: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(page)
    return area


class HistoAnnoDock(QWidget):
    """Slides & labels, Annotate, Train & preview, Export: everything in one dock."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:  # napari knows the viewer by this name
        super().__init__()
        view = view_of(napari_viewer)
        self.view, self.session = view, view.session
        facts = FactsWatch(self.session, self)
        self.header = StatusHeader(self.session, facts)
        self.slides = SlidesPage(self.session)
        self.annotate = AnnotatePage(self.session, facts)
        self.train = TrainPage(self.session, view, facts)
        self.export = ExportPage(self.session)
        self.tabs = QTabWidget()
        for number, (title, page) in enumerate(
            (
                ("Slides && labels", self.slides),
                ("Annotate", self.annotate),
                ("Train && preview", self.train),
                ("Export", self.export),
            ),
            1,
        ):
            self.tabs.addTab(_scrolled(page), f"{number} {title}")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addWidget(self.header)
        layout.addWidget(self.tabs, 1)
        self.setMinimumWidth(_WIDTH)
        follow_theme(self, lambda: apply_style(self))

    def show_step(self, number: int) -> None:
        """Bring step 1 … 4 to the front."""
        self.tabs.setCurrentIndex(number - 1)


class _Alone(QWidget):
    """One step with the header above it."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        view = view_of(napari_viewer)
        facts = FactsWatch(view.session, self)
        self.page = self._make_page(view, facts)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addWidget(StatusHeader(view.session, facts))
        layout.addWidget(_scrolled(self.page), 1)
        self.setMinimumWidth(_WIDTH)
        follow_theme(self, lambda: apply_style(self))

    def _make_page(self, view: ProjectView, facts: FactsWatch) -> QWidget:
        raise NotImplementedError


class SlidesWidget(_Alone):
    """Project, slides and label classes."""

    def _make_page(self, view: ProjectView, facts: FactsWatch) -> QWidget:
        return SlidesPage(view.session)


class AnnotateWidget(_Alone):
    """Tools, classes, undo and conversion."""

    def _make_page(self, view: ProjectView, facts: FactsWatch) -> QWidget:
        return AnnotatePage(view.session, facts)


class TrainWidget(_Alone):
    """Training, preview, prediction and correction."""

    def _make_page(self, view: ProjectView, facts: FactsWatch) -> QWidget:
        return TrainPage(view.session, view, facts)


class ExportWidget(_Alone):
    """Datasets."""

    def _make_page(self, view: ProjectView, facts: FactsWatch) -> QWidget:
        return ExportPage(view.session)
