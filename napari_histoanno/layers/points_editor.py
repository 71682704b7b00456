"""Editable click points: a napari Points layer kept equal to annotation records, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_histoanno.annotation.geometry import Point
from napari_histoanno.annotation.model import Annotation, Granularity
from napari_histoanno.layers import _napari_private as private
from napari_histoanno.layers.records import Color, Commit, record_color

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from napari.layers import Points

    from napari_histoanno.annotation.scheme import LabelScheme

POINT_PX = 9.0


class PointsEditor:
    """Click points, in a napari Points layer; otherwise as :class:`ShapesEditor`."""

    def __init__(self, layer: Points, commit: Commit, scheme: LabelScheme) -> None:
        self.layer = layer
        self.scheme = scheme
        self._commit = commit
        self._ids: list[UUID] = []
        self._records: dict[UUID, Annotation] = {}
        self.muted = False
        layer.events.data.connect(self._on_data)

    def close(self) -> None:
        """Stop listening to the layer."""
        self.layer.events.data.disconnect(self._on_data)

    @property
    def records(self) -> tuple[Annotation, ...]:
        """What is shown, in the order of the layer's points."""
        return tuple(self._records[i] for i in self._ids)

    @property
    def selected(self) -> tuple[Annotation, ...]:
        """Records of the selected points."""
        return tuple(self._records[self._ids[i]] for i in sorted(self.layer.selected_data) if i < len(self._ids))

    def show(self, records: Iterable[Annotation]) -> None:
        """Show these records and no others."""
        wanted = [record for record in records if isinstance(record.geometry, Point)]
        if wanted == list(self.records):
            return
        selected = {record.id for record in self.selected}
        self.muted = True
        try:
            self.layer.data = _positions(wanted)
            self._ids = [record.id for record in wanted]
            self._records = {record.id: record for record in wanted}
            if wanted:
                self.layer.face_color = np.array([record_color(record, self.scheme) for record in wanted])
            self.layer.selected_data = {i for i, key in enumerate(self._ids) if key in selected}
        finally:
            self.muted = False

    def set_zoom(self, zoom: float) -> None:
        """Keep points equally large on screen; ``zoom`` is screen pixels per level-0 pixel."""
        size = POINT_PX / float(2.0 ** np.round(np.log2(max(zoom, 1e-6))))
        if size != self.layer.current_size:
            with private.pen_only(self.layer):
                self.layer.current_size = size
            self.layer.size = size

    def set_pen(self, color: Color) -> None:
        """Colour of the next point."""
        with private.pen_only(self.layer):
            self.layer.current_face_color = color

    def _on_data(self, event: Any) -> None:
        if self.muted:
            return
        action = str(event.action)
        if action == "added":
            self._added()
        elif action == "changed":
            self._changed([int(i) for i in event.data_indices])
        elif action == "removed":
            self._removed([int(i) for i in event.data_indices])

    def _added(self) -> None:
        for index in range(len(self._ids), len(self.layer.data)):
            y, x = self.layer.data[index]
            record = self._commit.add(Point(float(x), float(y)), Granularity.POINT)
            if record is None:
                private.after_drawing(self._drop_strays)
                return
            self._ids.append(record.id)
            self._records[record.id] = record

    def _drop_strays(self) -> None:
        """Points beyond the known ones are no records."""
        records, self._ids = self.records, []
        self.show(records)

    def _changed(self, indices: list[int]) -> None:
        changes = []
        for index in indices:
            record, (y, x) = self._records[self._ids[index]], self.layer.data[index]
            moved = Point(float(x), float(y))
            if moved != record.geometry:
                changes.append(record.changed(geometry=moved))
        if changes and self._commit.update(changes):
            self._records.update((record.id, record) for record in changes)

    def _removed(self, indices: list[int]) -> None:
        gone = [self._ids[i] for i in sorted({i % max(len(self._ids), 1) for i in indices}) if i < len(self._ids)]
        for key in gone:
            del self._records[key]
        self._ids = [key for key in self._ids if key in self._records]
        if gone:
            self._commit.delete(gone)


def _positions(records: Sequence[Annotation]) -> npt.NDArray[np.float64]:
    points = [record.geometry for record in records]
    return np.array([(p.y, p.x) for p in points if isinstance(p, Point)], float).reshape(-1, 2)
