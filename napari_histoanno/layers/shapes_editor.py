"""Editable shapes: a napari layer kept equal to annotation records, both ways.

An editor shows records in one napari layer and hands what the user does there to a `Commit`: a finished shape
is added at once, a moved one updated, a removed one deleted. It never touches the layer while a shape is being
drawn or dragged; what should have been shown meanwhile is shown afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_histoanno.annotation.geometry import Area, Geometry, Scribble
from napari_histoanno.annotation.model import Annotation, Granularity, Review
from napari_histoanno.layers import _napari_private as private
from napari_histoanno.layers.drawn import Drawn, from_drawn, same_drawn, to_drawn
from napari_histoanno.layers.records import EXHAUSTIVE_COLOR, UNKNOWN_COLOR, Color, Commit, record_color, with_alpha

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from uuid import UUID

    from napari.layers import Shapes

    from napari_histoanno.annotation.scheme import LabelScheme

FACE_ALPHA, SCRIBBLE_ALPHA = 0.18, 0.55
LINE_PX = 2.0


class ShapesEditor:
    """Records that have an outline, in a napari Shapes layer.

    Parameters
    ----------
    layer : napari.layers.Shapes
        Placed so that its data are level-0 (y, x).
    commit : Commit
        Where the user's changes go.
    scheme : LabelScheme
        Class colours.
    """

    def __init__(self, layer: Shapes, commit: Commit, scheme: LabelScheme) -> None:
        self.layer = layer
        self.scheme = scheme
        self.granularity: Granularity = Granularity.PIXEL
        self._commit = commit
        self._ids: list[UUID] = []
        self._records: dict[UUID, Annotation] = {}
        self._waiting: list[Annotation] | None = None
        self.muted = False
        self._zoom = 1.0
        self._pen: tuple[Color, float | None] = (UNKNOWN_COLOR, None)
        self._path: list[tuple[float, float]] = []
        layer.events.data.connect(self._on_data)
        layer.events.features.connect(self._on_features)
        layer.mouse_drag_callbacks.append(self._record_path)

    def close(self) -> None:
        """Stop listening to the layer."""
        self.layer.events.data.disconnect(self._on_data)
        self.layer.events.features.disconnect(self._on_features)
        if self._record_path in self.layer.mouse_drag_callbacks:
            self.layer.mouse_drag_callbacks.remove(self._record_path)

    @property
    def busy(self) -> bool:
        """Whether a shape is being drawn or dragged."""
        return private.is_busy(self.layer)

    @property
    def records(self) -> tuple[Annotation, ...]:
        """What is shown, in the order of the layer's shapes."""
        return tuple(self._records[i] for i in self._ids)

    @property
    def selected(self) -> tuple[Annotation, ...]:
        """Records of the selected shapes."""
        return tuple(self._records[self._ids[i]] for i in sorted(self.layer.selected_data) if i < len(self._ids))

    # --- showing records --------------------------------------------------------------------------

    def show(self, records: Iterable[Annotation]) -> None:
        """Show these records and no others; waits while a shape is being drawn."""
        self._waiting = list(records)
        self.settle()

    def settle(self) -> None:
        """Show what had to wait for the end of a drawing."""
        if self._waiting is None or self.busy:
            return
        wanted = {record.id: record for record in self._waiting}
        self._waiting = None
        selected = {record.id for record in self.selected}
        gone = [i for i, key in enumerate(self._ids) if self._records[key] != wanted.get(key)]
        known = {key for key in self._ids if self._records[key] == wanted.get(key)}
        fresh = [record for key, record in wanted.items() if key not in known]
        self.muted = True
        try:
            self._take_out(gone)
            self._put_in(fresh)
            if selected:
                self.layer.selected_data = {i for i, key in enumerate(self._ids) if key in selected}
        finally:
            self.muted = False

    def _take_out(self, indices: list[int]) -> None:
        if not indices:
            return
        self.layer.remove(indices)
        for index in reversed(indices):
            del self._records[self._ids.pop(index)]

    def _put_in(self, records: Sequence[Annotation]) -> None:
        drawn = [(record, shape) for record in records if (shape := to_drawn(record.geometry)) is not None]
        if not drawn:
            return
        colors = [record_color(record, self.scheme) for record, _ in drawn]
        self.layer.add(
            [shape.vertices for _, shape in drawn],
            shape_type=[shape.shape_type for _, shape in drawn],
            edge_width=[shape.width or self._line_width() for _, shape in drawn],
            edge_color=np.array([_edge(c, record) for c, (record, _) in zip(colors, drawn, strict=True)]),
            face_color=np.array([_face(c, record) for c, (record, _) in zip(colors, drawn, strict=True)]),
            z_index=[_depth(record) for record, _ in drawn],
        )
        self._ids += [record.id for record, _ in drawn]
        self._records.update((record.id, record) for record, _ in drawn)

    def _line_width(self) -> float:
        return LINE_PX / self._zoom

    def set_zoom(self, zoom: float) -> None:
        """Keep lines equally thin on screen; ``zoom`` is screen pixels per level-0 pixel."""
        # In steps: every change of width goes through all shapes.
        stepped = float(2.0 ** np.round(np.log2(max(zoom, 1e-6))))
        if stepped == self._zoom or self.busy:
            return
        self._zoom = stepped
        self._style_pen()
        widths = [_own_width(self._records[i]) or self._line_width() for i in self._ids]
        if widths:
            self.muted = True
            try:
                self.layer.edge_width = widths
            finally:
                self.muted = False

    def set_pen(self, granularity: Granularity, color: Color, width: float | None = None) -> None:
        """How the next shape is drawn.

        Parameters
        ----------
        granularity : Granularity
            What the next shape becomes.
        color : tuple of float
            RGBA of its class.
        width : float, optional
            Width of the line in level-0 pixels, for scribbles.
        """
        self.granularity = granularity
        self._pen = (color, width)
        self._style_pen()

    def _style_pen(self) -> None:
        color, width = self._pen
        exhaustive = self.granularity is Granularity.EXHAUSTIVE
        line = EXHAUSTIVE_COLOR if exhaustive else with_alpha(color, SCRIBBLE_ALPHA if width else 1.0)
        with private.pen_only(self.layer):
            self.layer.current_edge_width = width or self._line_width()
            self.layer.current_edge_color = line
            self.layer.current_face_color = with_alpha(line, 0.0 if exhaustive or width else FACE_ALPHA)

    # --- what the user does -----------------------------------------------------------------------

    def _record_path(self, layer: Shapes, event: Any) -> Iterator[None]:
        """Keep the exact path of a freehand line: napari drops its end and thins it to one vertex every ten pixels."""
        if str(layer.mode) != "add_path":
            self._path = []
            return
        self._path = [self._position(event)]
        yield
        while event.type == "mouse_move":
            self._path.append(self._position(event))
            yield
        # A short stroke leaves napari waiting for a second click; for us the stroke is over.
        private.after_drawing(self._end_path)

    def _end_path(self) -> None:
        if self.busy:
            private.finish_drawing(self.layer)

    def _position(self, event: Any) -> tuple[float, float]:
        y, x = self.layer.world_to_data(event.position)[-2:]
        return float(x), float(y)

    def _on_features(self, event: Any = None) -> None:
        # Pasting says nothing but that the features changed.
        if not self.muted and not self.busy and self.layer.nshapes > len(self._ids):
            self._added()

    def _on_data(self, event: Any) -> None:
        if self.muted:
            return
        action = str(event.action)
        if action in ("added", "changed"):
            # The shape is still in napari's hands; what had to wait for it is shown when it has let go.
            private.after_drawing(self.settle)
        if action == "added":
            self._added()
        elif action == "changed":
            self._changed([i for i in event.data_indices if i >= 0])
        elif action == "removed":
            self._removed([i % max(len(self._ids), 1) for i in event.data_indices])

    def _added(self) -> None:
        path, self._path = self._path, []
        if path and self.layer.nshapes <= len(self._ids) + 1:
            width = float(self.layer.current_edge_width)
            self._commit.add(Scribble(_without_repeats(path), width), self.granularity)
            # napari's version of the line is replaced by the record's as soon as the drawing is over.
            self._adopt_nothing()
            return
        for index in range(len(self._ids), self.layer.nshapes):
            geometry = from_drawn(self._drawn(index))
            record = None if geometry is None else self._commit.add(geometry, _fitting(self.granularity, geometry))
            if record is None:
                self._adopt_nothing()
                return
            self._ids.append(record.id)
            self._records[record.id] = record

    def _adopt_nothing(self) -> None:
        """Shapes beyond the known ones are no records: take them out once napari has finished with them."""
        private.after_drawing(self._drop_strays)

    def _drop_strays(self) -> None:
        if self.busy:
            return
        strays = list(range(len(self._ids), self.layer.nshapes))
        self.muted = True
        try:
            if strays:
                self.layer.remove(strays)
        finally:
            self.muted = False
        self.settle()

    def _changed(self, indices: list[int]) -> None:
        if self.layer.nshapes < len(self._ids):
            # napari removes a shape that has lost too many vertices, and calls that a change.
            self._removed(indices)
            return
        changes = [change for i in indices if i < len(self._ids) and (change := self._change(i)) is not None]
        if changes and self._commit.update(changes):
            self._records.update((record.id, record) for record in changes)
        elif changes:
            self._redraw([record.id for record in changes])

    def _change(self, index: int) -> Annotation | None:
        record = self._records[self._ids[index]]
        drawn, before = self._drawn(index), to_drawn(record.geometry)
        if before is not None and same_drawn(drawn, before):
            return None
        geometry = from_drawn(drawn)
        if geometry is None:
            return None
        review = record.review if record.review is Review.UNREVIEWED else Review.CORRECTED
        return record.changed(geometry=geometry, granularity=_fitting(record.granularity, geometry), review=review)

    def _removed(self, indices: list[int]) -> None:
        gone = [self._ids[i] for i in sorted(set(indices)) if i < len(self._ids)]
        lost = [self._records.pop(key) for key in gone]
        self._ids = [key for key in self._ids if key in self._records]
        if gone and not self._commit.delete(gone):
            self._waiting = [*self.records, *lost]
            private.after_drawing(self.settle)

    def _redraw(self, ids: Iterable[UUID]) -> None:
        """Draw records again as they are stored."""
        records = list(self.records)
        for key in ids:
            # A stale copy makes `settle` draw the record anew.
            self._records[key] = self._records[key].changed()
        self._waiting = records
        private.after_drawing(self.settle)

    def _drawn(self, index: int) -> Drawn:
        layer = self.layer
        return Drawn(str(layer.shape_type[index]), private.shape_vertices(layer, index), float(layer.edge_width[index]))


def _without_repeats(points: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    return tuple(p for i, p in enumerate(points) if i == 0 or p != points[i - 1])


def _fitting(granularity: Granularity, geometry: Geometry) -> Granularity:
    """A box or ellipse into which a vertex was put is an outline from then on."""
    shaped = (Granularity.BOX, Granularity.ELLIPSE)
    return Granularity.PIXEL if granularity in shaped and isinstance(geometry, Area) else granularity


def _own_width(record: Annotation) -> float | None:
    return record.geometry.width if isinstance(record.geometry, Scribble) else None


def _edge(color: Color, record: Annotation) -> Color:
    return with_alpha(color, SCRIBBLE_ALPHA) if isinstance(record.geometry, Scribble) else color


def _face(color: Color, record: Annotation) -> Color:
    hollow = record.granularity is Granularity.EXHAUSTIVE or isinstance(record.geometry, Scribble)
    return with_alpha(color, 0.0 if hollow else FACE_ALPHA)


def _depth(record: Annotation) -> int:
    """Regions lie below what is drawn in them, so that a click reaches the smaller shape."""
    return 0 if record.granularity is Granularity.EXHAUSTIVE else 1
