"""What the demonstration keeps: a screenshot of each step with what it shows, and the page that tells the story."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_histoanno.report import Picture, Section, write_report
from napari_histoanno.widgets.demo.hand import work_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

_SETTLE_SECONDS = 0.6


@dataclass(slots=True)
class Story:
    """Screenshots and sections, in the order in which things happened.

    Parameters
    ----------
    folder : Path
        Where pictures and page are written.
    window : QMainWindow
        What is photographed.
    """

    folder: Path
    window: Any
    sections: list[Section] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def shoot(self, name: str, title: str, caption: str) -> Section:
        """Photograph the window as ``NN-name.png``; the returned section can be added to."""
        work_for(_SETTLE_SECONDS)
        path = self.folder / f"{len(self.sections) + 1:02d}-{name}.png"
        if not self.window.grab().save(str(path)):
            raise OSError(f"The screenshot {path} could not be written; is the disk full?")
        section = Section(title, [f"{self.seconds:.0f} s after the start."], [], [Picture.from_file(path, caption)])
        self.sections.append(section)
        return section

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def tell(self, title: str, summary: Sequence[Section]) -> Path:
        """Write the page: the summary first, then the steps."""
        path = self.folder / "report.html"
        write_report(path, title, [*summary, *self.sections])
        return path
