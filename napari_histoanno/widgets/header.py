"""What is always in sight: the slide, the class, the tool, and whether everything is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_histoanno.annotation.tools import TOOLS
from napari_histoanno.widgets.icons import swatch, tool_icon
from napari_histoanno.widgets.relay import listen
from napari_histoanno.widgets.style import text_color

if TYPE_CHECKING:
    from napari_histoanno.session import Session

_ICON = QSize(16, 16)
_NO_CLASS = (128, 128, 128)
SAVED, SAVING = "● all saved", "◌ saving…"


class StatusHeader(QWidget):
    """Current slide, class, tool and save state of a session, and the last thing it said."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._slide = QElidingLabel()
        self._slide.setToolTip("The slide on screen")
        self._class_icon, self._class = QLabel(), QLabel()
        self._tool_icon, self._tool = QLabel(), QLabel()
        self._saved = QLabel()
        self._saved.setToolTip("Every stroke and shape is stored as it is made; there is nothing to save by hand")
        self._message = QElidingLabel()
        self._message.setObjectName("session-message")
        top = QHBoxLayout()
        top.addWidget(self._slide, 1)
        top.addWidget(self._saved)
        bottom = QHBoxLayout()
        for widget in (self._class_icon, self._class, self._tool_icon, self._tool):
            bottom.addWidget(widget)
        bottom.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(2)
        layout.addLayout(top)
        layout.addLayout(bottom)
        layout.addWidget(self._message)
        for signal in (session.project_changed, session.slide_changed, session.class_changed, session.tool_changed):
            listen(self, signal, self._refresh)
        listen(self, session.scheme_changed, self._refresh)
        listen(self, session.saving_changed, self._show_saving)
        listen(self, session.status, self._say)
        listen(self, session.error, self._complain)
        self._refresh()

    def _refresh(self, *_: object) -> None:
        session, project = self._session, self._session.project
        if project is None:
            self._slide.setText("<no project>")
        else:
            record = session.slide_record
            self._slide.setText(record.name if record else f"{project.path.name}: no slide")
        label = project.scheme.find(session.class_id) if project is not None else None
        self._class_icon.setPixmap(
            swatch(label.color).pixmap(_ICON) if label else swatch((128, 128, 128)).pixmap(_ICON)
        )
        self._class.setText(label.name if label else "no class")
        self._tool_icon.setPixmap(tool_icon(session.tool.value, text_color()).pixmap(_ICON))
        self._tool.setText(TOOLS[session.tool].label)
        if project is not None and project.read_only:
            self._saved.setText("read only")
            self._saved.setStyleSheet("color: #f5a623")
        else:
            self._show_saving(False)

    def _show_saving(self, saving: bool) -> None:
        self._saved.setText("" if self._session.project is None else SAVING if saving else SAVED)
        self._saved.setStyleSheet("color: #f5a623" if saving else "color: #5fbf77")

    def _say(self, message: str) -> None:
        self._message.setStyleSheet("")
        self._message.setText(message)
        self._message.setToolTip(message)

    def _complain(self, message: str) -> None:
        self._message.setStyleSheet("color: #ff6b6b")
        self._message.setText(message)
        self._message.setToolTip(message)
