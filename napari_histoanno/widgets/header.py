"""What is always in sight: the slide, the class, the tool, whether everything is saved, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_histoanno.annotation.tools import TOOLS
from napari_histoanno.widgets.guide import FactsWatch, next_step
from napari_histoanno.widgets.icons import swatch, tool_icon
from napari_histoanno.widgets.relay import listen
from napari_histoanno.widgets.style import follow_theme, signs, text_color

if TYPE_CHECKING:
    from napari_histoanno.jobs import Job
    from napari_histoanno.session import Session

_ICON = QSize(16, 16)
_NO_CLASS = (128, 128, 128)
SAVED, SAVING, READ_ONLY = "● all saved", "◌ saving…", "read only"
_LONGEST = 300


class StatusHeader(QWidget):
    """Current slide, class, tool and save state of a session, the last thing it said, and the next step."""

    def __init__(self, session: Session, facts: FactsWatch | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._saving = self._failed = False
        self._facts = FactsWatch(session, self) if facts is None else facts
        self.slide = QElidingLabel()
        self.slide.setToolTip("The slide on screen")
        self._class_icon, self.class_name = QLabel(), QLabel()
        self._tool_icon, self.tool = QLabel(), QLabel()
        for label in (self._class_icon, self.class_name):
            label.setToolTip("The class that you draw with; press its number or click it on page 2")
        for label in (self._tool_icon, self.tool):
            label.setToolTip("The tool in your hand; press its letter or click it on page 2")
        self.saved = QLabel()
        self.saved.setToolTip("Every stroke and shape is stored as it is made; there is nothing to save by hand")
        self.message, self.next = QLabel(), QLabel()
        for label in (self.message, self.next):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.message.setVisible(False)
        top, middle = QHBoxLayout(), QHBoxLayout()
        top.addWidget(self.slide, 1)
        top.addWidget(self.saved)
        for widget in (self._class_icon, self.class_name, self._tool_icon, self.tool):
            middle.addWidget(widget)
        middle.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(2)
        layout.addLayout(top)
        layout.addLayout(middle)
        layout.addWidget(self.message)
        layout.addWidget(self.next)
        for signal in (session.project_changed, session.slide_changed, session.slides_changed, session.class_changed):
            listen(self, signal, self.refresh)
        for signal in (session.tool_changed, session.scheme_changed):
            listen(self, signal, self.refresh)
        listen(self, session.saving_changed, self._show_saving)
        listen(self, session.jobs_changed, self._show_next)
        listen(self, session.status, self._say)
        listen(self, session.error, self._complain)
        self._facts.found.connect(self._show_next)
        follow_theme(self, self.refresh)

    def refresh(self, *_: object) -> None:
        """Show the session as it is now."""
        session, project = self._session, self._session.project
        if project is None:
            self.slide.setText("no project")
        else:
            record = session.slide_record
            self.slide.setText(record.name if record else f"{project.path.name}: no slide")
        label = project.scheme.find(session.class_id) if project is not None else None
        self._class_icon.setPixmap(swatch(label.color if label else _NO_CLASS).pixmap(_ICON))
        self.class_name.setText(label.name if label else "no class")
        self._tool_icon.setPixmap(tool_icon(session.tool.value, text_color()).pixmap(_ICON))
        self.tool.setText(TOOLS[session.tool].label)
        self._show_saving(self._saving and project is not None)
        self._show_message()
        self._show_next()

    def _show_saving(self, saving: bool) -> None:
        self._saving = saving
        project = self._session.project
        if project is not None and project.read_only:
            text, color = READ_ONLY, signs().caution
        else:
            text, color = (SAVING, signs().caution) if saving else (SAVED, signs().good)
        self.saved.setText(text if project is not None else "")
        self.saved.setStyleSheet(f"color: {color}")

    def _show_next(self, *_: object) -> None:
        facts = self._facts.facts
        self.next.setText(f"→ {next_step(facts, self._running('training'), self._running('prediction'))}")
        self.next.setStyleSheet(f"color: {signs().advice}")

    def _running(self, kind: str) -> Job | None:
        return next((job for job in self._session.jobs if job.kind == kind and not job.state.ended), None)

    def _say(self, message: str) -> None:
        self._tell(message, failed=False)

    def _complain(self, message: str) -> None:
        self._tell(message, failed=True)

    def _tell(self, message: str, *, failed: bool) -> None:
        self._failed = failed
        text = message.strip()
        self.message.setText(text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip()} …")
        self.message.setToolTip(text)
        self.message.setVisible(bool(text))
        self._show_message()

    def _show_message(self) -> None:
        self.message.setStyleSheet(f"color: {signs().bad}; font-weight: bold" if self._failed else "")
