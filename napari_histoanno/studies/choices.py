"""The fields of `StudyOptions` as keyword arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.studies.grid import Mode


class StudyChoices(TypedDict, total=False):
    """See `StudyOptions`."""

    mode: Mode
    seeds: int
    budget: float | None
    nuclei: Path | None
    costs: Path | None
    device: str
    cache: Path | None
