"""All benchmarks, one after the other: ``python -m tests.benchmarks [--slide slide.svs] [--huge]``."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from napari_histoanno.widgets.demo.screen import has_display, virtual_screen

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slide", type=Path, help="a TIFF-based slide; generated ones if not given")
    parser.add_argument("--huge", action="store_true", help="also view a generated slide of 40,000² px (650 MB)")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        return _run_all(arguments.slide, _huge_slide(Path(folder)) if arguments.huge else None)


def _huge_slide(folder: Path) -> Path:
    command = [sys.executable, "-m", "sample_data.generator", str(folder), "--size", "40000", "40000", "--name", "huge"]
    subprocess.run(command, check=True)
    return next(folder.glob("huge*.tif*"))


def _run_all(slide: Path | None, huge: Path | None) -> int:
    console = Console()
    console.print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    runs = [
        ["bench_slides.py", *(["--slide", str(slide)] if slide else [])],
        ["bench_viewer.py", *(str(path) for path in (slide, huge) if path is not None)],
        ["bench_training.py"],
        ["bench_click.py"],
        ["bench_gui_gaps.py"],
    ]
    return max(_run(run, console) for run in runs)


def _run(command: list[str], console: Console) -> int:
    console.rule(command[0])
    call = [sys.executable, str(HERE / command[0]), *command[1:]]
    if has_display():
        return subprocess.run(call, check=False).returncode
    with virtual_screen():
        return subprocess.run(call, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
