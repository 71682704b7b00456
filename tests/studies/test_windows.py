"""Cutting patches: windows, surroundings of the same centre, and annotation with seams."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_histoanno.studies.windows import (
    annotated_places,
    cut,
    grid_places,
    partially_annotated,
    patches,
    surroundings,
)


def test_the_grid_covers_whole_windows_only() -> None:
    assert grid_places((70, 130), 64).tolist() == [[0, 0], [0, 64]]


def test_beyond_the_image_there_is_nothing() -> None:
    image = np.full((4, 4), 7, np.uint8)
    windows = cut(image, np.array([[-2, -2], [2, 3], [9, 0]]), 4)
    assert windows[0].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 7, 7], [0, 0, 7, 7]]
    assert windows[1].sum() == 2 * 1 * 7
    assert windows[2].sum() == 0


def test_surroundings_have_the_centre_of_their_target() -> None:
    """A marked centre stays in the centre at every magnification, and the edge is black."""
    image = np.full((256, 256, 3), 10, np.uint8)
    image[64 + 8 : 64 + 24, 128 + 8 : 128 + 24] = 250
    place = np.array([[64, 128]])
    around = surroundings(image, place, 32, (2, 4))
    assert around.shape == (1, 2, 32, 32, 3)
    for index, half in ((0, 4), (1, 2)):
        bright = np.argwhere(around[0, index, ..., 0] == 250)
        assert bright.min(0).tolist() == [16 - half, 16 - half]
        assert bright.max(0).tolist() == [15 + half, 15 + half]
    corner = surroundings(image, np.array([[0, 0]]), 32, (4,))[0, 0, ..., 0]
    assert (corner[:12] == 0).all()
    assert (corner[12:, 12:] > 0).all()


def test_partial_annotation_keeps_whole_components_but_their_seams() -> None:
    regions = np.full((60, 200), 3, np.uint8)
    for left in range(5, 190, 20):
        regions[20:40, left : left + 12] = 1
    marked = partially_annotated(regions, seam=2, share=0.5, rng=np.random.default_rng(0))
    assert set(np.unique(marked)) == {0, 1, 3}
    assert (regions[marked > 0] == marked[marked > 0]).all()
    parts, count = ndimage.label(regions == 1)
    inner = ndimage.binary_erosion(regions == 1, iterations=3)
    shares = [(marked[inner & (parts == i)] == 1).mean() for i in range(1, count + 1)]
    assert set(shares) == {0.0, 1.0}
    borders = ndimage.binary_dilation(regions == 1) ^ ndimage.binary_erosion(regions == 1)
    assert (marked[borders] == 0).all()


def test_windows_need_their_share_of_labels() -> None:
    labels = np.zeros((64, 192), np.uint8)
    labels[:8, 64:128] = 1
    labels[:, 128:] = 2
    assert annotated_places(labels, 64, 0.01).tolist() == [[0, 64], [0, 128]]
    assert annotated_places(labels, 64, 0.5).tolist() == [[0, 128]]
    image = np.zeros((64, 192, 3), np.uint8)
    found = patches(image, labels, annotated_places(labels, 64, 0.5), 64, {2: "two", 1: "one"}, factors=(2,))
    assert found.contexts is not None
    assert found.contexts.shape == (1, 1, 64, 64, 3)
    assert found.class_ids == (2, 1)
