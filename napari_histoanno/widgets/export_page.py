"""Fourth step: a dataset that others can use, the same bytes every time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from qtpy.QtCore import QSignalBlocker, QSize, Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_histoanno.datasets import DatasetError, SplitBy, SplitSpec
from napari_histoanno.datasets.export import ExportKind, ExportSpec
from napari_histoanno.jobs import DatasetExportSpec
from napari_histoanno.jobs.events import JobState
from napari_histoanno.widgets.form import button, choose_folder, form, group, row
from napari_histoanno.widgets.icons import swatch
from napari_histoanno.widgets.job_progress import JobProgress
from napari_histoanno.widgets.relay import listen

if TYPE_CHECKING:
    from napari_histoanno.jobs import Job
    from napari_histoanno.session import Session

_LIST_HEIGHT = 110
_KINDS = {
    "Patches with masks (PNG)": "png",
    "COCO": "coco",
    "Patch set (zarr)": "patchset",
    "Label images (PNG)": "label-png",
    "Label images (OME-TIFF)": "label-ome-tiff",
    "QuPath GeoJSON": "geojson",
}
_SPLITS = {
    "by slide and patient": "slide",
    "by patient": "patient",
    "within slides, with a gap": "block",
    "no split": "none",
}


class ExportPage(QWidget):
    """Form for one export, its progress and where it went."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._out: Path | None = None
        self._make_fields()
        self.export_button = button("Export", "Write the dataset with a manifest of hashes", self.export)
        self.progress = JobProgress()
        self.progress.ended.connect(self._after_export)
        self.result = QLabel()
        self.result.setWordWrap(True)
        self.open_button = button("Open folder", "Show what was written", self._show_folder)
        self.open_button.setVisible(False)
        layout = QVBoxLayout(self)
        layout.addWidget(
            group(
                "Dataset",
                form(
                    ("Format", self.kind),
                    ("Resolution", self.mpp),
                    ("Patch size", self.size),
                    ("Stride", self.stride),
                    ("Annotated ≥", self.annotated),
                    ("Split", self.split),
                    ("Classes", self.classes),
                    ("Unlabelled", self.unlabelled),
                ),
                row(self.folder, button("Folder…", "Choose where to write", self._choose_folder)),
                self.export_button,
                self.progress,
                self.result,
                self.open_button,
            )
        )
        layout.addStretch()
        self.kind.currentIndexChanged.connect(self._show_relevant)
        listen(self, session.project_changed, self._on_project)
        listen(self, session.scheme_changed, self.refresh)
        self.refresh()

    def _make_fields(self) -> None:
        self.kind, self.split = QComboBox(), QComboBox()
        self.kind.addItems(list(_KINDS))
        self.kind.setToolTip("What to write")
        self.split.addItems(list(_SPLITS))
        self.split.setToolTip("Patches of one slide or patient never lie in two splits unless you choose so")
        self.mpp = QDoubleSpinBox()
        self.mpp.setRange(0.1, 100)
        self.mpp.setDecimals(3)
        self.mpp.setValue(0.5)
        self.mpp.setSingleStep(0.25)
        self.mpp.setSuffix(" µm/px")
        self.mpp.setToolTip("Resolution of what is written")
        self.size, self.stride = QSpinBox(), QSpinBox()
        self.size.setRange(16, 4096)
        self.size.setValue(256)
        self.size.setToolTip("Side of a patch in pixels")
        self.stride.setRange(0, 4096)
        self.stride.setSpecialValueText("= patch")
        self.stride.setToolTip("Distance between patches in pixels")
        self.annotated = QDoubleSpinBox()
        self.annotated.setRange(0, 100)
        self.annotated.setValue(1)
        self.annotated.setSuffix(" %")
        self.annotated.setToolTip("A patch is kept if at least this share of it is annotated")
        self.unlabelled = QComboBox()
        self.unlabelled.setToolTip("What pixels that nobody has annotated become; by default they stay apart")
        self.classes = QListWidget()
        self.classes.setMaximumHeight(_LIST_HEIGHT)
        self.classes.setIconSize(QSize(16, 16))
        self.classes.setToolTip("Classes to write; what belongs to others counts as unlabelled")
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("exports/ in the project")
        self.folder.setToolTip("Folder to write into")

    def refresh(self, *_: object) -> None:
        """Show the session as it is now."""
        project = self._session.project
        self.setEnabled(project is not None)
        labels = tuple(project.scheme) if project is not None else ()
        chosen, left_out = self.unlabelled.currentData(), self._left_out()
        with QSignalBlocker(self.unlabelled), QSignalBlocker(self.classes):
            self.unlabelled.clear()
            self.unlabelled.addItem("a separate value", None)
            self.classes.clear()
            for label in labels:
                self.unlabelled.addItem(f"becomes {label.name}", label.name)
                item = QListWidgetItem(swatch(label.color), label.name, self.classes)
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                kept = label.name not in left_out
                item.setCheckState(Qt.CheckState.Checked if kept else Qt.CheckState.Unchecked)
            self.unlabelled.setCurrentIndex(max(0, self.unlabelled.findData(chosen)))
        self._show_relevant()

    def _items(self) -> list[QListWidgetItem]:
        return [self.classes.item(place) for place in range(self.classes.count())]

    def _left_out(self) -> set[str]:
        return {item.text() for item in self._items() if item.checkState() is Qt.CheckState.Unchecked}

    def _on_project(self, *_: object) -> None:
        self.classes.clear()
        self.progress.clear()
        self.result.clear()
        self.open_button.setVisible(False)
        self.refresh()

    def _kind(self) -> ExportKind:
        return ExportKind(_KINDS[self.kind.currentText()])

    def _show_relevant(self, *_: object) -> None:
        kind = self._kind()
        for widget in (self.size, self.stride, self.annotated, self.split):
            widget.setEnabled(kind.of_patches)
        for widget in (self.mpp, self.unlabelled):
            widget.setEnabled(kind is not ExportKind.GEOJSON)
        self.export_button.setEnabled(self.classes.count() > 0 and self.progress.job is None)

    def spec(self) -> ExportSpec:
        """What the form asks for; raises pydantic's ValidationError where it makes no sense."""
        kind, left_out = self._kind(), self._left_out()
        kept = tuple(item.text() for item in self._items() if item.text() not in left_out)
        if not kept:
            raise DatasetError("No class is chosen. Tick at least one class to write.")
        return ExportSpec(
            kind=kind,
            mpp=self.mpp.value(),
            patch_size=self.size.value(),
            stride=self.stride.value() or "full",
            min_annotated=self.annotated.value() / 100,
            split=SplitSpec(by=SplitBy(_SPLITS[self.split.currentText()]) if kind.of_patches else SplitBy.NONE),
            classes=kept if left_out else None,
            unlabelled=self.unlabelled.currentData(),
        )

    def export(self) -> None:
        """Start writing in the background."""
        text = self.folder.text().strip()
        try:
            spec = self.spec()
        except ValidationError as error:
            self._session.error.emit(
                "; ".join(str(each["msg"]).removeprefix("Value error, ") for each in error.errors())
            )
            return
        except DatasetError as error:
            self._session.error.emit(str(error))
            return
        self.result.clear()
        self.open_button.setVisible(False)
        job = self._session.export(spec, Path(text) if text else None)
        if job is not None and isinstance(job.spec, DatasetExportSpec):
            self._out = job.spec.output
            self.progress.show_job(job, "Export")
            self._show_relevant()

    def _after_export(self, job: Job) -> None:
        done = job.state is JobState.COMPLETED
        self.result.setText(f"Written to {self._out}" if done else "")
        self.open_button.setVisible(done)
        self._show_relevant()

    def _choose_folder(self) -> None:
        folder = choose_folder(self, "Folder for the dataset")
        if folder:
            self.folder.setText(folder)

    def _show_folder(self) -> None:
        if self._out is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._out)))
