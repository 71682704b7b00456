"""What a label map shows: which statements, whose, of which classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, Unpack

import numpy as np

from napari_histoanno.annotation import UNLABELLED, Granularity, LabelScheme

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

PAINTED = frozenset(Granularity) - {Granularity.IMAGE}


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """What a label map shows.

    Parameters
    ----------
    granularities : frozenset of Granularity
        Which statements are painted; whole-image labels never are. ``PIXEL`` includes painted masks.
    annotators : frozenset of str, optional
        Only theirs; None for everybody's.
    class_map : mapping from class id to class id, optional
        Merges classes; a class that is not a key is left out (its pixels are unlabelled, never background).
    include_predicted : bool
        Count predictions that nobody has reviewed.
    point_radius : float
        Radius of the disc that a click paints, in µm.
    """

    granularities: frozenset[Granularity] = PAINTED
    annotators: frozenset[str] | None = None
    class_map: Mapping[int, int] | None = None
    include_predicted: bool = False
    point_radius: float = 2.0

    def lookup(self, scheme: LabelScheme) -> NDArray[np.uint8]:
        """Table of shape (256,) from the class id that was annotated to the one that is shown."""
        table = np.zeros(256, np.uint8)
        for label in scheme:
            table[label.id] = label.id if self.class_map is None else self.class_map.get(label.id, UNLABELLED)
        return table

    def highest(self, scheme: LabelScheme) -> int:
        """Highest class id that can be shown, 0 if none can."""
        return int(self.lookup(scheme).max())


class RenderArguments(TypedDict, total=False):
    """Keyword form of :class:`RenderOptions`, as :func:`render_labels` takes it."""

    granularities: Iterable[Granularity]
    annotators: Iterable[str] | None
    class_map: Mapping[int, int] | None
    include_predicted: bool
    point_radius: float


def options_from(**arguments: Unpack[RenderArguments]) -> RenderOptions:
    """:class:`RenderOptions` from keywords that may be any iterables."""
    annotators = arguments.get("annotators")
    return RenderOptions(
        granularities=frozenset(arguments.get("granularities", PAINTED)),
        annotators=None if annotators is None else frozenset(annotators),
        class_map=arguments.get("class_map"),
        include_predicted=arguments.get("include_predicted", False),
        point_radius=arguments.get("point_radius", 2.0),
    )
