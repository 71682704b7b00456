"""Every kind of TIFF that writers produce reads as the picture that was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from napari_histoanno.slides import SlideError, open_slide
from tests.slides.pictures import halved, picture, smooth_picture, write_ome, write_pyramid

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = picture(300, 420)


def whole(path: Path, level: int = 0) -> np.ndarray:
    with open_slide(path) as slide:
        known = slide.levels[level]
        return slide.read_region((0, 0), level, (known.width, known.height))


@pytest.mark.parametrize(
    "options",
    [
        {"compression": None},
        {"compression": "lzw"},
        {"compression": "lzw", "predictor": True},
        {"compression": "deflate", "predictor": True},
        {"compression": "zstd"},
        {"compression": "packbits"},
        {"compression": "lzma"},
        {"compression": "png"},
        {"compression": "webp", "compressionargs": {"level": -1}},
        {"compression": "jpeg2000", "compressionargs": {"level": 0}},
        {"compression": "jpegxl", "compressionargs": {"lossless": True}},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"planarconfig": "separate"},
        {"planarconfig": "separate", "compression": None},
        {"planarconfig": "separate", "tile": None, "rowsperstrip": 7},
        {"tile": None, "rowsperstrip": 16, "compression": "lzw"},
        {"tile": None, "rowsperstrip": 1, "compression": None},
        {"tile": None, "rowsperstrip": 420, "compression": None},
        {"tile": (16, 512)},
    ],
    ids=lambda options: "-".join(f"{k}={v}" for k, v in options.items()),
)
def test_lossless_encodings_are_exact(tmp_path: Path, options: dict[str, Any]) -> None:
    image = IMAGE if options.get("planarconfig") != "separate" else np.moveaxis(IMAGE, -1, 0)
    path = write_pyramid(tmp_path / "slide.tif", [image], **{"metadata": None, **options})
    np.testing.assert_array_equal(whole(path), IMAGE)


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=-1).astype(np.uint8)


def test_grey_palette_bilevel_and_inverted(tmp_path: Path) -> None:
    values = IMAGE[..., 2]
    path = write_pyramid(tmp_path / "grey.tif", [values], photometric="minisblack")
    np.testing.assert_array_equal(whole(path), grey(values))
    path = write_pyramid(tmp_path / "inverted.tif", [values], photometric="miniswhite")
    np.testing.assert_array_equal(whole(path), grey(255 - values))
    colours = np.random.default_rng(0).integers(0, 256, (3, 256), np.uint16)
    path = write_pyramid(tmp_path / "palette.tif", [values], photometric="palette", colormap=colours * 257)
    np.testing.assert_array_equal(whole(path), colours.T.astype(np.uint8)[values])
    path = write_pyramid(tmp_path / "bilevel.tif", [values > 90], photometric="minisblack", compression=None)
    np.testing.assert_array_equal(whole(path), grey((values > 90) * 255))


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_more_than_eight_bits_keep_the_highest_eight_in_use(tmp_path: Path, bits: int) -> None:
    deep = IMAGE.astype(np.uint16) << (bits - 8) | 3
    path = write_pyramid(tmp_path / "deep.tif", [deep, deep[::4, ::4]])
    np.testing.assert_array_equal(whole(path), IMAGE)
    np.testing.assert_array_equal(whole(path, 1), IMAGE[::4, ::4])


def test_floats(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "float.tif", [(IMAGE / 255).astype(np.float32)])
    np.testing.assert_array_equal(whole(path), IMAGE)


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha", "unspecified"])
def test_alpha_is_blended_onto_white(tmp_path: Path, kind: str) -> None:
    alpha = np.zeros(IMAGE.shape[:2], np.uint8)
    alpha[:, 100:200], alpha[:, 200:] = 128, 255
    colours = IMAGE if kind != "assocalpha" else (IMAGE * (alpha[..., None] / 255)).astype(np.uint8)
    path = write_pyramid(tmp_path / "alpha.tif", [np.dstack([colours, alpha])], extrasamples=[kind])
    found = whole(path)
    np.testing.assert_array_equal(found[:, 200:], IMAGE[:, 200:])
    if kind == "unspecified":
        np.testing.assert_array_equal(found, IMAGE)
    else:
        assert (found[:, :100] == 255).all()
        expected = IMAGE[:, 100:200] * (128 / 255) + 255 * (127 / 255)
        assert np.abs(found[:, 100:200] - expected).max() <= 1.1


def test_colours_in_three_pages(tmp_path: Path) -> None:
    path = tmp_path / "planes.ome.tif"
    tifffile.imwrite(path, np.moveaxis(IMAGE, -1, 0), photometric="minisblack", metadata={"axes": "CYX"}, ome=True)
    np.testing.assert_array_equal(whole(path), IMAGE)


def test_the_middle_of_a_focus_stack(tmp_path: Path) -> None:
    path = tmp_path / "stack.ome.tif"
    stack = np.stack([IMAGE // 2, IMAGE, IMAGE // 3])
    tifffile.imwrite(path, stack, photometric="rgb", metadata={"axes": "ZYXS"}, ome=True, tile=(128, 128))
    np.testing.assert_array_equal(whole(path), IMAGE)


def test_fluorescence_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "channels.ome.tif"
    image = np.zeros((5, 64, 64), np.uint16)
    tifffile.imwrite(path, image, photometric="minisblack", metadata={"axes": "CYX"}, ome=True)
    with pytest.raises(SlideError, match="5 channels, not the three colours"):
        open_slide(path)


def test_a_page_of_another_shape_is_not_a_level(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as tiff:
        for image in (IMAGE, IMAGE[::2, ::2], IMAGE[:100, :100]):
            tiff.write(image, tile=(128, 128), photometric="rgb", metadata=None, subfiletype=int(image is not IMAGE))
    with open_slide(path) as slide:
        assert [level.width for level in slide.levels] == [420, 210]


def aperio(path: Path, levels: list[list[bytes]], shape: tuple[int, int], compression: int) -> Path:
    """An SVS of encoded 128 px tiles; an empty tile was never written."""
    text = "Aperio Image Library\r\n300x300 (128x128)|AppMag = 40|MPP = 0,2500|Title = a = b"
    with tifffile.TiffWriter(path) as tiff:
        for i, tiles in enumerate(levels):
            size = (shape[0] >> 2 * i, shape[1] >> 2 * i, 3)
            tiff.write(
                iter(tiles),
                shape=size,
                dtype=np.uint8,
                tile=(128, 128),
                compression=compression,
                photometric="rgb",
                description=text,
                metadata=None,
            )
    return path


def tiles_of(image: np.ndarray) -> list[np.ndarray]:
    return [
        image[y : y + 128, x : x + 128] for y in range(0, image.shape[0], 128) for x in range(0, image.shape[1], 128)
    ]


@pytest.mark.parametrize("compression", [33003, 33005])
def test_aperio_jpeg2000_as_openslide_decodes_it(tmp_path: Path, compression: int) -> None:
    openslide = pytest.importorskip("openslide")
    image = smooth_picture(256, 384)
    encoded = [imagecodecs.jpeg2k_encode(tile, level=0, codecformat="j2k", mct=False) for tile in tiles_of(image)]
    path = aperio(tmp_path / "slide.svs", [encoded], image.shape[:2], compression)
    with openslide.OpenSlide(str(path)) as reference:
        expected = np.asarray(reference.read_region((0, 0), 0, (384, 256)))[..., :3].astype(int)
    assert np.abs(whole(path) - expected).max() <= (1 if compression == 33003 else 0)


def test_tiles_never_written_show_the_finer_level_or_glass(tmp_path: Path) -> None:
    image = smooth_picture(512, 512)
    zipped = [imagecodecs.deflate_encode(tile.tobytes()) for tile in tiles_of(image)]
    zipped[5] = b""
    path = aperio(tmp_path / "slide.svs", [zipped, [b""]], (512, 512), 8)
    with open_slide(path) as slide:
        fine, coarse = (slide.read_region((0, 0), i, (512 >> 2 * i, 512 >> 2 * i)) for i in (0, 1))
    assert (fine[128:256, 128:256] == 255).all()
    np.testing.assert_array_equal(fine[256:], image[256:])
    assert np.abs(coarse[64:].astype(int) - halved(halved(image))[64:]).max() <= 1


def test_aperio_properties(tmp_path: Path) -> None:
    encoded = [imagecodecs.deflate_encode(tile.tobytes()) for tile in tiles_of(picture(256, 256))]
    with open_slide(aperio(tmp_path / "slide.svs", [encoded], (256, 256), 8)) as slide:
        assert (slide.vendor, slide.mpp, slide.objective_power) == ("aperio", 0.25, 40)
        assert slide.properties["aperio.Title"] == "a = b"


def test_ome_metadata(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "slide.ome.tif", [picture(200, 300)], mpp=0.5)
    with open_slide(path) as slide:
        assert (slide.mpp, slide.vendor) == (0.5, "ome")
    text = tifffile.tiffcomment(path)
    changed = text.replace('PhysicalSizeXUnit="µm"', 'PhysicalSizeXUnit="mm"').replace('SizeX="0.5"', 'SizeX="0.0005"')
    tifffile.tiffcomment(path, changed.encode())
    with open_slide(path) as slide:
        assert slide.mpp_xy == (pytest.approx(0.5), pytest.approx(0.5))


@pytest.mark.parametrize(
    ("resolution", "unit", "mpp"),
    [((50_000, 20_000), 3, (0.2, 0.5)), ((50_800, 50_800), 2, (0.5, 0.5)), ((72, 72), 2, None), ((1, 1), 1, None)],
)
def test_resolution_tags(tmp_path: Path, resolution: tuple[int, int], unit: int, mpp: Any) -> None:
    path = write_pyramid(tmp_path / "slide.tif", [IMAGE], resolution=resolution, resolutionunit=unit)
    with open_slide(path) as slide:
        assert slide.mpp_xy == (mpp and pytest.approx(mpp))
