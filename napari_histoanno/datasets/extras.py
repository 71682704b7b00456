"""What of a patch's labels goes beyond the class of each pixel, as far as a spec asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_histoanno.datasets.instances import render_instances

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_histoanno.datasets.grid import Grid
    from napari_histoanno.datasets.labels import SlideLabels
    from napari_histoanno.datasets.spec import LabelSpec

LABELS, ORIGINS, VALID, INSTANCES, SHARES = "labels", "origins", "valid", "instances", "shares"
EXHAUSTIVE = "exhaustive"


def label_extras(
    view: SlideLabels, grid: Grid, location: tuple[float, float], spec: LabelSpec, class_ids: Sequence[int]
) -> dict[str, NDArray[Any]]:
    """Fields of a PatchSet for one patch, beside its image and its labels.

    Parameters
    ----------
    view : SlideLabels
        What is annotated.
    grid : Grid
        Side and resolution of the patch.
    location : (x, y)
        Its level-0 corner.
    spec : LabelSpec
        What is asked for.
    class_ids : sequence of int
        Order of the classes in shares.

    Returns
    -------
    dict from name to array
        ``origins``, ``instances`` with ``valid``, ``shares``; see ``histotrain.PatchSet``.
    """
    region = (location, grid.downsample, (grid.patch, grid.patch))
    extras: dict[str, NDArray[Any]] = {}
    if spec.origins:
        extras[ORIGINS] = view.render_origins(*region)[1]
    if spec.wants_instances:
        labels = view.render(*region)
        extras[INSTANCES] = render_instances(view, location, grid.downsample, labels)
        extras[VALID] = known_objects(view, view.render_exhaustive(*region), extras[INSTANCES], labels)
    if spec.wants_shares:
        extras[SHARES] = view.render_shares(*region, class_ids)
    return extras


def known_objects(
    view: SlideLabels, exhaustive: NDArray[Any], instances: NDArray[np.int32], labels: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Where it is known which object there is, or that there is none.

    Inside exhaustive regions; elsewhere on objects and on what is labelled as background. A scribble or a class of
    another kind says nothing of the objects in it.

    Parameters
    ----------
    view : SlideLabels
        For the background class.
    exhaustive : array, shape (H, W)
        Not 0 where everything is annotated.
    instances : int32 array, shape (H, W)
        Object numbers.
    labels : uint8 array, shape (H, W)
        Class ids.

    Returns
    -------
    bool array, shape (H, W)
    """
    background = view.scheme.background
    known: NDArray[np.bool_] = (exhaustive != 0) | (instances > 0)
    if background is not None:
        known |= labels == background.id
    return known
