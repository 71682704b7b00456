"""What every exporter is given: the plan or the slides, a folder, and somebody who wants to know how far it is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_histoanno.datasets.errors import ExportCancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_histoanno.datasets.export.masks import MaskCoding
    from napari_histoanno.datasets.export.spec import ExportSpec
    from napari_histoanno.datasets.patches import Place
    from napari_histoanno.project import SlideRecord


@dataclass(slots=True)
class Task:
    """One export under way.

    Parameters
    ----------
    spec : ExportSpec
        What to write.
    folder : Path
        To write to.
    coding : MaskCoding
        Values of masks.
    progress : callable, optional
        Called with the steps done and their number.
    cancelled : callable, optional
        True ends the export.
    """

    spec: ExportSpec
    folder: Path
    coding: MaskCoding
    progress: Callable[[int, int], None] | None = None
    cancelled: Callable[[], bool] | None = None
    total: int = 0
    _done: int = field(default=0, init=False)

    def step(self) -> None:
        """One more step is done; raises ExportCancelled if that is enough."""
        self.check()
        self._done += 1
        if self.progress is not None:
            self.progress(self._done, self.total)

    def check(self) -> None:
        """Raise ExportCancelled if the export is to stop."""
        if self.cancelled is not None and self.cancelled():
            raise ExportCancelled("The export was stopped; nothing of it was left behind.")

    def split_folder(self, split: str, *parts: str) -> Path:
        """Folder of a split, made where it is missing; the dataset's own where it is not split."""
        folder = self.folder.joinpath(*(() if split == "all" else (split,)), *parts)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def file_names(slides: Sequence[SlideRecord]) -> dict[str, str]:
    """A file name without suffix for each slide, by its id: its name as far as file systems like it, unique."""
    names: dict[str, str] = {}
    for record in sorted(slides, key=lambda record: record.id):
        base = re.sub(r"[^\w.+-]+", "_", record.name).strip("._") or "slide"
        name, number = base, 1
        while name.casefold() in {used.casefold() for used in names.values()}:
            number += 1
            name = f"{base}-{number}"
        names[record.id] = name
    return names


def patch_name(names: dict[str, str], place: Place) -> str:
    """File name without suffix of a patch: its slide, and its level-0 position."""
    x, y = (round(value) for value in place.location)
    return f"{names[place.slide]}_x{x}_y{y}"
