"""A screen to draw on: the user's, or a virtual one where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SCREEN = "1600x1000x24"


class DemoError(Exception):
    """A step of the demonstration did not do what it should."""


class NoScreenError(DemoError):
    """There is no display and no way to make one."""


def has_display() -> bool:
    """Whether windows can be shown to somebody."""
    if sys.platform != "linux":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextmanager
def virtual_screen() -> Iterator[None]:
    """A display of its own for this process and its children; the one there was is back afterwards.

    Raises
    ------
    NoScreenError
        If Xvfb is not installed or does not start.
    """
    if sys.platform != "linux":
        yield
        return
    program = shutil.which("Xvfb")
    if program is None:
        raise NoScreenError("There is no display, and no virtual one: install it with  apt-get install xvfb")
    before = {name: os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")}
    command = [program, "-displayfd", "1", "-screen", "0", SCREEN, "-nolisten", "tcp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            number = server.stdout.readline().strip() if server.stdout is not None else ""
            if not number:
                raise NoScreenError("The virtual display (Xvfb) did not start; see whether  Xvfb :99  runs.")
            os.environ["DISPLAY"] = f":{number}"
            os.environ["QT_QPA_PLATFORM"] = "xcb"
            os.environ.pop("WAYLAND_DISPLAY", None)
            yield
        finally:
            server.terminate()
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
