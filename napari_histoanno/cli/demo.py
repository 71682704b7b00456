"""The demonstration: the whole loop on the sample slides or on a slide of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_histoanno.cli.app import command, output


@command("demo")
def demo(
    slide: Annotated[Path | None, typer.Option(help="A slide of your own instead of the sample.")] = None,
    folder: Annotated[Path, typer.Option("--output", help="Where the results go.")] = Path("demo-output"),
    headless: Annotated[
        bool | None,
        typer.Option("--headless/--window", help="Run by itself, or open a window; by default as there is a display."),
    ] = None,
) -> None:
    """Run the whole loop: annotate, train, preview, predict, correct, export."""
    from napari_histoanno.session import SessionError

    try:
        from napari_histoanno.widgets.demo import run_demo
        from napari_histoanno.widgets.demo.screen import DemoError
    except ImportError as error:
        raise SessionError(
            f"The demonstration needs napari and Qt: {error}. Install them with `pip install 'napari-histoanno[all]'`."
        ) from error
    try:
        report = run_demo(slide, folder, headless=headless, say=output.say)
    except DemoError as error:
        raise SessionError(str(error)) from error
    output.result({"output": str(folder), "report": str(report) if report else None}, f"Results: {report or folder}")
