"""Pixels of a project's slides, read tile by tile, in the colours that a network shall see.

Training draws the same places again and again, each time a little shifted, and looks at their surroundings at lower
magnifications too. So every magnification is read in tiles that are kept, and a patch is put together from at most
four of them. Stains are normalised when a tile is read, which costs once.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_histoanno.datasets.frame import Frame
from napari_histoanno.datasets.stains import normaliser_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from histotrain.stain_use import SlideNormaliser
    from napari_histoanno.datasets.tiles import TileCache
    from napari_histoanno.project import Project
    from napari_histoanno.slides import Slide


class OpenSlides:
    """Slides of a project, opened when first read and kept open; thread-safe.

    Parameters
    ----------
    project : Project
        Whose slides they are.
    stain : mapping, optional
        Look to bring their colours into.
    """

    def __init__(self, project: Project, stain: Mapping[str, Any] | None = None) -> None:
        self._project = project
        self._stain = stain
        self._open: dict[str, Slide] = {}
        self._normalisers: dict[str, SlideNormaliser] = {}
        self._resources = ExitStack()
        self._lock = threading.Lock()

    def __getitem__(self, slide_id: str) -> Slide:
        with self._lock:
            if slide_id not in self._open:
                self._open[slide_id] = self._resources.enter_context(self._project.open_slide(slide_id))
            return self._open[slide_id]

    def read(
        self, slide_id: str, location: tuple[float, float], downsample: float, side: int, *, black: bool = False
    ) -> NDArray[np.uint8]:
        """A square of a slide, its stains normalised if that was asked for.

        Parameters
        ----------
        slide_id : str
            Which.
        location : (x, y)
            Level-0 position of the top-left corner.
        downsample : float
            Level-0 pixels per pixel.
        side : int
            Pixels.
        black : bool
            Black instead of white beyond the slide's edges.

        Returns
        -------
        uint8 array, shape (side, side, 3)
        """
        slide = self[slide_id]
        pixels = slide.read_scaled(location, downsample, (side, side))
        if self._stain is not None:
            pixels = self.normaliser(slide_id)(pixels)
        if black:
            columns, rows = Frame(location, downsample, (side, side)).centres()
            width, height = slide.dimensions
            out_x, out_y = (columns < 0) | (columns >= width), (rows < 0) | (rows >= height)
            if out_x.any() or out_y.any():
                pixels = np.where(out_y[:, None, None] | out_x[:, None], np.uint8(0), pixels)
        return pixels

    def normaliser(self, slide_id: str) -> SlideNormaliser:
        """The change of colours for a slide, measured when first asked for."""
        if self._stain is None:
            raise ValueError("no look to bring slides into was given")
        if slide_id not in self._normalisers:
            self._normalisers[slide_id] = normaliser_of(self[slide_id], self._stain)
        return self._normalisers[slide_id]

    @property
    def unnormalised(self) -> tuple[str, ...]:
        """Ids of the slides read so far whose stains could not be measured."""
        return tuple(sorted(slide for slide, found in self._normalisers.items() if found.reason))

    def close(self) -> None:
        """Close all of them; reading opens them again."""
        with self._lock:
            self._open.clear()
            self._resources.close()


class Pictures:
    """Patches of slides at any magnification, put together from tiles that are kept.

    Parameters
    ----------
    slides : OpenSlides
        Where they are read from.
    cache : TileCache
        Where tiles are kept.
    side : int
        Of a patch and of a tile, in pixels.
    """

    def __init__(self, slides: OpenSlides, cache: TileCache, side: int) -> None:
        self._slides = slides
        self._cache = cache
        self._side = side

    def cut(self, slide_id: str, downsample: float, top: int, left: int, *, black: bool = False) -> NDArray[np.uint8]:
        """A patch anywhere on the pixel grid of one magnification, uint8, shape (side, side, 3)."""
        side = self._side
        patch = np.empty((side, side, 3), np.uint8)
        for row, y_from, y_to in pieces(top, side):
            for column, x_from, x_to in pieces(left, side):
                patch[y_to, x_to] = self._tile(slide_id, downsample, row, column, black=black)[y_from, x_from]
        return patch

    def around(
        self, slide_id: str, downsample: float, top: int, left: int, factors: tuple[float, ...]
    ) -> NDArray[np.uint8]:
        """The surroundings of a patch: the same centre at lower magnifications, black beyond the slide's edges.

        Parameters
        ----------
        slide_id : str
            Which slide.
        downsample : float
            Level-0 pixels per pixel of the patch.
        top, left : int
            The patch's corner in its own pixels.
        factors : tuple of float
            Size of a pixel of each, relative to the patch's.

        Returns
        -------
        uint8 array, shape (len(factors), side, side, 3)
            Centred to half a pixel of each; exactly where the patch's centre is a multiple of the factors.
        """
        corners = [[round((start + self._side / 2) / f - self._side / 2) for start in (top, left)] for f in factors]
        return np.stack(
            [self.cut(slide_id, downsample * f, y, x, black=True) for f, (y, x) in zip(factors, corners, strict=True)]
        )

    def _tile(self, slide_id: str, downsample: float, row: int, column: int, *, black: bool) -> NDArray[np.uint8]:
        step = self._side * downsample
        return self._cache.get(
            (slide_id, downsample, row, column, black),
            lambda: self._slides.read(slide_id, (column * step, row * step), downsample, self._side, black=black),
        )


def pieces(start: int, side: int) -> list[tuple[int, slice, slice]]:
    """Tiles along one axis under a patch: the tile, which part of it, and where that part goes in the patch."""
    tile, offset = divmod(start, side)
    first = (tile, slice(offset, side), slice(0, side - offset))
    return [first, (tile + 1, slice(0, offset), slice(side - offset, side))] if offset else [first]
