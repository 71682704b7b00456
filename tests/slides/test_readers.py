"""Each reader passes the conformance suite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_histoanno.slides.openslide import OpenSlideSlide
from napari_histoanno.slides.raster import RasterSlide
from napari_histoanno.slides.tiff import TiffSlide
from tests.slides.conformance import Case, SlideConformance
from tests.slides.pictures import halved, picture, smooth_picture, write_ome, write_pyramid, write_zarr

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.slides import Slide

Factory = pytest.TempPathFactory


class TestTiledPyramid(SlideConformance):
    """4× steps, odd sizes, resolution in the tags."""

    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory: Factory) -> Case:
        levels = [picture(1203, 1405)]
        levels.append(levels[0][::4, ::4])
        path = tmp_path_factory.mktemp("tiff") / "slide.tif"
        write_pyramid(path, levels, resolution=(40000, 40000), resolutionunit=3)
        return Case(path, levels, mpp=0.25)

    def test_reader(self, slide: Slide) -> None:
        assert isinstance(slide, TiffSlide)
        assert [level.shape[1] for level in slide.pyramid] == [1405, 702, 352]
        assert slide.vendor == "generic-tiff"


class TestOmePyramid(SlideConformance):
    """Lower levels in SubIFDs, which OpenSlide does not see."""

    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory: Factory) -> Case:
        levels = [picture(700, 900)]
        levels += [halved(levels[0]), halved(halved(levels[0]))]
        return Case(write_ome(tmp_path_factory.mktemp("ome") / "slide.ome.tif", levels), levels, mpp=0.25)


class TestStrips(SlideConformance):
    """Untiled, uncompressed, one strip for everything, big-endian."""

    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory: Factory) -> Case:
        image = picture(1300, 620)
        path = tmp_path_factory.mktemp("strips") / "scan.tiff"
        tifffile.imwrite(path, image, photometric="rgb", rowsperstrip=1300, byteorder=">", metadata=None)
        return Case(path, [image])


class TestJpegPyramid(SlideConformance):
    """YCbCr with subsampled chroma and shared tables, what most scanners write."""

    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory: Factory) -> Case:
        levels = [smooth_picture(1024, 1536)]
        levels.append(halved(levels[0]))
        path = tmp_path_factory.mktemp("jpeg") / "slide.tif"
        write_pyramid(path, levels, compression="jpeg", compressionargs={"level": 95})
        return Case(path, levels, tolerance=8)


class TestOpenSlideReader(SlideConformance):
    """The OpenSlide reader itself, on a file that both readers know."""

    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory: Factory) -> Case:
        image = picture(1100, 1300)
        return Case(write_pyramid(tmp_path_factory.mktemp("os") / "slide.tif", [image]), [image])

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _only_openslide(cls) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("napari_histoanno.slides.open.READ_AS_TIFF", set())
            yield

    def test_reader(self, slide: Slide) -> None:
        assert isinstance(slide, OpenSlideSlide)


class TestPng(SlideConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory: Factory) -> Case:
        image = picture(1090, 410)
        path = tmp_path_factory.mktemp("png") / "photo.png"
        Image.fromarray(image).save(path, compress_level=1)
        return Case(path, [image])

    def test_reader(self, slide: Slide) -> None:
        assert isinstance(slide, RasterSlide)
        assert slide.vendor == "png"


class TestOmeZarr(SlideConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory: Factory) -> Case:
        levels = [picture(700, 900)]
        levels.append(halved(levels[0]))
        return Case(write_zarr(tmp_path_factory.mktemp("zarr") / "slide.zarr", levels), levels, mpp=0.25)


@pytest.mark.real_data
class TestAperio(SlideConformance):
    """The real SVS: levels, label, macro and thumbnail."""

    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, real_data: Path) -> Case:
        path = real_data / "slides" / "CMU-1-Small-Region.svs"
        associated = {"label": (463, 387), "macro": (431, 1280), "thumbnail": (768, 574)}
        return Case(path, [openslide_level(path)], mpp=0.499, associated=associated)

    def test_reader(self, slide: Slide) -> None:
        assert isinstance(slide, TiffSlide)
        assert slide.vendor == "aperio"
        assert slide.objective_power == 20
        assert slide.properties["aperio.ScanScope ID"] == "CPAPERIOCS"


@pytest.mark.real_data
class TestDicom(SlideConformance):
    """A folder of DICOM files."""

    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, real_data: Path) -> Case:
        folder = real_data / "slides" / "CMU-1-Small-Region.dcm"
        file = max(folder.iterdir(), key=lambda f: f.stat().st_size)
        associated = {"label": (463, 387), "macro": (431, 1280), "thumbnail": (768, 574)}
        return Case(folder, [openslide_level(file)], mpp=0.499, associated=associated)

    def test_reader(self, slide: Slide) -> None:
        assert isinstance(slide, OpenSlideSlide)
        assert slide.vendor == "dicom"


def openslide_level(path: Path) -> np.ndarray:
    """Level 0 as OpenSlide gives it."""
    import openslide

    with openslide.OpenSlide(str(path)) as reference:
        image = np.asarray(reference.read_region((0, 0), 0, reference.dimensions))
    assert image[..., 3].min() == 255
    return image[..., :3].copy()
