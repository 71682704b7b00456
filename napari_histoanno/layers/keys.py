"""Keys of a project view.

napari ignores key bindings in a plugin's manifest, and the active layer's own keys win over the viewer's (1 … 7
choose modes there). So every key is bound in code, on the viewer and on each layer of the view; layers of
others keep theirs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari_histoanno.annotation.tools import TOOLS, Tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_histoanno.layers.view import ProjectView

BRUSH_STEP = 1.25


def bind_keys(view: ProjectView, target: Any) -> None:
    """Bind the view's keys on a viewer or layer."""
    keys: dict[str, Callable[[], Any]] = {
        "Control-Z": view.undo,
        "Control-Shift-Z": view.redo,
        "Control-Y": view.redo,
        "[": partial(_scale_brush, view, 1 / BRUSH_STEP),
        "]": partial(_scale_brush, view, BRUSH_STEP),
        "Escape": view.toolbox.drop_unfinished,
        "Enter": view.toolbox.finish,
        "Delete": partial(_delete, view),
        "Backspace": partial(_delete, view),
    }
    keys.update({digit: partial(_choose_class, view, digit) for digit in "123456789"})
    keys.update({info.shortcut: partial(_choose_tool, view, tool) for tool, info in TOOLS.items() if info.shortcut})
    for key, action in keys.items():
        target.bind_key(key, _ignoring_target(action), overwrite=True)


def _ignoring_target(action: Callable[[], Any]) -> Callable[[Any], None]:
    def press(_: Any) -> None:
        action()

    return press


def _choose_class(view: ProjectView, key: str) -> None:
    """Take the class with this hotkey; with shapes selected, they become of that class too."""
    project = view.session.project
    found = next((label for label in project.scheme if label.hotkey == key), None) if project is not None else None
    if found is None:
        return
    if view.session.tool == Tool.SELECT:
        view.assign_class(found.id)
    view.session.set_class(found.id)


def _choose_tool(view: ProjectView, tool: Tool) -> None:
    view.session.set_tool(tool)


def _scale_brush(view: ProjectView, factor: float) -> None:
    size = view.session.brush_size
    view.session.set_brush_size(round(size * factor) if size > 3 else size + (1 if factor > 1 else -1))


def _delete(view: ProjectView) -> None:
    if not view.toolbox.drop_unfinished() and view.vectors is not None:
        view.vectors.delete_selected()
