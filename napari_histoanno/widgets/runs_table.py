"""The models of a project: how good they are on validation places, and what to do with them."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QItemSelectionModel, QSignalBlocker, Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QHeaderView, QLabel, QMessageBox, QTableWidget, QTableWidgetItem, QVBoxLayout, QWidget

from napari_histoanno.jobs.events import JobState
from napari_histoanno.widgets.form import button, row
from napari_histoanno.widgets.job_progress import JobProgress
from napari_histoanno.widgets.relay import listen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_histoanno.jobs import Job
    from napari_histoanno.project import ModelRun
    from napari_histoanno.session import Session

_COLUMNS = ("Model", "Mean IoU", "Dice", "State")
_RESUMABLE = ("stopped", "interrupted", "failed")
_ID_ROLE = Qt.ItemDataRole.UserRole


def _figure(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "-"


class RunsTable(QWidget):
    """All training runs, newest first; several can be selected to compare them."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._shown: tuple[ModelRun, ...] = ()
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.verticalHeader().setVisible(False)
        self.table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.setMinimumHeight(100)
        self.table.setTabKeyNavigation(False)
        self.table.setToolTip(
            "Quality on validation places. The selected model predicts and is retrained, else the newest."
        )
        self.resume_button = button("Resume", "Go on with a training that was stopped or interrupted", self.resume)
        self.compare_button = button("Compare", "Show the selected models, or all, class by class", self.compare)
        self.evaluate_button = button(
            "Evaluate", "Measure the selected model, or the newest, and open a report with pictures", self.evaluate
        )
        self.delete_button = button("Delete", "Delete the selected models and their files", self.delete)
        self.progress = JobProgress()
        self.progress.ended.connect(self._show_report)
        self.report = QLabel()
        self.report.setWordWrap(True)
        self.report.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self.report.setOpenExternalLinks(True)
        self.report.setVisible(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addLayout(row(self.evaluate_button, self.compare_button, self.resume_button, self.delete_button))
        layout.addWidget(self.progress)
        layout.addWidget(self.report)
        self.table.itemSelectionChanged.connect(self._show_possible)
        listen(self, session.project_changed, self._on_project)
        for signal in (session.jobs_changed, session.runs_changed):
            listen(self, signal, self.refresh)
        self.refresh()

    def _on_project(self, *_: object) -> None:
        self.progress.clear()
        self.report.setVisible(False)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the runs as they are now."""
        runs = self._session.runs()[::-1]
        if runs != self._shown:
            selected = set(self.selected())
            self._shown = runs
            with QSignalBlocker(self.table):
                self._fill(runs, selected)
        self._show_possible()

    def _fill(self, runs: Sequence[ModelRun], selected: set[str]) -> None:
        self.table.clearSelection()
        self.table.setRowCount(len(runs))
        for place, run in enumerate(runs):
            figures = (run.metrics.get("mean_iou"), run.metrics.get("mean_dice"))
            for column, text in enumerate((run.name, *map(_figure, figures), run.status)):
                cell = QTableWidgetItem(text)
                cell.setToolTip(_details(run))
                self.table.setItem(place, column, cell)
            self.table.item(place, 0).setData(_ID_ROLE, run.id)
        model = self.table.selectionModel()
        rows = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
        for place, run in enumerate(runs):
            if run.id in selected:
                model.select(self.table.model().index(place, 0), rows)

    def _show_possible(self) -> None:
        """Offer what can be done with what is selected."""
        project, current = self._session.project, self.current()
        writable = project is not None and not project.read_only
        training = any(job.kind == "training" and not job.state.ended for job in self._session.jobs)
        state = next((run.status for run in self._shown if run.id == current), "")
        self.resume_button.setEnabled(writable and not training and state in _RESUMABLE)
        self.compare_button.setEnabled(bool(self._shown))
        measuring = any(job.kind == "evaluation" and not job.state.ended for job in self._session.jobs)
        self.evaluate_button.setEnabled(not measuring and self._session.newest_model is not None)
        self.delete_button.setEnabled(writable and current is not None)

    def selected(self) -> list[str]:
        """Ids of the selected runs, from top to bottom."""
        places = sorted({index.row() for index in self.table.selectedIndexes()})
        return [str(self.table.item(place, 0).data(_ID_ROLE)) for place in places]

    def current(self) -> str | None:
        """Id of the first selected run; None without a selection."""
        return next(iter(self.selected()), None)

    def resume(self) -> None:
        """Go on with the selected run."""
        run = self.current()
        if run is not None:
            self._session.resume_training(run)

    def evaluate(self) -> None:
        """Measure the selected run, or the newest, on places it has not learnt from."""
        job = self._session.evaluate(self.current())
        if job is not None:
            self.report.setVisible(False)
            self.progress.show_job(job, "Evaluation")

    def _show_report(self, job: Job) -> None:
        """Say where the report lies, and open it."""
        self._show_possible()
        if job.state is not JobState.COMPLETED or job.status.path is None:
            return
        path = Path(job.status.path).with_suffix(".html")
        url = QUrl.fromLocalFile(str(path))
        self.report.setText(f'<a href="{url.toString()}">Report</a>: {_breakable(str(path))}')
        self.report.setVisible(True)
        QDesktopServices.openUrl(url)

    def compare(self) -> None:
        """Show the metrics of the selected runs (all without a selection) beside each other."""
        figures = self._session.compare_runs(tuple(self.selected()))
        ids = {run for values in figures.values() for run in values}
        runs = [run for run in self._session.runs() if run.id in ids]
        head = "".join(f"<th>{run.name}</th>" for run in runs)
        body = "".join(
            f"<tr><td>{name}</td>" + "".join(_cell(values.get(run.id)) for run in runs) + "</tr>"
            for name, values in figures.items()
        )
        box = QMessageBox(self)
        box.setWindowTitle("Compare models")
        box.setTextFormat(Qt.TextFormat.RichText)
        box.setText(f"<table cellpadding=4><tr><th></th>{head}</tr>{body}</table>" if runs else "No metrics yet.")
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()

    def delete(self) -> None:
        chosen = self.selected()
        if not chosen:
            return
        answer = QMessageBox.question(
            self, "Delete models", f"Delete {len(chosen)} model(s) and their files? This cannot be undone."
        )
        if answer == QMessageBox.StandardButton.Yes:
            for run in chosen:
                self._session.delete_run(run)
        self.refresh()


def _cell(value: object) -> str:
    return f"<td align=right>{_figure(value)}</td>"


def _breakable(path: str) -> str:
    """A path as HTML that may be broken after each folder, so that it does not widen the page."""
    return escape(path).replace("/", "/<wbr>").replace("\\", "\\<wbr>")


def _details(run: ModelRun) -> str:
    lines = [f"{run.name}, {run.created:%Y-%m-%d %H:%M}", ", ".join(run.classes)]
    lines += [f"{name}: {_figure(value)}" for name, value in sorted(run.metrics.items())]
    return "\n".join(lines)
