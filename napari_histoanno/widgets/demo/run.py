"""The demonstration: opened for the user where there is a display, run to its end by itself where there is none."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from napari_histoanno.widgets.demo.screen import has_display, virtual_screen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROJECT = "project"


def run_demo(
    slide: Path | None = None,
    output: Path | None = None,
    *,
    headless: bool | None = None,
    say: Callable[[str], None] | None = None,
) -> Path | None:
    """Show or run the main job.

    Parameters
    ----------
    slide : Path, optional
        A slide of the user's own, annotated by a script; the sample project without it.
    output : Path, optional
        Folder for the project and, without a display, for pictures, dataset, model and report. It is emptied first.
    headless : bool, optional
        Run by itself on a virtual display; by default where there is no display.
    say : callable, optional
        Told each step in words.

    Returns
    -------
    Path or None
        The report of a headless run.

    Raises
    ------
    NoScreenError
        If there is no display, virtual or real.
    FileExistsError
        If the output folder holds something that no demonstration has written.
    """
    from pathlib import Path as _Path

    folder = _Path("demo-output") if output is None else _Path(output)
    folder = _fresh(folder.resolve())
    if headless is None:
        headless = slide is not None or not has_display()
    if not headless:
        _open(folder)
        return None
    with virtual_screen():
        from napari_histoanno.widgets.demo.loop import run_loop  # Qt reads the display when it is imported

        return run_loop(slide, folder, say or (lambda _: None))


_MARK = ".histoanno-demo"


def _fresh(folder: Path) -> Path:
    """The folder, empty but for our mark; what an earlier demonstration left in it is removed."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).exists():
            raise FileExistsError(
                f"{folder} holds files that no demonstration has written. Name another folder, or empty it first."
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()
    return folder


def _open(folder: Path) -> None:
    """Open napari on the sample project with the dock in place, and stay until it is closed."""
    import napari

    from napari_histoanno.widgets.dock import HistoAnnoDock

    viewer = napari.Viewer(title="HistoAnno")
    dock = HistoAnnoDock(viewer)
    viewer.window.add_dock_widget(dock, name="HistoAnno", area="right")
    dock.session.open_sample(folder / PROJECT)
    napari.run()
