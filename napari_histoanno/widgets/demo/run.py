"""The demonstration: opened for the user where there is a display, run to its end by itself where there is none."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from napari_histoanno.widgets.demo.screen import has_display, virtual_screen

if TYPE_CHECKING:
    from collections.abc import Callable

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
        Folder for the project and, without a display, for pictures, dataset, model and report. What an earlier run
        by itself left there is removed; a project that was opened in a window is somebody's work and never is.
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
    DemoError
        If a step of the loop fails.
    FileExistsError
        If the loop is to be run in a folder that holds something else.
    """
    folder = Path(output or "demo-output").resolve()
    if headless is None:
        headless = slide is not None or not has_display()
    if not headless:
        (folder / _MARK).unlink(missing_ok=True)
        _open(folder)
        return None
    _empty(folder)
    with virtual_screen():
        from napari_histoanno.widgets.demo.loop import run_loop  # Qt reads the display when it is imported

        return run_loop(slide, folder, say or (lambda _: None))


_MARK = ".histoanno-demo"


def _empty(folder: Path) -> None:
    """Leave the folder empty but for our mark, which says that a run by itself may empty it again."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).exists():
            raise FileExistsError(
                f"{folder} holds files that are not those of a demonstration run by itself. Name another folder "
                "(--output), or empty it first."
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()


def _open(folder: Path) -> None:
    """Open napari on the sample project with the dock in place, and stay until it is closed."""
    import napari

    from napari_histoanno.widgets.dock import HistoAnnoDock

    viewer = napari.Viewer(title="HistoAnno")
    dock = HistoAnnoDock(viewer)
    viewer.window.add_dock_widget(dock, name="HistoAnno", area="right")
    dock.session.open_sample(folder / PROJECT)
    napari.run()
