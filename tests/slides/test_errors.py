"""What cannot be read is refused with one clear error: never a crash, never garbage, never a long wait."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import time
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_histoanno.slides import SlideError, open_slide
from tests.slides.pictures import picture, smooth_picture, write_pyramid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IMAGE = picture(300, 420)


def read_all(path: Path) -> np.ndarray:
    with open_slide(path) as slide:
        for image in slide.associated.values():
            assert image.ndim == 3
        return slide.read_region((0, 0), 0, (min(slide.dimensions[0], 3000), min(slide.dimensions[1], 3000)))


def test_the_message_names_file_reason_and_remedy() -> None:
    error = SlideError("a/slide.svs", "it is broken.", "mend it.")
    assert str(error) == "a/slide.svs: it is broken. Try: mend it."
    assert (error.path.name, error.reason, error.hint) == ("slide.svs", "it is broken", "mend it")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "folder without a slide"),
        (lambda path: path.touch(), "empty"),
        (lambda path: path.write_bytes(b"\x93junk" * 200), "no reader knows"),
        (lambda path: path.write_text("slide 1\n"), "no reader knows"),
        (lambda path: path.write_bytes(b"II*\0"), "damaged"),
        (lambda path: path.write_bytes(b"II*\0\x08\0\0\0\xff\xff" + bytes(50)), "damaged"),
    ],
    ids=["missing", "folder", "empty", "junk", "text", "four bytes", "no pages"],
)
def test_not_a_slide(tmp_path: Path, make: Callable[[Path], object], reason: str) -> None:
    path = tmp_path / "slide.svs"
    make(path)
    with pytest.raises(SlideError, match=reason) as caught:
        open_slide(path)
    assert str(path) in str(caught.value)
    assert "Try: " in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "slide.tif", [IMAGE])
    path.chmod(0)
    with pytest.raises(SlideError, match="not allowed"):
        open_slide(path)


def test_permission_denied_by_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("napari_histoanno.slides.open._open_file", deny)
    with pytest.raises(SlideError, match=r"not allowed to read it.*Try: ask for read permission"):
        open_slide(tmp_path / "slide.tif")


@pytest.mark.real_data
def test_broken_real_file(real_data: Path) -> None:
    with pytest.raises(SlideError, match="no reader knows this kind of file"):
        open_slide(real_data / "slides" / "broken.svs")


@pytest.mark.parametrize("compression", ["jpeg", "deflate", None])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_a_truncated_tiff_opens_and_says_so_when_read(tmp_path: Path, compression: str | None, share: float) -> None:
    path = write_pyramid(tmp_path / "slide.tif", [IMAGE], compression=compression, tile=(64, 64))
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * share))
    with open_slide(path) as slide:
        slide.read_region((0, 0), 0, (40, 40))
        with pytest.raises(SlideError, match="truncated or damaged") as caught:
            slide.read_region((0, 0), 0, slide.dimensions)
        slide.read_region((0, 0), 0, (40, 40))
    assert "copy the file again" in caught.value.hint


def test_a_truncated_svs_and_picture(tmp_path: Path) -> None:
    for suffix in ("png", "jpg", "bmp"):
        path = tmp_path / f"photo.{suffix}"
        Image.fromarray(IMAGE).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(SlideError, match="truncated or damaged"):
            open_slide(path)


@pytest.mark.real_data
@pytest.mark.parametrize("share", [0.0001, 0.3, 0.7, 0.98])
@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "instanseg_HE_example.tif"])
def test_a_truncated_real_slide(real_data: Path, tmp_path: Path, name: str, share: float) -> None:
    """The SVS's pixels come first: cut at 70 % they are whole, but the list of pages is not."""
    data = (real_data / "slides" / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SlideError, match=r"truncated|damaged"):
        read_all(path)


@pytest.mark.real_data
def test_a_damaged_dicom_slide_recovers_where_it_is_whole(real_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "slide.dcm"
    shutil.copytree(real_data / "slides" / "CMU-1-Small-Region.dcm", folder)
    largest = max(folder.iterdir(), key=lambda file: file.stat().st_size)
    largest.chmod(0o644)
    data = bytearray(largest.read_bytes())
    with open_slide(folder) as slide:
        good = slide.read_region((1000, 200), 0, (50, 50))
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
        largest.write_bytes(data)
    with open_slide(folder) as slide:
        with pytest.raises(SlideError, match="truncated or damaged"):
            slide.read_region((0, 0), 0, slide.dimensions)
        np.testing.assert_array_equal(slide.read_region((1000, 200), 0, (50, 50)), good)


def test_zeroed_tiles_are_an_error_not_garbage(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "slide.tif", [IMAGE], compression="jpeg", tile=(64, 64))
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages.first.dataoffsets[7], tiff.pages.first.databytecounts[7]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = bytes(count)
    path.write_bytes(data)
    with pytest.raises(SlideError, match="tile 1, 0 of the 420 × 300 px image cannot be decoded"):
        read_all(path)


def set_tag(path: Path, code: int, value: int) -> None:
    """Overwrite a tag of the first page in place, whatever tifffile thinks of it."""
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags[code]
        kind = "<I" if tag.dtype == 4 else "<H"
        struct.pack_into(kind, data, tag.valueoffset, value)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("code", "value"), [(256, 60_000), (257, 60_000), (257, 0), (256, 0), (322, 0), (323, 0), (322, 65_520), (323, 16)]
)
def test_absurd_dimensions(tmp_path: Path, code: int, value: int) -> None:
    path = write_pyramid(tmp_path / "slide.tif", [IMAGE], tile=(128, 128))
    set_tag(path, code, value)
    started = time.perf_counter()
    with pytest.raises(SlideError, match=r"damaged|claims"), open_slide(path) as slide:
        slide.read_region((0, 0), 0, slide.dimensions)
    assert time.perf_counter() - started < 5


def bomb(path: Path, tile: bytes, compression: int, photometric: str = "rgb") -> Path:
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            iter([tile]),
            shape=(64, 64, 3),
            dtype=np.uint8,
            tile=(64, 64),
            compression=compression,
            photometric=photometric,
            metadata=None,
        )
    return path


@pytest.mark.parametrize("kind", ["jpeg", "jpeg2000", "webp", "deflate", "zstd", "lzw"])
def test_decompression_bombs(tmp_path: Path, kind: str) -> None:
    """A tile of 64 px that unpacks to a hundred times more; the pixels that count are given, or none are."""
    large = np.zeros((3000, 3000, 3), np.uint8)
    tile, code = {
        "jpeg": lambda: (imagecodecs.jpeg8_encode(large), 7),
        "jpeg2000": lambda: (imagecodecs.jpeg2k_encode(large, codecformat="j2k"), 34712),
        "webp": lambda: (imagecodecs.webp_encode(large, lossless=True), 50001),
        "deflate": lambda: (imagecodecs.deflate_encode(large.tobytes()), 8),
        "zstd": lambda: (imagecodecs.zstd_encode(large.tobytes()), 50000),
        "lzw": lambda: (imagecodecs.lzw_encode(large.tobytes()), 5),
    }[kind]()
    path = bomb(tmp_path / "bomb.tif", tile, code)
    with contextlib.suppress(SlideError):
        assert (read_all(path) == 0).all()


def test_a_picture_too_large_for_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(IMAGE).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(SlideError, match=r"too large to hold in memory.*pyramidal TIFF"):
        open_slide(path)


def test_a_slide_that_vanishes(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "slide.tif", [IMAGE])
    with open_slide(path) as slide:
        path.unlink()
        with pytest.raises(SlideError, match="cannot be read"):
            slide.fingerprint()


@pytest.fixture(scope="module")
def small_tiffs(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("fuzz")
    image = smooth_picture(96, 80)
    variants = [
        {"compression": "jpeg", "tile": (32, 32)},
        {"compression": "deflate", "predictor": True, "tile": (32, 32)},
        {"compression": "lzw", "tile": None, "rowsperstrip": 16},
        {"compression": None, "tile": None, "rowsperstrip": 96},
        {"compression": "jpeg2000", "tile": (48, 48)},
    ]
    return [
        write_pyramid(folder / f"{i}.tif", [image, image[::2, ::2]], **options).read_bytes()
        for i, options in enumerate(variants)
    ]


@given(data=st.data())
@settings(max_examples=150, deadline=10_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_files_are_read_or_refused(small_tiffs: list[bytes], tmp_path: Path, data: st.DataObject) -> None:
    original = data.draw(st.sampled_from(small_tiffs))
    mutated = bytearray(original)
    header = st.integers(0, min(600, len(original) - 1))
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.one_of(header, st.integers(0, len(original) - 1)))
        mutated[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(original)), st.integers(1, len(original))))
    path = tmp_path / "fuzzed.tif"
    path.write_bytes(mutated[:cut])
    with contextlib.suppress(SlideError):
        assert read_all(path).dtype == np.uint8
