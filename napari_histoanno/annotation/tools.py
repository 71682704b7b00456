"""The tools an annotator can hold, and the granularity each one makes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from napari_histoanno.annotation.model import Granularity


class Tool(StrEnum):
    """What a click or drag on the slide does."""

    PAN = "pan"
    SELECT = "select"
    BRUSH = "brush"
    ERASE = "erase"
    FILL = "fill"
    LASSO = "lasso"
    POLYGON = "polygon"
    ELLIPSE = "ellipse"
    BOX = "box"
    SCRIBBLE = "scribble"
    POINT = "point"
    REGION = "region"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class ToolInfo:
    """How a tool is presented: label, one-line explanation, shortcut and the granularity it makes (None: no record)."""

    label: str
    hint: str
    shortcut: str
    granularity: Granularity | None = None

    @property
    def paints(self) -> bool:
        """Whether the tool needs a class."""
        return self.granularity is not None and self.granularity is not Granularity.EXHAUSTIVE


TOOLS: dict[Tool, ToolInfo] = {
    Tool.PAN: ToolInfo("Pan", "Drag to move, wheel to zoom", "H"),
    Tool.SELECT: ToolInfo("Select", "Click or drag to select shapes; drag to move, Delete to remove", "V"),
    Tool.BRUSH: ToolInfo("Brush", "Paint pixels of the current class; [ and ] change the size", "B", Granularity.PIXEL),
    Tool.ERASE: ToolInfo("Erase", "Make painted pixels unlabelled again", "E"),
    Tool.FILL: ToolInfo("Fill", "Click to fill a connected painted area", "F", Granularity.PIXEL),
    Tool.LASSO: ToolInfo(
        "Paint area", "Click corners, double-click to fill the area with pixels", "A", Granularity.PIXEL
    ),
    Tool.POLYGON: ToolInfo(
        "Polygon", "Click corners, double-click to close an editable outline", "P", Granularity.PIXEL
    ),
    Tool.ELLIPSE: ToolInfo("Ellipse", "Drag an ellipse around an object", "O", Granularity.ELLIPSE),
    Tool.BOX: ToolInfo("Box", "Drag a box around an object", "X", Granularity.BOX),
    Tool.SCRIBBLE: ToolInfo("Scribble", "Draw a line through tissue of the current class", "S", Granularity.SPARSE),
    Tool.POINT: ToolInfo("Point", "Click on an object", "C", Granularity.POINT),
    Tool.REGION: ToolInfo(
        "Done region",
        "Drag a box where everything is annotated: the rest inside counts as background",
        "R",
        Granularity.EXHAUSTIVE,
    ),
    Tool.IMAGE: ToolInfo("Whole slide", "Label the whole slide with the current class", "W", Granularity.IMAGE),
}
