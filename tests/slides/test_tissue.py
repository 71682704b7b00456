"""Tissue is found, glass, dust and ink are not; boxes are measured exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_histoanno.slides import TissueMask, open_slide, tissue_mask
from napari_histoanno.slides.tissue import saturated, tissue_of
from tests.slides.pictures import write_pyramid

if TYPE_CHECKING:
    from pathlib import Path

EOSIN, HAEMATOXYLIN, GLASS = (226, 150, 190), (120, 80, 150), (243, 241, 244)


def section(height: int, width: int, glass: tuple[int, int, int] = GLASS) -> np.ndarray:
    """A disc of stroma with nuclei on noisy glass; the disc has a quarter of the side as its radius."""
    rng = np.random.default_rng(0)
    image = np.full((height, width, 3), glass, np.uint8)
    centre, radius = (width // 2, height // 2), min(height, width) // 4
    cv2.circle(image, centre, radius, EOSIN, -1)
    for angle, distance in zip(rng.uniform(0, 6.3, 400), np.sqrt(rng.uniform(0, 1, 400)) * (radius - 4), strict=True):
        place = int(centre[0] + distance * np.cos(angle)), int(centre[1] + distance * np.sin(angle))
        cv2.circle(image, place, 2, HAEMATOXYLIN, -1)
    return np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("glass", [GLASS, (255, 255, 255), (238, 232, 214), (215, 215, 215)])
def test_a_section_on_glass_of_any_tint(glass: tuple[int, int, int]) -> None:
    mask = tissue_of(section(400, 500, glass), mpp=8)
    y, x = np.mgrid[:400, :500] + 0.5
    assert iou(mask, np.hypot(x - 250, y - 200) < 100) > 0.95


@pytest.mark.parametrize("colour", [GLASS, (255, 255, 255), (238, 232, 214), (200, 200, 200)])
def test_all_glass(colour: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(1).normal(0, 2, (200, 300, 3))
    assert not tissue_of(np.clip(colour + noise, 0, 255).astype(np.uint8), mpp=8).any()


def test_all_tissue() -> None:
    image = section(400, 400)[130:270, 130:270]
    assert tissue_of(image, mpp=8).all()


def test_dust_is_dropped_and_holes_are_filled() -> None:
    image = np.full((300, 300, 3), GLASS, np.uint8)
    cv2.circle(image, (100, 150), 60, EOSIN, 15)
    cv2.circle(image, (250, 50), 3, (60, 60, 60), -1)
    mask = tissue_of(image, mpp=8)
    assert mask[150, 100]
    assert not mask[40:60, 240:260].any()


def test_a_pen_mark_is_no_tissue() -> None:
    image = section(400, 500)
    cv2.line(image, (30, 20), (460, 30), (200, 40, 45), 15)
    mask = tissue_of(cv2.GaussianBlur(image, (5, 5), 0), mpp=8)
    assert mask[200, 250]
    assert not mask[:60].any()


def test_the_mask_covers_the_slide(tmp_path: Path) -> None:
    image = cv2.resize(section(400, 500), (2000, 1600), interpolation=cv2.INTER_NEAREST)
    with open_slide(write_pyramid(tmp_path / "slide.tif", [image], resolution=(5000, 5000), resolutionunit=3)) as slide:
        tissue = tissue_mask(slide, mpp=8)
    assert (tissue.downsample, tissue.mask.shape) == (4, (400, 500))
    assert tissue.bounds == pytest.approx((600, 400, 800, 800), abs=12)
    assert tissue.fraction(0, 0, 2000, 1600) == pytest.approx(np.pi * 400**2 / (2000 * 1600), rel=0.03)
    assert tissue.fraction(900, 700, 100, 100) == 1
    assert tissue.fraction(-500, -500, 400, 400) == 0


def test_no_tissue_has_no_bounds() -> None:
    tissue = TissueMask(np.zeros((5, 7), bool), 16)
    assert tissue.bounds is None
    assert tissue.fraction(0, 0, 100, 100) == 0
    assert tissue.fraction(0, 0, 0, 100) == 0


@given(
    mask=hnp.arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 6))),
    x=st.integers(-8, 30),
    y=st.integers(-8, 30),
    w=st.integers(1, 30),
    h=st.integers(1, 30),
)
def test_fractions_are_counted_pixel_by_pixel(mask: np.ndarray, x: int, y: int, w: int, h: int) -> None:
    fine = np.zeros((80, 80), bool)
    fine[10 : 10 + 4 * mask.shape[0], 10 : 10 + 4 * mask.shape[1]] = np.kron(mask, np.ones((4, 4), bool))
    expected = fine[y + 10 : y + 10 + h, x + 10 : x + 10 + w].mean()
    assert TissueMask(mask, 4).fraction(x, y, w, h) == pytest.approx(expected)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "expected", "least"),
    [
        ("diagnostic-slide-thumb-rgb", "tissue-mask-diagnostic-slide-thumb-rgb", 0.95),
        ("diagnostic-slide-thumb-gs", "tissue-mask-diagnostic-slide-thumb-rgb", 0.92),
        ("tcga-lung-rgb", "tissue-mask-tcga-lung-rgb", 0.85),
        ("tissue-level2-3000-7666-7096-11763", "tissue-mask-tissue-level2-3000-7666-7096-11763", 0.9),
        ("high-nuclei-score-level2", "tile-tissue-mask-high-nuclei-score-level2", 0.9),
    ],
)
def test_agrees_with_published_masks(real_data: Path, name: str, expected: str, least: float) -> None:
    """Those masks keep small gaps that ours closes on purpose, hence bounds below 1."""
    folder = real_data / "oracles" / "tissue_mask"
    with open_slide(folder / "input" / f"{name}.png") as slide:
        mask = tissue_of(slide.pyramid[0][:], mpp=8)
    assert iou(mask, np.load(folder / "expected" / f"{expected}.npz")["mask"]) >= least


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["almost-white-1", "no-tissue", "no-tissue-red-pen"])
def test_hard_negatives(real_data: Path, name: str) -> None:
    with open_slide(real_data / "oracles" / "tissue_mask" / "input" / f"{name}.png") as slide:
        assert tissue_of(slide.pyramid[0][:], mpp=8).mean() < 0.01


@pytest.mark.real_data
def test_the_real_slide(real_data: Path) -> None:
    """The published mask of this slide is dilated by some 40 µm: ours lies inside it and covers most of it."""
    with open_slide(real_data / "slides" / "CMU-1-Small-Region.svs") as slide:
        mask = tissue_mask(slide).mask
    expected = np.load(real_data / "oracles/tissue_mask/expected/tissue-mask-cmu-1-small-region.npz")["mask"]
    expected = cv2.resize(expected.astype(np.uint8), mask.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    assert (mask & ~expected).mean() < 0.01
    assert iou(mask, expected) > 0.8


def test_saturation_above_a_tenth_is_foreground_with_its_holes_filled() -> None:
    image = np.full((100, 200, 3), (240, 240, 240), np.uint8)
    image[10:90, 10:90] = (240, 210, 240)  # saturation 30 / 240
    image[10:90, 110:190] = (240, 218, 240)  # 22 / 240: below a tenth
    image[40:60, 40:60] = 250  # a hole
    image[5, 150] = (200, 0, 0)  # a speck
    mask = saturated(image, mpp=8.0)
    expected = np.zeros((100, 200), bool)
    expected[10:90, 10:90] = True
    assert not mask[:, 100:].any()
    assert mask[40:60, 40:60].all()
    assert iou(mask, expected) > 0.99


def test_foreground_by_saturation_of_a_slide(tmp_path: Path) -> None:
    image = cv2.resize(section(400, 500), (2000, 1600), interpolation=cv2.INTER_NEAREST)
    with open_slide(write_pyramid(tmp_path / "slide.tif", [image], resolution=(5000, 5000), resolutionunit=3)) as slide:
        found = tissue_mask(slide, method="hsv")
        assert iou(found.mask, tissue_mask(slide).mask) > 0.9
