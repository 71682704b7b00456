"""Synthetic slides: reproducible, consistent with their truth, coloured like stained tissue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from sample_data.generator import NUCLEUS_CLASSES, REGION_CLASSES, STYLES, SyntheticSlide, make_slide
from sample_data.generator.truth import NucleusTable
from sample_data.generator.write import write_mosaic, write_slide, write_truth

if TYPE_CHECKING:
    from pathlib import Path


def density(image: np.ndarray, glass: tuple[int, int, int]) -> np.ndarray:
    return -np.log((image.astype(float) + 1) / (np.asarray(glass) + 1))


def test_equal_seeds_give_equal_slides_and_others_do_not() -> None:
    first, again, other = (make_slide(seed, (512, 384)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.regions, again.regions)
    np.testing.assert_array_equal(first.instances, again.instances)
    assert first.nucleus_classes == again.nucleus_classes
    assert (first.regions != other.regions).mean() > 0.1


def test_shapes_types_and_ids(slide: SyntheticSlide) -> None:
    height, width = slide.regions.shape
    assert slide.image.shape == (height, width, 3)
    assert (slide.image.dtype, slide.regions.dtype, slide.instances.dtype) == (np.uint8, np.uint8, np.int32)
    assert slide.mpp == 0.5
    assert set(np.unique(slide.regions)) == set(REGION_CLASSES)
    ids = np.unique(slide.instances)
    np.testing.assert_array_equal(ids, np.arange(len(slide.nucleus_classes) + 1))
    assert set(slide.nucleus_classes.values()) == set(NUCLEUS_CLASSES)


def test_nuclei_lie_in_the_tissue_of_their_class(slide: SyntheticSlide) -> None:
    table = slide.nuclei()
    here = slide.regions[tuple(table.points[:, ::-1].astype(int).T)]
    shares = {
        kind: np.bincount(here[table.classes == kind], minlength=7) / (table.classes == kind).sum()
        for kind in NUCLEUS_CLASSES
    }
    assert shares[1][1] > 0.97
    assert shares[2][2] > 0.97
    assert shares[3][[1, 3, 4]].sum() > 0.95
    assert shares[4][[3, 4, 5]].sum() > 0.9
    assert np.bincount(here, minlength=7)[6] < 0.01 * len(here)


def test_nuclei_are_in_one_piece_and_of_natural_size(slide: SyntheticSlide) -> None:
    table = slide.nuclei()
    assert table.areas.min() >= 24
    median = {kind: float(np.median(table.areas[table.classes == kind])) for kind in NUCLEUS_CLASSES}
    # A lymphocyte is some 7 µm wide; malignant nuclei are the largest.
    assert 90 < median[3] < 190
    assert median[1] > 1.5 * median[3]
    assert median[1] > median[2]
    pieces = [
        ndimage.label(slide.instances[box] == i)[1] for i, box in enumerate(ndimage.find_objects(slide.instances), 1)
    ]
    assert np.mean(np.asarray(pieces) == 1) > 0.98


def test_ellipses_fit_the_masks(slide: SyntheticSlide) -> None:
    table = slide.nuclei()
    overlaps = []
    for row in range(0, len(table), 7):
        cx, cy, a, b, angle = table.ellipses[row]
        assert np.pi * a * b == pytest.approx(table.areas[row])
        y, x = np.mgrid[int(cy - a) - 2 : int(cy + a) + 3, int(cx - a) - 2 : int(cx + a) + 3]
        inside = (y >= 0) & (x >= 0) & (y < slide.regions.shape[0]) & (x < slide.regions.shape[1])
        y, x = y[inside], x[inside]
        dx, dy = x + 0.5 - cx, y + 0.5 - cy
        u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        ellipse, mask = (u / a) ** 2 + (v / b) ** 2 <= 1, slide.instances[y, x] == table.ids[row]
        overlaps.append((ellipse & mask).sum() / (ellipse | mask).sum())
    assert np.median(overlaps) > 0.88
    assert np.quantile(overlaps, 0.05) > 0.6


def test_boxes_are_tight_and_points_inside(slide: SyntheticSlide) -> None:
    table = slide.nuclei()
    for i, found in enumerate(ndimage.find_objects(slide.instances)):
        rows, columns = found
        assert table.boxes[i].tolist() == [
            columns.start,
            rows.start,
            columns.stop - columns.start,
            rows.stop - rows.start,
        ]
    columns, rows = table.points.astype(int).T
    np.testing.assert_array_equal(slide.instances[rows, columns], table.ids)


def test_table_of_a_known_shape() -> None:
    instances = np.zeros((10, 12), np.int32)
    instances[2:6, 3:9] = 7
    table = NucleusTable.measure(instances, {7: 2})
    assert (len(table), table.ids[0], table.classes[0], table.areas[0]) == (1, 7, 2, 24)
    cx, cy, a, b, angle = table.ellipses[0]
    assert (cx, cy, angle) == pytest.approx((6, 4, 0))
    assert a / b == pytest.approx(1.5)
    assert table.boxes[0].tolist() == [3, 2, 6, 4]


def test_an_empty_map_has_an_empty_table() -> None:
    table = NucleusTable.measure(np.zeros((5, 5), np.int32), {})
    assert len(table) == 0
    assert table.ellipses.shape == (0, 5)


def test_patch_labels_are_the_majority(slide: SyntheticSlide) -> None:
    labels = slide.patch_labels(128)
    assert labels.shape == (slide.regions.shape[0] // 128, slide.regions.shape[1] // 128)
    patch = slide.regions[128:256, 256:384]
    assert labels[1, 2] == np.bincount(patch.ravel()).argmax()


def test_glass_is_bright_and_even(slide: SyntheticSlide) -> None:
    deep = ndimage.binary_erosion(slide.regions == 6, iterations=12)
    glass = slide.image[deep].astype(float)
    assert np.abs(glass.mean(0) - STYLES[slide.style].glass).max() < 4
    assert glass.std(0).max() < 4


def test_optical_densities_are_those_of_stained_tissue(slide: SyntheticSlide) -> None:
    """Bounds around what public slides of both colour families show."""
    glass = STYLES[slide.style].glass
    stroma = density(slide.image[(slide.regions == 3) & (slide.instances == 0)], glass).mean(0)
    nuclei = density(slide.image[slide.instances > 0], glass).mean(0)
    assert 0.1 < stroma[0] < 0.45
    assert 0.5 < stroma[1] < 1.1
    assert stroma[1] > stroma[2] > stroma[0] - 0.05
    assert 0.6 < nuclei[0] < 1.5
    assert nuclei[1] > nuclei[2]
    assert nuclei[0] > 2 * stroma[0]
    fat = density(slide.image[slide.regions == 5], glass)
    assert np.median(fat) < 0.12


def test_nuclear_dye_orders_the_classes(slide: SyntheticSlide) -> None:
    """Lymphocytes are the darkest, malignant nuclei the most varied in size."""
    table = slide.nuclei()
    red = ndimage.mean(slide.image[..., 0], slide.instances, table.ids)
    assert red[table.classes == 3].mean() < red[table.classes == 1].mean() - 10
    spread_of = {kind: np.std(np.log(table.areas[table.classes == kind])) for kind in (1, 2)}
    assert spread_of[1] > 1.2 * spread_of[2]


def test_laboratories_differ() -> None:
    means = [make_slide(3, (512, 384), style).image.mean((0, 1)) for style in sorted(STYLES)]
    assert np.abs(means[0] - means[1]).max() > 12


def test_no_tile_repeats(slide: SyntheticSlide) -> None:
    """No place of the slide looks like another: correlation with itself, shifted, stays low."""
    grey = slide.image.mean(2)
    grey = ndimage.gaussian_filter(grey, 1) - ndimage.gaussian_filter(grey, 12)
    power = np.abs(np.fft.rfft2(grey)) ** 2
    correlation = np.fft.irfft2(power, grey.shape)
    correlation /= correlation[0, 0]
    correlation[:40, :40] = correlation[-40:, :40] = correlation[:40, -40:] = correlation[-40:, -40:] = 0
    assert np.abs(correlation).max() < 0.1


@pytest.mark.parametrize(
    ("size", "style", "message"), [((128, 512), "harbour", "at least 256"), ((512, 512), "x", "no stain style")]
)
def test_wrong_arguments_are_refused(size: tuple[int, int], style: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_slide(0, size, style)


@pytest.mark.parametrize("seed", range(4))
def test_the_smallest_slides_work(seed: int) -> None:
    assert make_slide(seed, (256, 256)).image.shape == (256, 256, 3)


def test_files_hold_what_was_written_and_are_equal_byte_for_byte(slide: SyntheticSlide, tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        write_slide(folder / "one.ome.tif", slide.image)
        write_truth(folder, "one", slide)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    with tifffile.TiffFile(tmp_path / "a" / "one.ome.tif") as tiff:
        series = tiff.series[0]
        assert [level.shape[1] for level in series.levels] == [1152, 576, 288]
        assert 'PhysicalSizeX="0.5"' in (tiff.ome_metadata or "")
        assert np.abs(series.asarray().astype(int) - slide.image).mean() < 6
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a" / "one.instances.tif"), slide.instances)


def test_a_mosaic_is_mirrored_without_a_seam(slide: SyntheticSlide, tmp_path: Path) -> None:
    height, width = slide.regions.shape
    write_mosaic(tmp_path / "big.ome.tif", slide.image, (2 * width, 2 * height))
    with tifffile.TiffFile(tmp_path / "big.ome.tif") as tiff:
        levels = tiff.series[0].levels
        assert levels[0].shape == (2 * height, 2 * width, 3)
        assert min(levels[-1].shape[:2]) <= 512
        whole = levels[0].asarray().astype(int)
    assert np.abs(whole[:, width - 1] - whole[:, width]).mean() < 4
    assert np.abs(whole[:height, :width] - slide.image).mean() < 6
    assert np.abs(whole[:height, width:] - slide.image[:, ::-1]).mean() < 6
