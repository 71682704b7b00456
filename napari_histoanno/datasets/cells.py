"""What is annotated in a project, cell by cell, and the tiles to put patches together from.

A cell is one patch of a fixed grid. The index counts the labelled pixels of every class in every annotated cell,
which is what drawing and holding out go by; images and labels are read cell by cell too and kept, because training
draws the same places again and again, each time a little shifted, and a patch is put together from at most four
cells.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from napari_histoanno.datasets.grid import Grid, count_labels
from napari_histoanno.datasets.labels import SlideLabels
from napari_histoanno.datasets.patches import chosen_slides
from napari_histoanno.datasets.splits import check_patients
from napari_histoanno.datasets.tiles import TileCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_histoanno.datasets.holdout import HeldOut
    from napari_histoanno.datasets.spec import SamplingSpec
    from napari_histoanno.project import Project
    from napari_histoanno.slides import Slide


class OpenSlides:
    """Slides of a project, opened when first read and kept open; thread-safe."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._open: dict[str, Slide] = {}
        self._resources = ExitStack()
        self._lock = threading.Lock()

    def __getitem__(self, slide_id: str) -> Slide:
        with self._lock:
            if slide_id not in self._open:
                self._open[slide_id] = self._resources.enter_context(self._project.open_slide(slide_id))
            return self._open[slide_id]

    def close(self) -> None:
        """Close all of them; reading opens them again."""
        with self._lock:
            self._open.clear()
            self._resources.close()


class AnnotatedCells:
    """All annotated cells of the slides that a spec asks for, without those set aside for testing.

    Parameters
    ----------
    project : Project
    spec : SamplingSpec
    slides : OpenSlides
    images : TileCache
        Shared between successive indices, since images do not change.

    Attributes
    ----------
    where : int64 array, shape (N, 3)
        Slide number (index into ``records``), row and column.
    counts : int64 array, shape (N, C)
        Pixels of each class id up to the highest that is shown; column 0 is the unlabelled ones.
    """

    def __init__(self, project: Project, spec: SamplingSpec, slides: OpenSlides, images: TileCache) -> None:
        options = spec.render_options(project.scheme)
        self.side = spec.patch_size
        self.records = tuple(record for record in chosen_slides(project, spec) if record.split != "test")
        check_patients(self.records)
        self.labels = tuple(SlideLabels(project, record.id, options) for record in self.records)
        self.grids = tuple(Grid(self.side, self.side, spec.mpp / view.mpp, view.extent) for view in self.labels)
        found = [count_labels(view, grid) for view, grid in zip(self.labels, self.grids, strict=True)]
        cells = [np.insert(places, 0, number, axis=1) for number, (places, _) in enumerate(found)]
        self.where = np.concatenate([np.zeros((0, 3), np.int64), *cells])
        columns = options.highest(project.scheme) + 1
        self.counts = np.concatenate([np.zeros((0, columns), np.int64), *(counts for _, counts in found)])
        self._slides = slides
        self._images = images
        self._label_tiles = TileCache(spec.cache_bytes // 4)

    def inside(self, held: HeldOut) -> NDArray[np.bool_]:
        """Which cells lie in what is held out."""
        return self._cellwise(held.inside)

    def lost(self, held: HeldOut) -> NDArray[np.bool_]:
        """Which cells are lost to training because of what is held out."""
        return self._cellwise(held.lost)

    def _cellwise(self, ask: Callable[[str, NDArray[np.float64], float], NDArray[np.bool_]]) -> NDArray[np.bool_]:
        found = np.zeros(len(self.where), bool)
        for number, (record, grid) in enumerate(zip(self.records, self.grids, strict=True)):
            here = self.where[:, 0] == number
            found[here] = ask(record.id, self.where[here][:, :0:-1] * grid.side, grid.side)
        return found

    def label_tile(self, slide: int, row: int, column: int) -> NDArray[np.uint8]:
        """Class ids of one cell, uint8, shape (side, side); not to be written to."""
        grid = self.grids[slide]
        return self._label_tiles.get(
            (slide, row, column),
            lambda: self.labels[slide].render(grid.location(row, column), grid.downsample, (self.side, self.side)),
        )

    def image_tile(self, slide: int, row: int, column: int) -> NDArray[np.uint8]:
        """RGB of one cell, uint8, shape (side, side, 3); not to be written to."""
        grid, name = self.grids[slide], self.records[slide].id
        return self._images.get(
            (name, grid.downsample, row, column),
            lambda: self._slides[name].read_scaled(grid.location(row, column), grid.downsample, (self.side, self.side)),
        )

    def cut(self, places: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Patches anywhere on the cells' pixel grid.

        Parameters
        ----------
        places : int64 array, shape (N, 3)
            Slide number, and top and left in pixels of that slide's grid.

        Returns
        -------
        images : uint8 array, shape (N, side, side, 3)
        labels : uint8 array, shape (N, side, side)
        """
        images = np.empty((len(places), self.side, self.side, 3), np.uint8)
        labels = np.empty((len(places), self.side, self.side), np.uint8)
        for number, (slide, top, left) in enumerate(places.tolist()):
            for row, y_from, y_to in _pieces(top, self.side):
                for column, x_from, x_to in _pieces(left, self.side):
                    images[number, y_to, x_to] = self.image_tile(slide, row, column)[y_from, x_from]
                    labels[number, y_to, x_to] = self.label_tile(slide, row, column)[y_from, x_from]
        return images, labels


def _pieces(start: int, side: int) -> list[tuple[int, slice, slice]]:
    """Cells along one axis under a patch: the cell, which part of it, and where that part goes in the patch."""
    cell, offset = divmod(start, side)
    first = (cell, slice(offset, side), slice(0, side - offset))
    return [first, (cell + 1, slice(0, offset), slice(side - offset, side))] if offset else [first]
