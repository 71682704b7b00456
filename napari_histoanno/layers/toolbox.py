"""The session's tool in the user's hand: which layer is active, and in which mode.

It goes both ways: choosing a tool activates a layer and sets its mode, and choosing a mode by napari's own
buttons and keys is choosing the tool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_histoanno.annotation.tools import Tool
from napari_histoanno.layers import _napari_private as private
from napari_histoanno.layers.vectors import SHAPE_TOOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_histoanno.layers.labels import PyramidLabels
    from napari_histoanno.layers.vectors import VectorLayers
    from napari_histoanno.layers.view import ProjectView

LABEL_TOOLS: dict[Tool, str] = {
    Tool.BRUSH: "paint",
    Tool.ERASE: "erase",
    Tool.FILL: "fill",
    Tool.LASSO: "polygon",
}


class Toolbox:
    """Binds tools to layers for one view.

    Parameters
    ----------
    view : ProjectView
        Whose layers and session.
    """

    def __init__(self, view: ProjectView) -> None:
        self._view = view
        self._labels: PyramidLabels | None = None
        self._vectors: VectorLayers | None = None
        self._taking = False

    def connect(self, labels: PyramidLabels, vectors: VectorLayers) -> None:
        """Serve these layers from now on."""
        self._labels, self._vectors = labels, vectors
        for layer in self._tool_layers():
            layer.events.mode.connect(self._on_mode)
        labels.events.selected_label.connect(self._on_selected_label)
        labels.events.brush_size.connect(self._on_brush_size)
        self._view.viewer.layers.selection.events.active.connect(self._on_active)
        self._view.viewer.mouse_drag_callbacks.append(self._pick_layer)
        self.take_pen()

    def disconnect(self) -> None:
        """Serve no layers."""
        if self._labels is None:
            return
        for layer in self._tool_layers():
            layer.events.mode.disconnect(self._on_mode)
        self._labels.events.selected_label.disconnect(self._on_selected_label)
        self._labels.events.brush_size.disconnect(self._on_brush_size)
        self._view.viewer.layers.selection.events.active.disconnect(self._on_active)
        self._view.viewer.mouse_drag_callbacks.remove(self._pick_layer)
        self._labels = self._vectors = None

    def _tool_layers(self) -> tuple[Any, ...]:
        if self._labels is None or self._vectors is None:
            return ()
        return (self._labels, self._vectors.shapes.layer, self._vectors.points.layer)

    # --- session -> layers ------------------------------------------------------------------------

    def take(self, tool: Tool) -> None:
        """Take a tool in hand."""
        if self._labels is None or self._vectors is None or self._taking:
            return
        shapes, points = self._vectors.shapes.layer, self._vectors.points.layer
        self._taking = True
        try:
            if tool in LABEL_TOOLS:
                self._activate(self._labels, LABEL_TOOLS[tool])
            elif tool in SHAPE_TOOLS:
                self._activate(shapes, SHAPE_TOOLS[tool][0])
            elif tool is Tool.POINT:
                self._activate(points, "add")
            elif tool is Tool.SELECT:
                points.mode = "select"
                self._activate(shapes, "select")
            else:
                for layer in self._tool_layers():
                    layer.mode = "pan_zoom"
                if self._view.viewer.layers.selection.active not in self._view.layers:
                    self._activate(self._labels, "pan_zoom")
        finally:
            self._taking = False
        self.take_pen()

    def _activate(self, layer: Any, mode: str) -> None:
        if self._view.viewer.layers.selection.active is not layer:
            self._view.viewer.layers.selection.active = layer
        if not layer.editable and mode != "pan_zoom":
            self._view.session.status.emit("The project is open for reading only")
            mode = "pan_zoom"
        if str(layer.mode) != mode:
            layer.mode = mode

    def take_pen(self) -> None:
        """Give brush and shapes the session's class and the brush size."""
        if self._labels is None or self._vectors is None:
            return
        class_id = int(self._view.session.class_id or 0)
        if class_id and self._labels.selected_label != class_id:
            self._labels.selected_label = class_id
        self._vectors.set_pen(Tool(self._view.session.tool), class_id, float(self._view.session.brush_size))

    # --- layers -> session ------------------------------------------------------------------------

    def _on_mode(self, event: Any) -> None:
        layer = event.source
        if not self._taking and self._view.viewer.layers.selection.active is layer:
            self._set_tool(self._tool_of(layer))

    def _on_active(self, event: Any) -> None:
        layer = self._view.viewer.layers.selection.active
        if not self._taking and layer in self._tool_layers():
            self._set_tool(self._tool_of(layer))

    def _set_tool(self, tool: Tool | None) -> None:
        session = self._view.session
        if tool is None or tool == session.tool:
            return
        self._taking = True
        try:
            session.set_tool(tool)
        finally:
            self._taking = False
        self.take_pen()

    def _tool_of(self, layer: Any) -> Tool | None:
        """Tool that a layer's mode is; None where no tool of ours is like it."""
        mode = str(layer.mode)
        if mode == "pan_zoom":
            return Tool.PAN
        if mode in ("select", "direct", "vertex_insert", "vertex_remove"):
            return Tool.SELECT
        if layer is self._labels:
            return next((tool for tool, name in LABEL_TOOLS.items() if name == mode), None)
        if self._vectors is not None and layer is self._vectors.points.layer:
            return Tool.POINT if mode == "add" else None
        current = Tool(self._view.session.tool)
        if current in SHAPE_TOOLS and SHAPE_TOOLS[current][0] == mode:
            return current
        return next((tool for tool, (name, _) in SHAPE_TOOLS.items() if name == mode), None)

    def _on_selected_label(self, event: Any = None) -> None:
        label = 0 if self._labels is None else int(self._labels.selected_label)
        session = self._view.session
        if label and label != session.class_id and session.project is not None and label in session.project.scheme:
            session.set_class(label)

    def _on_brush_size(self, event: Any = None) -> None:
        session = self._view.session
        if self._labels is not None and self._labels.brush_size != max(1, round(session.brush_size)):
            session.set_brush_size(self._labels.brush_size)

    def _pick_layer(self, viewer: Any, event: Any) -> Iterator[None] | None:
        """With the select tool, a click on a point or shape of the other layer makes that layer active."""
        if self._vectors is None or self._view.session.tool != Tool.SELECT:
            return None
        shapes, points = self._vectors.shapes.layer, self._vectors.points.layer
        active = viewer.layers.selection.active
        on_point = points.visible and points.get_value(event.position, world=True) is not None
        on_shape = shapes.visible and shapes.get_value(event.position, world=True)[0] is not None
        wanted = points if on_point and active is shapes else shapes if on_shape and not on_point else active
        other = shapes if wanted is points else points
        if "Shift" not in event.modifiers and other.selected_data:
            other.selected_data = set()
        if wanted is not active and wanted is not None:
            self._taking = True
            try:
                viewer.layers.selection.active = wanted
            finally:
                self._taking = False
        return None

    # --- unfinished drawings ----------------------------------------------------------------------

    def drop_unfinished(self) -> bool:
        """Forget a polygon or stroke that is being drawn; whether there was one."""
        if self._labels is not None and self._labels.drop_polygon():
            return True
        return self._vectors is not None and private.drop_drawing(self._vectors.shapes.layer)

    def finish(self) -> None:
        """Close a polygon that is being drawn."""
        if self._labels is not None:
            self._labels.finish_polygon()
        if self._vectors is not None and self._vectors.shapes.busy:
            private.finish_drawing(self._vectors.shapes.layer)
