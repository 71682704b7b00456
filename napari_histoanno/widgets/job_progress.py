"""One background job as a line: what it does, how far it is, how long it will take, and a way to stop it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QToolButton, QVBoxLayout, QWidget

from napari_histoanno.jobs.events import JobState

if TYPE_CHECKING:
    from napari_histoanno.jobs import Job

_REFRESH_MS = 150
_LONGEST = 300
_END_TEXT = {JobState.COMPLETED: "finished", JobState.CANCELLED: "stopped", JobState.FAILED: "failed"}


def duration(seconds: float) -> str:
    """Rough remaining time in words: "12 s", "3 min", "1 h 20 min"; empty where it is not known."""
    if not math.isfinite(seconds):
        return ""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class JobProgress(QWidget):
    """Progress of one job; hidden until a job is shown, and polled at most a few times a second."""

    refreshed = Signal(object)
    ended = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._job: Job | None = None
        self._title = ""
        self._bar = QProgressBar()
        self._bar.setTextVisible(True)
        self._cancel = QToolButton()
        self._cancel.setText("Stop")
        self._cancel.setToolTip("Stop this job; what it has so far is kept")
        self._cancel.clicked.connect(self._ask_cancel)
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        row = QHBoxLayout()
        row.addWidget(self._bar, 1)
        row.addWidget(self._cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self._text)
        self._timer = QTimer(self)
        self._timer.setInterval(_REFRESH_MS)
        self._timer.timeout.connect(self.refresh)
        self.setVisible(False)

    @property
    def job(self) -> Job | None:
        return self._job

    def clear(self) -> None:
        """Follow no job, and say nothing."""
        self._job = None
        self._timer.stop()
        self.setVisible(False)

    def show_job(self, job: Job, title: str) -> None:
        """Follow a job from now on, by asking: listening to it could wait for the thread that it speaks in."""
        self._job = job
        self._title = title
        self._cancel.setVisible(True)
        self._cancel.setEnabled(True)
        self._timer.start()
        self.setVisible(True)
        self.refresh()

    def refresh(self) -> None:
        """Read the job's status now."""
        job = self._job
        if job is None:
            return
        status, state = job.status, job.state
        total = status.total_steps
        self._bar.setRange(0, total)
        self._bar.setValue(min(status.step, total))
        self._bar.setFormat("%p %" if total else "")
        self._text.setText(self._describe(state))
        self._text.setToolTip(job.message)
        self.refreshed.emit(job)
        if state.ended:
            self._timer.stop()
            self._cancel.setVisible(False)
            if not total:
                self._bar.setRange(0, 1)
            self._job = None
            self.ended.emit(job)

    def _describe(self, state: JobState) -> str:
        job = self._job
        if job is None:
            return ""
        status = job.status
        if state is JobState.PENDING:
            return f"{self._title}: starting the worker…"
        if state is JobState.CANCELLING:
            return f"{self._title}: stopping…"
        if state.ended:
            message = job.message if len(job.message) <= _LONGEST else f"{job.message[:_LONGEST].rstrip()} …"
            return f"{self._title}: {_END_TEXT[state]}" + (f". {message}" if message else "")
        parts = [self._title]
        if status.total_steps:
            parts.append(f"{status.step} of {status.total_steps}")
        left = duration(status.eta_seconds)
        if left:
            parts.append(f"{left} left")
        return " · ".join(parts) + (f"\n{status.notices[-1]}" if status.notices else "")

    def _ask_cancel(self) -> None:
        if self._job is not None:
            self._cancel.setEnabled(False)
            self._job.cancel()
