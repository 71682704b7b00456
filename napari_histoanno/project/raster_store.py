"""All masks of a project, one :class:`LabelRaster` object for each slide and annotator."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from napari_histoanno.project.mask_tables import MaskTables
from napari_histoanno.project.provenance import is_predicted_key, predicted_key
from napari_histoanno.project.rasters import LabelRaster

if TYPE_CHECKING:
    from napari_histoanno.project.changes import ChunkKey
    from napari_histoanno.project.slide_table import SlideTable
    from napari_histoanno.project.transaction import Journal, Transaction


class RasterStore:
    """The masks of one project."""

    def __init__(self, journal: Journal, slides: SlideTable) -> None:
        self._journal = journal
        self._slides = slides
        self._rasters: dict[tuple[int, str], LabelRaster] = {}
        self._lock = threading.Lock()

    def get(self, slide: str, annotator: str) -> LabelRaster:
        """The mask of an annotator on a slide; nothing is stored until it is painted."""
        record = self._slides.find(slide)
        return self._get(self._slides.number(record.id), annotator)

    def annotators(self, slide: str) -> tuple[str, ...]:
        """Who has labels on a slide."""
        number = self._slides.number(slide)
        with self._journal.database.reading() as connection:
            rows = connection.execute(
                "SELECT annotator FROM masks m WHERE slide = ?"
                " AND EXISTS (SELECT 1 FROM chunks c WHERE c.mask = m.mask) ORDER BY mask",
                (number,),
            ).fetchall()
        return tuple(str(row[0]) for row in rows if not is_predicted_key(row[0]))

    def replay(self, transaction: Transaction, entry: int, *, forward: bool) -> None:
        """Bring the mask chunks before or after an entry back."""
        rows = transaction.connection.execute(
            "SELECT slide, annotator, cy, cx, before, after FROM history_chunks JOIN masks USING (mask)"
            " WHERE entry = ?",
            (entry,),
        ).fetchall()
        masks: dict[tuple[int, str], dict[ChunkKey, int | None]] = {}
        for slide, annotator, cy, cx, before, after in rows:
            masks.setdefault((slide, annotator), {})[cy, cx] = after if forward else before
        for (slide, annotator), versions in masks.items():
            self._get(slide, annotator).restore(transaction, versions)

    def _get(self, number: int, annotator: str) -> LabelRaster:
        with self._lock:
            return self._made(number, annotator)

    def _made(self, number: int, annotator: str) -> LabelRaster:
        raster = self._rasters.get((number, annotator))
        if raster is None:
            predicted = None if is_predicted_key(annotator) else self._made(number, predicted_key(annotator))
            with self._journal.database.reading() as connection:
                slide, height, width = connection.execute(
                    "SELECT id, height, width FROM slides WHERE number = ?", (number,)
                ).fetchone()
            tables = MaskTables(slide, number, annotator)
            raster = LabelRaster(self._journal, tables, (height, width), predicted=predicted)
            self._rasters[number, annotator] = raster
        return raster
