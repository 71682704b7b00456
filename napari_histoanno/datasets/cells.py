"""What is annotated in a project, cell by cell, and the tiles to put labels together from.

A cell is one patch of a fixed grid. The index counts the labelled pixels of every class in every annotated cell,
which is what drawing and holding out go by; labels are rendered cell by cell too and kept, as images are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_histoanno.datasets.extras import EXHAUSTIVE, LABELS, ORIGINS
from napari_histoanno.datasets.grid import Grid, count_labels
from napari_histoanno.datasets.labels import SlideLabels
from napari_histoanno.datasets.patches import chosen_slides
from napari_histoanno.datasets.reading import Pictures, pieces
from napari_histoanno.datasets.splits import check_patients
from napari_histoanno.datasets.tiles import TileCache
from napari_histoanno.datasets.whole import labelled_as_a_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_histoanno.datasets.holdout import HeldOut
    from napari_histoanno.datasets.reading import OpenSlides
    from napari_histoanno.datasets.spec import SamplingSpec
    from napari_histoanno.project import Project


class AnnotatedCells:
    """All annotated cells of the slides that a spec asks for, without those set aside for testing.

    Parameters
    ----------
    project : Project
        Where the annotations are.
    spec : SamplingSpec
        What is asked for.
    slides : OpenSlides
        The project's.
    images : TileCache
        Shared between successive indices, since images do not change.

    Attributes
    ----------
    where : int64 array, shape (N, 3)
        Slide number (index into ``records``), row and column.
    counts : int64 array, shape (N, C)
        Pixels of each class id up to the highest that is shown; column 0 is the unlabelled ones.
    classes : uint8 array, shape (N,)
        Class that was given to the cell as a whole, 0 for none; none are looked for where no patch classes are wanted.
    """

    def __init__(self, project: Project, spec: SamplingSpec, slides: OpenSlides, images: TileCache) -> None:
        options = spec.render_options(project.scheme)
        self.side = spec.patch_size
        self.records = tuple(record for record in chosen_slides(project, spec) if record.split != "test")
        check_patients(self.records)
        self.labels = tuple(SlideLabels(project, record.id, options) for record in self.records)
        self.grids = tuple(Grid(self.side, self.side, spec.mpp / view.mpp, view.extent) for view in self.labels)
        self.slides = slides
        self.pictures = Pictures(slides, images, self.side)
        self._planes = [LABELS, *([ORIGINS] if spec.origins else []), *([EXHAUSTIVE] if spec.wants_instances else [])]
        self._label_tiles = TileCache(spec.cache_bytes // 4)
        columns = options.highest(project.scheme) + 1
        found = [self._cells(number, spec) for number in range(len(self.records))]
        self.where = np.concatenate([np.zeros((0, 3), np.int64), *(cells for cells, _, _ in found)])
        self.counts = np.concatenate([np.zeros((0, columns), np.int64), *(counts for _, counts, _ in found)])
        self.classes = np.concatenate([np.zeros(0, np.uint8), *(classes for _, _, classes in found)])

    def _cells(self, number: int, spec: SamplingSpec) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
        view, grid = self.labels[number], self.grids[number]
        places, counts = count_labels(view, grid)
        classes = np.zeros(len(places), np.uint8)
        if spec.wants_patch_classes and view.has_image_classes:
            places, counts, classes = labelled_as_a_whole(view, grid, self.slides[view.record.id], places, counts)
        return np.insert(places, 0, number, axis=1), counts, classes

    @property
    def corners(self) -> NDArray[np.int64]:
        """Cells as places: slide number, and top and left in pixels of that slide's grid, shape (N, 3)."""
        places: NDArray[np.int64] = self.where * np.array([1, self.side, self.side])
        return places

    @property
    def said(self) -> NDArray[np.int64]:
        """As ``counts``, but a cell that has a class as a whole, and no labelled pixels, counts as full of it."""
        counts = self.counts.copy()
        whole = np.flatnonzero((self.classes > 0) & ~self.counts[:, 1:].any(axis=1))
        counts[whole, self.classes[whole]] = counts[whole, 0]
        counts[whole, 0] = 0
        return counts

    def inside(self, held: HeldOut, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which places (slide number, top, left) lie in what is held out."""
        return self._placewise(held.inside, places)

    def lost(self, held: HeldOut, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which places (slide number, top, left) are lost to training because of what is held out."""
        return self._placewise(held.lost, places)

    def _placewise(
        self, ask: Callable[[str, NDArray[np.float64], float], NDArray[np.bool_]], places: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        found = np.zeros(len(places), bool)
        for number, (record, grid) in enumerate(zip(self.records, self.grids, strict=True)):
            here = places[:, 0] == number
            found[here] = ask(record.id, places[here][:, :0:-1] * grid.downsample, grid.side)
        return found

    def label_tile(self, slide: int, row: int, column: int) -> NDArray[np.uint8]:
        """What one cell's labels are, in the planes asked for, uint8, shape (P, side, side); not to be written to."""
        return self._label_tiles.get((slide, row, column), lambda: self._render(slide, row, column))

    def _render(self, slide: int, row: int, column: int) -> NDArray[np.uint8]:
        view, grid = self.labels[slide], self.grids[slide]
        region = (grid.location(row, column), grid.downsample, (self.side, self.side))
        planes = list(view.render_origins(*region)) if ORIGINS in self._planes else [view.render(*region)]
        if EXHAUSTIVE in self._planes:
            planes.append(view.render_exhaustive(*region).astype(np.uint8))
        return np.stack(planes)

    def labels_of(self, slide: int, top: int, left: int) -> dict[str, NDArray[np.uint8]]:
        """Planes of a patch anywhere on the cells' pixel grid, by name, each uint8, shape (side, side)."""
        planes = np.empty((len(self._planes), self.side, self.side), np.uint8)
        for row, y_from, y_to in pieces(top, self.side):
            for column, x_from, x_to in pieces(left, self.side):
                planes[:, y_to, x_to] = self.label_tile(slide, row, column)[:, y_from, x_from]
        return dict(zip(self._planes, planes, strict=True))

    def image_of(self, slide: int, top: int, left: int) -> NDArray[np.uint8]:
        """RGB of a patch anywhere on the cells' pixel grid, uint8, shape (side, side, 3)."""
        return self.pictures.cut(self.records[slide].id, self.grids[slide].downsample, top, left)

    def around(self, slide: int, top: int, left: int, factors: tuple[float, ...]) -> NDArray[np.uint8]:
        """Its surroundings at lower magnifications; see `Pictures.around`."""
        return self.pictures.around(self.records[slide].id, self.grids[slide].downsample, top, left, factors)

    def location(self, slide: int, top: int, left: int) -> tuple[float, float]:
        """Level-0 (x, y) of a place's corner."""
        downsample = self.grids[slide].downsample
        return (left * downsample, top * downsample)
