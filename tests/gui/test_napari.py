"""What napari calls by itself: the manifest, the widgets in its menu, the reader, the sample data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from napari.settings import get_settings
from npe2 import PluginManifest

import napari_histoanno
from napari_histoanno import hooks
from napari_histoanno.layers import session_of
from napari_histoanno.slides import SlideError
from tests.gui import tissue

if TYPE_CHECKING:
    from napari_histoanno.session import Session

pytestmark = pytest.mark.gui

MANIFEST = Path(napari_histoanno.__file__).with_name("napari.yaml")
WIDGETS = ("HistoAnno", "Slides & labels", "Annotate", "Train & preview", "Export dataset")


@pytest.fixture
def viewer(make_napari_viewer: Any) -> Any:
    return make_napari_viewer(strict_qt="raise", show=True)


def test_the_manifest_is_valid_and_every_command_can_be_imported() -> None:
    manifest = PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    assert tuple(widget.display_name for widget in manifest.contributions.widgets or ()) == WIDGETS


@pytest.mark.parametrize("name", WIDGETS)
def test_every_widget_opens_from_the_menu(viewer: Any, name: str, qtbot: Any) -> None:
    _, widget = viewer.window.add_plugin_dock_widget("napari-histoanno", name)
    qtbot.wait(50)
    assert widget.isVisible()


def test_widgets_of_one_viewer_share_a_session(viewer: Any, tmp_path: Path, qtbot: Any) -> None:
    shown = [viewer.window.add_plugin_dock_widget("napari-histoanno", name)[1] for name in WIDGETS[:2]]
    session: Session = session_of(viewer)
    session.open_project(tissue.project_folder(tmp_path))
    qtbot.wait(50)
    for widget in shown:
        page = getattr(widget, "slides", None) or widget.page
        assert page._table.rowCount() == 1


def test_a_slide_opens_lazily_in_micrometres(viewer: Any, tmp_path: Path) -> None:
    (layer,) = viewer.open(str(tissue.slide_file(tmp_path)), plugin="napari-histoanno")
    assert layer.multiscale
    assert layer.rgb
    assert layer.name == "tissue"
    np.testing.assert_allclose(layer.scale[:2], (tissue.synthetic().mpp,) * 2)
    np.testing.assert_allclose(layer.extent.world[:, -2:], _extent(layer), atol=1e-6)
    assert str(layer.units[-1]) in ("micrometer", "um", "µm")
    assert viewer.canvas.overlays.scale_bar.visible
    assert not isinstance(layer.data[0], np.ndarray)


def _extent(layer: Any) -> np.ndarray:
    """Centres of the first and the last pixel, in µm from the slide's outer corner."""
    height, width = layer.data[0].shape[:2]
    return (np.array([[0, 0], [height - 1, width - 1]]) + 0.5) * layer.scale[0]


def test_a_dropped_slide_finds_the_reader_that_the_user_chose_for_its_kind(viewer: Any, tmp_path: Path) -> None:
    get_settings().plugins.extension2reader = {"*.tif": "napari-histoanno"}
    viewer.open(str(tissue.slide_file(tmp_path)), plugin=None)
    assert len(viewer.layers) == 1
    assert viewer.layers[0].multiscale


def test_small_plain_pictures_are_left_to_napari(tmp_path: Path) -> None:
    stack = tmp_path / "stack.tif"
    tifffile.imwrite(stack, np.zeros((5, 64, 64), np.uint16))
    assert hooks.get_reader(str(stack)) is None
    (tmp_path / "broken.tif").write_bytes(b"II*\0 nothing")
    assert hooks.get_reader(str(tmp_path / "broken.tif")) is None


def test_a_broken_slide_is_told_about(viewer: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.svs").write_bytes(b"nothing")
    with pytest.raises(SlideError, match=r"broken\.svs"):
        viewer.open(str(tmp_path / "broken.svs"), plugin="napari-histoanno")


@pytest.mark.parametrize("key", ["harbour", "meadow"])
def test_sample_data_opens(viewer: Any, key: str) -> None:
    viewer.open_sample("napari-histoanno", key)
    (layer,) = viewer.layers
    assert layer.multiscale
    assert min(layer.data[0].shape[:2]) > 1000


SCRIPT = """
import sys
import napari
viewer = napari.Viewer(show=False)
_, dock = viewer.window.add_plugin_dock_widget("napari-histoanno", "HistoAnno")
project = dock.session.open_sample(sys.argv[1])
assert project is not None and dock.view.labels is not None
print(sorted(name for name in ("torch", "torchvision", "timm", "segmentation_models_pytorch") if name in sys.modules))
viewer.close()
"""


def test_the_window_never_imports_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "sample")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"
