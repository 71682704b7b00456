"""Classes as other tools name them, collected into a label scheme while a file is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_histoanno.annotation.scheme import MAX_CLASSES, UNLABELLED, LabelScheme

if TYPE_CHECKING:
    from collections.abc import Mapping

Color = tuple[int, int, int]


class ClassCollector:
    """Gives each class name an id, in the order of appearance.

    Names that differ in case only are one class in a scheme; that and whatever else is lost goes to ``problems``.
    """

    def __init__(self, scheme: LabelScheme | None = None) -> None:
        self.scheme = scheme or LabelScheme()
        self.problems: list[str] = []
        self._ids: dict[str, int] = {label.name: label.id for label in self.scheme}

    def id_of(self, name: str, color: Color | None = None) -> int:
        """Id of a class, added if new; 0 for an empty name or when the scheme is full."""
        name = name.strip()
        if not name:
            return UNLABELLED
        if name not in self._ids:
            self._ids[name] = self._add(name, color)
        return self._ids[name]

    def _add(self, name: str, color: Color | None) -> int:
        known = self.scheme.find(name)
        if known is not None:
            self.problems.append(f"class {name!r} differs from {known.name!r} in case only and was taken for the same")
            return known.id
        if len(self.scheme) == MAX_CLASSES:
            self.problems.append(
                f"class {name!r} is beyond the {MAX_CLASSES} that a scheme holds; its objects have none"
            )
            return UNLABELLED
        self.scheme = self.scheme.with_class(name, color=color)
        return self.scheme.classes[-1].id


def color_from_int(value: int) -> Color:
    """RGB of a packed ARGB colour, signed or not, as Java stores it."""
    return (value >> 16 & 255, value >> 8 & 255, value & 255)


def color_from_list(values: Any) -> Color | None:
    """RGB of a list of 3 (RGB) or 4 (RGBA) numbers in 0 ... 255; None for anything else."""
    if not isinstance(values, list) or len(values) not in (3, 4):
        return None
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 255 for v in values):
        return None
    red, green, blue = (int(v) for v in values[:3])
    return (red, green, blue)


def qupath_class(classification: Any) -> tuple[str, Color | None]:
    """Name ("" for none) and colour of a QuPath classification, of any version.

    QuPath 0.2 writes ``{"name", "colorRGB"}``, later versions ``{"name", "color"}`` or, for derived classes, ``names``.
    """
    if isinstance(classification, str):
        return classification, None
    if not isinstance(classification, dict):
        return "", None
    return _name(classification), _color(classification)


def _name(classification: Mapping[str, Any]) -> str:
    names = classification.get("names")
    if isinstance(names, list) and names and all(isinstance(n, str) for n in names):
        return ": ".join(names)
    name = classification.get("name")
    return name if isinstance(name, str) else ""


def _color(classification: Mapping[str, Any]) -> Color | None:
    packed = classification.get("colorRGB")
    if isinstance(packed, int) and not isinstance(packed, bool):
        return color_from_int(packed)
    return color_from_list(classification.get("color"))
