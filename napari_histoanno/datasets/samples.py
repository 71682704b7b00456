"""Drawn places to patches with everything that a network needs to know of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_histoanno.datasets.extras import EXHAUSTIVE, INSTANCES, LABELS, ORIGINS, SHARES, VALID, known_objects
from napari_histoanno.datasets.instances import render_instances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_histoanno.datasets.bending import Bend
    from napari_histoanno.datasets.cells import AnnotatedCells
    from napari_histoanno.datasets.spec import SamplingSpec


@dataclass(frozen=True, slots=True)
class Drawn:
    """One patch to be cut.

    Parameters
    ----------
    slide, top, left : int
        Slide number, and its corner in pixels of that slide's grid.
    class_id : int
        Its class as a whole; 0 for none, or for what was said of the place.
    segments : bool
        Whether its labelled pixels are learnt from.
    bend : Bend, optional
        How it is deformed.
    """

    slide: int
    top: int
    left: int
    class_id: int = 0
    segments: bool = True
    bend: Bend | None = None


def assemble(
    index: AnnotatedCells, spec: SamplingSpec, class_ids: Sequence[int], drawn: Sequence[Drawn]
) -> dict[str, Any]:
    """Fields of a PatchSet for drawn places: ``images`` and ``labels``, and what the spec asks for beside them.

    Parameters
    ----------
    index : AnnotatedCells
        Where images and labels are read from.
    spec : SamplingSpec
        What is asked for.
    class_ids : sequence of int
        Order of the classes in shares.
    drawn : sequence of Drawn
        The places.
    """
    count, side = len(drawn), index.side
    factors = spec.magnifications[1:]
    fields: dict[str, Any] = {
        "images": np.empty((count, side, side, 3), np.uint8),
        "labels": np.empty((count, side, side), np.uint8),
    }
    if factors:
        fields["contexts"] = np.empty((count, len(factors), side, side, 3), np.uint8)
    if spec.origins:
        fields["origins"] = np.empty((count, side, side), np.uint8)
    if spec.wants_instances:
        fields["instances"] = np.empty((count, side, side), np.int32)
        fields["valid"] = np.empty((count, side, side), bool)
    if spec.wants_shares:
        fields["shares"] = np.empty((count, side, side, len(class_ids)), np.float32)
    if spec.wants_patch_classes:
        fields["patch_classes"] = np.empty(count, np.uint8)
    for number, one in enumerate(drawn):
        for name, value in _patch(index, spec, class_ids, one).items():
            fields[name][number] = value
    return fields


def _patch(index: AnnotatedCells, spec: SamplingSpec, class_ids: Sequence[int], one: Drawn) -> dict[str, Any]:
    view, place = index.labels[one.slide], (one.slide, one.top, one.left)
    downsample, location = index.grids[one.slide].downsample, index.location(*place)
    planes = index.labels_of(*place)
    patch: dict[str, Any] = {"images": index.image_of(*place), LABELS: planes[LABELS]}
    if spec.origins:
        patch[ORIGINS] = planes[ORIGINS]
    if spec.wants_instances:
        patch[INSTANCES] = render_instances(view, location, downsample, planes[LABELS])
        patch[VALID] = known_objects(view, planes[EXHAUSTIVE], patch[INSTANCES], planes[LABELS])
    if spec.wants_shares:
        patch[SHARES] = view.render_shares(location, downsample, (index.side, index.side), class_ids)
    factors = spec.magnifications[1:]
    if factors:
        patch["contexts"] = index.around(*place, factors)
    if not one.segments:
        for name in patch.keys() - {"images", "contexts"}:
            patch[name] = np.zeros_like(patch[name])
    if one.bend is not None:
        patch = {name: _bent(one.bend, name, value, factors) for name, value in patch.items()}
    if spec.wants_patch_classes:
        patch["patch_classes"] = one.class_id or _said_of(index, spec, one)
    return patch


def _bent(bend: Bend, name: str, value: NDArray[Any], factors: tuple[float, ...]) -> NDArray[Any]:
    if name == "images":
        return bend.image(value)
    if name == "contexts":
        return np.stack([bend.image(context, factor) for context, factor in zip(value, factors, strict=True)])
    return bend.labels(value)


def _said_of(index: AnnotatedCells, spec: SamplingSpec, one: Drawn) -> int:
    """The class that annotators gave to the place as a whole, where that is what counts."""
    view, grid = index.labels[one.slide], index.grids[one.slide]
    if spec.sampling.patch_label != "drawn" or not view.has_image_classes:
        return 0
    x, y = index.location(one.slide, one.top, one.left)
    return view.image_class((x, y, x + grid.side, y + grid.side))


def alignment(magnifications: Sequence[float]) -> int:
    """What the centre of a patch must be a multiple of, so that its surroundings have exactly the same centre.

    Examples
    --------
    >>> alignment((1.0, 2.0, 4.0))
    4
    >>> alignment((1.0, 1.5))
    1
    """
    if any(factor != int(factor) for factor in magnifications):
        return 1
    return math.lcm(*(int(factor) for factor in magnifications))
