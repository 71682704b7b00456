"""What of a patch's labels goes beyond the class of each pixel, as far as a spec asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_histoanno.datasets.instances import render_instances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_histoanno.datasets.grid import Grid
    from napari_histoanno.datasets.labels import SlideLabels
    from napari_histoanno.datasets.spec import LabelSpec

LABELS, ORIGINS, VALID, INSTANCES, SHARES = "labels", "origins", "valid", "instances", "shares"


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
        extras[INSTANCES] = render_instances(view, location, grid.downsample, view.render(*region))
        extras[VALID] = view.render_valid(*region)
    if spec.wants_shares:
        extras[SHARES] = view.render_shares(*region, class_ids)
    return extras
