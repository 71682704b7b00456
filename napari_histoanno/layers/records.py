"""What the editors share: how a record looks, and where the user's changes of records go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from napari_histoanno.annotation.model import Annotation, Granularity, Review

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from napari_histoanno.annotation.geometry import Geometry
    from napari_histoanno.annotation.scheme import LabelScheme

EXHAUSTIVE_COLOR = (1.0, 0.85, 0.1, 1.0)
REJECTED_COLOR = (0.5, 0.5, 0.5, 1.0)
UNKNOWN_COLOR = (1.0, 0.0, 1.0, 1.0)

Color = tuple[float, float, float, float]


class Commit(Protocol):
    """Where the user's changes go."""

    def add(self, geometry: Geometry, granularity: Granularity) -> Annotation | None:
        """Add a record of the current class; None if it was refused."""
        ...

    def update(self, records: Sequence[Annotation]) -> bool:
        """Replace records; False if refused."""
        ...

    def delete(self, ids: Sequence[UUID]) -> bool:
        """Delete records; False if refused."""
        ...


def record_color(record: Annotation, scheme: LabelScheme) -> Color:
    """Line colour of a record: its class, or what is special about it."""
    if record.review is Review.REJECTED:
        return REJECTED_COLOR
    if record.granularity is Granularity.EXHAUSTIVE:
        return EXHAUSTIVE_COLOR
    found = scheme.find(record.class_id)
    if found is None:
        return UNKNOWN_COLOR
    red, green, blue = (channel / 255 for channel in found.color)
    return (red, green, blue, 1.0)


def with_alpha(color: Color, alpha: float) -> Color:
    return (*color[:3], alpha)
