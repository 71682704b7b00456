"""An annotation: who said what about which place of which slide, how finely, and how sure.

Records are immutable. Correcting one adds a new version, converting one adds a derived record that points at its
parent, so conversions can be undone, compared and scored, and nothing an annotator drew is ever overwritten by a
computation.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from napari_histoanno.annotation.scheme import MAX_CLASSES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_histoanno.annotation.geometry import Bounds, Geometry


class Granularity(StrEnum):
    """How finely an annotation was made, from coarse to fine."""

    IMAGE = "image"
    POINT = "point"
    BOX = "box"
    ELLIPSE = "ellipse"
    SPARSE = "sparse"
    PIXEL = "pixel"
    EXHAUSTIVE = "exhaustive"


class Source(StrEnum):
    """Where an annotation came from."""

    DRAWN = "drawn"
    IMPORTED = "imported"
    CONVERTED = "converted"
    PREDICTED = "predicted"


class Review(StrEnum):
    """What a person has said of an annotation since."""

    UNREVIEWED = "unreviewed"
    ACCEPTED = "accepted"
    CORRECTED = "corrected"
    REJECTED = "rejected"


def new_id() -> UUID:
    """Time-ordered identifier (UUID version 7, RFC 9562): sorts by creation and needs no coordination."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (
        (milliseconds & (1 << 48) - 1) << 80
        | 0x7 << 76
        | (random >> 62 & 0xFFF) << 64
        | 0b10 << 62
        | random & (1 << 62) - 1
    )
    return UUID(int=value)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Annotation:
    """One statement about one place of one slide.

    Parameters
    ----------
    slide : str
        Id of the slide in its project.
    granularity : Granularity
        How finely it was made.
    geometry : Geometry
        Native shape, level-0 pixels, (x, y), corner-based.
    class_id : int
        1 ... 255, or 0 where no class is said (an exhaustive region).
    annotator : str
        Name of the person or model.
    source, review, confidence
        Provenance; confidence lies in [0, 1] and is None for what a person drew.
    parent : UUID, optional
        The record this one was converted from.
    properties : mapping
        What other tools said of it (JSON values), kept for the way back.
    """

    slide: str
    granularity: Granularity
    geometry: Geometry
    class_id: int
    annotator: str = ""
    source: Source = Source.DRAWN
    review: Review = Review.UNREVIEWED
    confidence: float | None = None
    parent: UUID | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    created: datetime = field(default_factory=_now)
    modified: datetime | None = None
    id: UUID = field(default_factory=new_id)

    def __post_init__(self) -> None:
        if not 0 <= self.class_id <= MAX_CLASSES:
            raise ValueError(f"class id must lie in 0 … {MAX_CLASSES}, not {self.class_id}")
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise ValueError(f"confidence must lie in [0, 1], not {self.confidence}")

    @property
    def bounds(self) -> Bounds:
        """(x0, y0, x1, y1) in level-0 pixels."""
        return self.geometry.bounds

    def changed(self, **changes: Any) -> Annotation:
        """The same record with other values, stamped as modified now."""
        return replace(self, **{"modified": _now(), **changes})

    def derived(self, **changes: Any) -> Annotation:
        """A new record converted from this one: own id and time, this one as its parent."""
        fresh = {"id": new_id(), "created": _now(), "modified": None, "parent": self.id, "source": Source.CONVERTED}
        return replace(self, **{**fresh, **changes})
