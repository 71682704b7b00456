"""The layers of a project view in their fixed order, whatever else the user has open."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.layers import Layer

_RANK = "histoanno_rank"


class LayerName(StrEnum):
    """Names of the layers, from the bottom to the top."""

    SLIDE = "Slide"
    PREDICTIONS = "Predictions"
    UNCERTAINTY = "Uncertainty"
    PREVIEW = "Preview"
    PROBABILITY = "Probability"
    LABELS = "Labels"
    OUTLINES = "Outlines"
    SHAPES = "Shapes"
    POINTS = "Points"


_ORDER = list(LayerName)


def add_in_order(viewer: Any, layer: Layer, name: LayerName) -> None:
    """Put a layer above those that belong below it, and below the others of ours."""
    rank = _ORDER.index(name)
    layer.metadata[_RANK] = rank
    above = [i for i, other in enumerate(viewer.layers) if other.metadata.get(_RANK, -1) > rank]
    below = [i for i, other in enumerate(viewer.layers) if 0 <= other.metadata.get(_RANK, -1) <= rank]
    if above:
        index = min(above)
    elif below:
        index = max(below) + 1
    else:
        index = len(viewer.layers)
    selection = set(viewer.layers.selection)
    viewer.layers.insert(index, layer)
    # A new layer does not take the tool out of the user's hand.
    if selection:
        viewer.layers.selection = selection


def take_out(viewer: Any, layer: Layer | None) -> None:
    """Remove a layer if it is still there."""
    if layer is not None and layer in viewer.layers:
        viewer.layers.remove(layer)
