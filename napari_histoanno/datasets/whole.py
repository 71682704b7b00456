"""Patches that are labelled as a whole: wherever a slide, or a part of it, has a class and shows tissue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_histoanno.slides.tissue import tissue_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_histoanno.annotation import Bounds
    from napari_histoanno.datasets.grid import Grid
    from napari_histoanno.datasets.labels import SlideLabels
    from napari_histoanno.slides import Slide

LEAST_TISSUE = 0.5


def classes_on_tissue(view: SlideLabels, grid: Grid, slide: Slide) -> dict[tuple[int, int], int]:
    """Patches of a grid that are labelled as a whole and show tissue: class by row and column.

    Parameters
    ----------
    view : SlideLabels
        What is annotated.
    grid : Grid
        Where the patches lie.
    slide : Slide
        To find its tissue; at least half of a patch must be tissue.
    """
    tissue = tissue_mask(slide)
    found = {}
    for row, column in np.ndindex(*grid.shape):
        x, y = grid.location(row, column)
        if tissue.fraction(x, y, grid.side, grid.side) >= LEAST_TISSUE and (
            class_id := view.image_class(box_at(grid, row, column))
        ):
            found[row, column] = class_id
    return found


def labelled_as_a_whole(
    view: SlideLabels, grid: Grid, slide: Slide, places: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Annotated patches together with those that are labelled as a whole.

    Parameters
    ----------
    view, grid, slide
        As for `classes_on_tissue`.
    places : int64 array, shape (N, 2)
        Row and column of the patches in which pixels are labelled.
    counts : int64 array, shape (N, C)
        Their pixels of each class.

    Returns
    -------
    places, counts : int64 arrays, shapes (M, 2) and (M, C)
        Those of both, sorted by row and column.
    classes : uint8 array, shape (M,)
        Class of each as a whole, 0 for none.
    """
    found = classes_on_tissue(view, grid, slide)
    known = {(int(row), int(column)) for row, column in places}
    fresh = np.array(sorted(set(found) - known), np.int64).reshape(-1, 2)
    nothing = np.zeros((len(fresh), counts.shape[1]), np.int64)
    nothing[:, 0] = grid.patch**2
    places, counts = np.concatenate([places, fresh]), np.concatenate([counts, nothing])
    order = np.lexsort((places[:, 1], places[:, 0]))
    places, counts = places[order], counts[order]
    classes = np.array([view.image_class(box_at(grid, int(r), int(c))) for r, c in places], np.uint8)
    return places, counts, classes


def box_at(grid: Grid, row: int, column: int) -> Bounds:
    """Level-0 box (x0, y0, x1, y1) of a patch of a grid."""
    x, y = grid.location(row, column)
    return (x, y, x + grid.side, y + grid.side)
