"""A click finds its object, stays out of others, and is never left empty-handed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.color import rgb2hed

from napari_histoanno.annotation import (
    AnnotationError,
    Channel,
    ClickMethod,
    ClickOptions,
    Ellipse,
    click_masks,
    rasterize,
)
from napari_histoanno.annotation.nuclear import nuclear_channel

METHODS = pytest.mark.parametrize("method", ClickMethod)


def picture(*nuclei: Ellipse, size: tuple[int, int] = (120, 90), seed: int = 0) -> np.ndarray:
    """Noisy nuclei on pink stroma."""
    mask = ndimage.gaussian_filter(rasterize([(n, 1) for n in nuclei], size).astype(float), 1)[..., None]
    rng = np.random.default_rng(seed)
    image = mask * (95, 60, 140) + (1 - mask) * (225, 170, 205) + rng.normal(0, 6, (*mask.shape[:2], 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def overlap(labels: np.ndarray, value: int, nucleus: Ellipse) -> float:
    found, truth = labels == value, rasterize([(nucleus, 1)], labels.shape[::-1]).astype(bool)
    return float((found & truth).sum() / (found | truth).sum())


@METHODS
def test_finds_touching_nuclei(method: ClickMethod) -> None:
    nuclei = [Ellipse(40, 45, 14, 9, 0.5), Ellipse(62, 45, 10, 10), Ellipse(100, 20, 7, 6)]
    found = click_masks(picture(*nuclei), [(n.cx, n.cy) for n in nuclei], method=method)
    assert [overlap(found.labels, n + 1, nucleus) > 0.75 for n, nucleus in enumerate(nuclei)] == [True] * 3
    assert (found.confidence > 0.6).all()


@METHODS
def test_exclusion_keeps_out_of_the_neighbour(method: ClickMethod) -> None:
    ours, other = Ellipse(40, 45, 11, 11), Ellipse(60, 45, 11, 11)
    image = picture(ours, other)
    found = click_masks(image, [(40, 45)], method=method, exclusion=[(60, 45)])
    assert overlap(found.labels, 1, ours) > 0.75
    assert found.labels[45, 60] == 0


def test_contour_alone_stops_at_the_neighbour() -> None:
    ours, other = Ellipse(40, 45, 11, 11), Ellipse(63, 45, 11, 11)
    found = click_masks(picture(ours, other), [(40, 45)])
    assert overlap(found.labels, 1, ours) > 0.7


@METHODS
def test_nothing_there_gives_a_small_disc_without_confidence(method: ClickMethod) -> None:
    found = click_masks(np.full((50, 60, 3), 240, np.uint8), [(30, 20), (0, 0)], method=method)
    assert found.confidence.tolist() == [0, 0]
    sizes = np.bincount(found.labels.ravel(), minlength=3)[1:]
    assert (sizes > 0).all()
    assert (sizes < 60).all()
    assert found.labels[20, 30] == 1


@METHODS
def test_box_keeps_the_mask_inside(method: ClickMethod) -> None:
    nuclei = [Ellipse(40, 45, 14, 9), Ellipse(66, 45, 12, 12)]
    box = (26, 36, 54, 54)
    found = click_masks(picture(*nuclei), [(40, 45)], method=method, boxes=[box])
    rows, cols = np.nonzero(found.labels)
    assert cols.min() >= 26
    assert cols.max() < 54
    assert rows.min() >= 36
    assert rows.max() < 54
    assert overlap(found.labels, 1, nuclei[0]) > 0.75


@METHODS
def test_max_radius_bounds_the_mask(method: ClickMethod) -> None:
    options = ClickOptions(max_radius=8, min_radius=2)
    found = click_masks(picture(Ellipse(60, 45, 40, 30)), [(60, 45)], method=method, options=options)
    rows, cols = np.nonzero(found.labels)
    assert np.hypot(cols + 0.5 - 60, rows + 0.5 - 45).max() <= 9


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.sampled_from(ClickMethod), st.sets(st.tuples(st.integers(0, 39), st.integers(0, 29))))
def test_every_click_gets_its_own_pixel(seed: int, method: ClickMethod, clicks: set[tuple[int, int]]) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)
    points = np.array(sorted(clicks), float).reshape(-1, 2) + 0.5
    found = click_masks(image, points, method=method, options=ClickOptions(max_radius=12, min_radius=2))
    assert [found.labels[int(y), int(x)] for x, y in points] == list(range(1, len(points) + 1))
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()


def test_same_click_same_mask() -> None:
    image = picture(Ellipse(40, 45, 14, 9))
    for method in ClickMethod:
        one, two = (click_masks(image, [(40, 45)], method=method).labels for _ in range(2))
        np.testing.assert_array_equal(one, two)


def test_haematoxylin_equals_scikit_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    ours = nuclear_channel(image, Channel.HAEMATOXYLIN)
    theirs = rgb2hed(image)[..., 0] * -np.log(1e-6)  # scikit-image counts density in units of log(1e-6)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_options_in_micrometres() -> None:
    assert ClickOptions.at(0.25, max_radius_um=10).max_radius == 40


@pytest.mark.parametrize(
    ("points", "options"),
    [
        ([(60, 5)], {}),
        ([(5, -1)], {}),
        ([(5, 5), (5.5, 5.2)], {}),
        ([(5, 5)], {"boxes": np.zeros((2, 4))}),
    ],
)
def test_refuses_clicks_it_cannot_place(points: list, options: dict) -> None:
    with pytest.raises(AnnotationError):
        click_masks(np.zeros((50, 60, 3), np.uint8), points, **options)


def test_refuses_other_images_and_options() -> None:
    with pytest.raises(AnnotationError, match="RGB"):
        click_masks(np.zeros((5, 5), np.uint8), [(1, 1)])
    with pytest.raises(AnnotationError, match="radii"):
        ClickOptions(max_radius=2, min_radius=3)
