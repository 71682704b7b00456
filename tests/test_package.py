"""Importing the packages is cheap, and what must not come along does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

CHEAP = """
import sys
import {package}
heavy = {{"torch", "napari", "qtpy", "PySide6", "numba", "dask", "cv2", "skimage"}} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("package", ["napari_histoanno", "histotrain"])
def test_importing_the_package_imports_nothing_heavy(package: str) -> None:
    subprocess.run([sys.executable, "-c", CHEAP.format(package=package)], check=True, timeout=60)


def test_the_session_needs_neither_torch_nor_a_screen() -> None:
    program = (
        "import sys; import napari_histoanno.session; "
        "assert not {'torch', 'napari', 'qtpy', 'PySide6'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
