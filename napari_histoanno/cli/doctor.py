"""``histoanno doctor``: what works on this machine, and how to fix the rest."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from napari_histoanno import __version__
from napari_histoanno.cli.app import REFUSED, command, output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_INSTALL = "pip install 'napari-histoanno[{}]'"
_ENOUGH_GB = 5.0
_OPENGL_SECONDS = 60
_WORKER_SECONDS = 60
_CODECS = ("JPEG8", "JPEG2K", "JPEGXL", "WEBP", "LZW", "DEFLATE", "ZSTD")
_OPENGL = (
    "from vispy import app, gloo; app.use_app('pyside6'); c = app.Canvas(show=False); c.set_current(); "
    "print(gloo.gl.glGetParameter(gloo.gl.GL_RENDERER), gloo.gl.glGetParameter(gloo.gl.GL_VERSION))"
)


class State(StrEnum):
    """How a part is."""

    OK = "ok"
    NOTE = "note"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of the machine: how it is, what was seen, and what to do about it."""

    part: str
    state: State
    seen: str
    fix: str = ""


@command("doctor")
def doctor(
    folder: Annotated[Path, typer.Option("--folder", help="Where projects are to be kept.")] = Path(),
    quick: Annotated[bool, typer.Option("--quick", help="Do not start a worker or ask OpenGL.")] = False,
) -> None:
    """Tell what works here, and how to fix the rest. Exit code 1 if something needed is missing."""
    checks: list[Callable[[], Finding]] = [
        _python,
        _torch,
        _gpu,
        _torchvision,
        _window,
        *([] if quick else [_opengl]),
        _openslide,
        _codecs,
        lambda: _space(folder),
        lambda: _writing(folder),
        *([] if quick else [_worker]),
    ]
    findings = list(_found(checks))
    table = Table("", "part", "seen", "what to do", title=f"napari-histoanno {__version__}")
    signs = {State.OK: "[green]✓[/]", State.NOTE: "[yellow]•[/]", State.MISSING: "[red]✗[/]"}
    for finding in findings:
        table.add_row(signs[finding.state], finding.part, finding.seen, finding.fix)
    missing = [finding.part for finding in findings if finding.state is State.MISSING]
    verdict = f"Needs attention: {', '.join(missing)}" if missing else "Everything needed is here."
    output.result({"ok": not missing, "findings": [asdict(finding) for finding in findings]}, table, verdict)
    if missing:
        raise typer.Exit(REFUSED)


def _found(checks: list[Callable[[], Finding]]) -> Iterator[Finding]:
    for check in checks:
        yield check()


def has_display() -> bool:
    """Whether a window could open."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python() -> Finding:
    return Finding("Python", State.OK, f"{platform.python_version()} on {platform.platform(terse=True)}")


def _torch() -> Finding:
    version = _version("torch")
    if version is None:
        return Finding("torch", State.MISSING, "not installed: no training, no prediction", _INSTALL.format("train"))
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        return Finding("torch", State.MISSING, f"{version} does not load: {error}", "Install torch again.")
    return Finding("torch", State.OK, f"{version}, {torch.get_num_threads()} threads")


def _gpu() -> Finding:
    torch = sys.modules.get("torch")
    if torch is None:
        return Finding("GPU", State.NOTE, "not looked for: there is no torch")
    if torch.cuda.is_available():
        free, total = (value / 2**30 for value in torch.cuda.mem_get_info())
        return Finding("GPU", State.OK, f"{torch.cuda.get_device_name()}, {free:.0f} of {total:.0f} GB free")
    if torch.backends.mps.is_available():
        return Finding("GPU", State.OK, "Apple Metal")
    fix = "Install a CUDA build of torch (pytorch.org) and the NVIDIA driver." if shutil.which("nvidia-smi") else ""
    return Finding("GPU", State.NOTE, "none in use; the processor does the work", fix)


def _torchvision() -> Finding:
    if "torch" not in sys.modules:
        return Finding("torchvision", State.NOTE, "not looked at: there is no torch")
    from histotrain._torchvision import ensure_torchvision

    try:
        ensure_torchvision()
        torch, torchvision = sys.modules["torch"], sys.modules["torchvision"]
        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except ImportError as error:
        return Finding("torchvision", State.NOTE, f"does not load: {error}", _INSTALL.format("train"))
    except (RuntimeError, NotImplementedError):
        return Finding(
            "torchvision",
            State.NOTE,
            f"{_version('torchvision')} without compiled operators: Mask R-CNN cannot run, all else does",
            "Install torch and torchvision of the same build (pytorch.org).",
        )
    return Finding("torchvision", State.OK, f"{_version('torchvision')} with compiled operators")


def _window() -> Finding:
    napari, qt = _version("napari"), _version("PySide6-Essentials") or _version("PyQt6") or _version("PySide6")
    if napari is None or qt is None:
        return Finding("napari", State.NOTE, "napari or Qt is not installed: no window", _INSTALL.format("all"))
    if not has_display():
        return Finding("napari", State.NOTE, f"{napari} with Qt {qt}, but there is no display", "Run under `xvfb-run`.")
    return Finding("napari", State.OK, f"{napari} with Qt {qt}")


def _opengl() -> Finding:
    """OpenGL as a window would see it; asked in a process of its own, which a broken driver may take along."""
    if _version("vispy") is None:
        return Finding("OpenGL", State.NOTE, "not asked: there is no vispy", _INSTALL.format("all"))
    ask = [sys.executable, "-c", _OPENGL]
    if not has_display():
        if shutil.which("xvfb-run") is None:
            return Finding(
                "OpenGL", State.NOTE, "not asked: no display", "apt install xvfb xauth libegl1 libgl1 libgl1-mesa-dri"
            )
        ask = ["xvfb-run", "-a", *ask]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=_OPENGL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("OpenGL", State.NOTE, f"did not answer: {error}", "Install a graphics driver, or Mesa.")
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
        fix = "apt install libegl1 libgl1 libgl1-mesa-dri libxcb-cursor0 libxkbcommon-x11-0"
        return Finding("OpenGL", State.NOTE, f"no context: {last}", fix)
    return Finding("OpenGL", State.OK, answer.stdout.strip())


def _openslide() -> Finding:
    try:
        openslide = importlib.import_module("openslide")
    except (ImportError, OSError) as error:
        return Finding(
            "OpenSlide", State.MISSING, f"does not load: {error}", "pip install openslide-python openslide-bin"
        )
    return Finding("OpenSlide", State.OK, f"library {openslide.__library_version__}: mrxs, ndpi, scn, bif, vms, …")


def _codecs() -> Finding:
    imagecodecs = importlib.import_module("imagecodecs")
    absent = [codec for codec in _CODECS if not getattr(getattr(imagecodecs, codec), "available", False)]
    if absent:
        fix = "pip install --upgrade imagecodecs"
        return Finding("image codecs", State.MISSING, f"without {', '.join(absent)}: such slides cannot be read", fix)
    return Finding("image codecs", State.OK, ", ".join(_CODECS))


def _space(folder: Path) -> Finding:
    try:
        free = shutil.disk_usage(folder).free / 1e9
    except OSError as error:
        return Finding("free space", State.MISSING, str(error), "Name a folder that exists with --folder.")
    seen = f"{free:.0f} GB in {folder.resolve()}"
    if free < _ENOUGH_GB:
        return Finding("free space", State.NOTE, seen, "Predictions of whole slides take a few GB: free some space.")
    return Finding("free space", State.OK, seen)


def _writing(folder: Path) -> Finding:
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Finding("writing", State.MISSING, str(error), "Choose a folder that you may write, with --folder.")
    return Finding("writing", State.OK, f"{folder.resolve()} can be written")


def _worker() -> Finding:
    from napari_histoanno.jobs import Engine, EngineError, JobState, SelfTestSpec

    started = time.monotonic()
    fix = "Allow connections on 127.0.0.1, and reinstall `cryptography` and `distributed`."
    try:
        with Engine(preload=False) as engine:
            job = engine.submit(SelfTestSpec(steps=3))
            job.wait(_WORKER_SECONDS)
    except (EngineError, TimeoutError) as error:
        return Finding("worker", State.MISSING, str(error), fix)
    if job.state is not JobState.COMPLETED:
        return Finding("worker", State.MISSING, job.message, fix)
    return Finding("worker", State.OK, f"started and answered in {time.monotonic() - started:.1f} s")
