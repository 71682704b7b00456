"""What TIFF-based slides say about themselves: resolution, objective, vendor, free text.

Property names are OpenSlide's where it has one, so that code written for it finds what it looks for.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tifffile import TiffFile, TiffPage

INCH, CENTIMETRE = 2, 3
MICROMETRES = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "pm": 1e-6, "Å": 1e-4}
PLAUSIBLE_MPP = (0.01, 100.0)
MAX_XML = 1 << 24


def properties_of(tiff: TiffFile) -> dict[str, str]:
    """Every textual property of a TIFF slide, OpenSlide's standard names among them."""
    page = tiff.pages.first
    description = str(page.description or "")
    found: dict[str, str] = {}
    for name in ("ImageDescription", "Software", "Make", "Model", "DateTime", "Artist"):
        value = page.tags.valueof(name)
        if value:
            found[f"tiff.{name}"] = str(value)
    if description:
        found["openslide.comment"] = description
    if tiff.is_svs:
        found |= _aperio(description)
        found["openslide.vendor"] = "aperio"
    elif tiff.is_ome:
        found |= _ome(description)
        found["openslide.vendor"] = "ome"
    else:
        found["openslide.vendor"] = "generic-tiff"
    if "openslide.mpp-x" not in found:
        found |= _resolution(page)
    return found


def mpp_of(properties: Mapping[str, str]) -> tuple[float, float] | None:
    """µm per pixel along x and y, None if absent or not believable."""
    pair = number(properties.get("openslide.mpp-x")), number(properties.get("openslide.mpp-y"))
    x, y = pair[0] or pair[1], pair[1] or pair[0]
    if x is None or y is None or not all(PLAUSIBLE_MPP[0] <= value <= PLAUSIBLE_MPP[1] for value in (x, y)):
        return None
    return x, y


def number(text: str | None) -> float | None:
    """A positive finite number, or None; decimal commas are understood."""
    try:
        value = float((text or "").replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _aperio(description: str) -> dict[str, str]:
    found = {}
    for field in description.split("|")[1:]:
        key, equals, value = field.partition("=")
        if equals:
            found[f"aperio.{key.strip()}"] = value.strip()
    if "aperio.MPP" in found:
        found["openslide.mpp-x"] = found["openslide.mpp-y"] = found["aperio.MPP"]
    if "aperio.AppMag" in found:
        found["openslide.objective-power"] = found["aperio.AppMag"]
    return found


def _ome(description: str) -> dict[str, str]:
    if len(description) > MAX_XML or "<!ENTITY" in description:
        return {}
    try:
        root = ET.fromstring(description)
    except ET.ParseError:
        return {}
    found = {}
    pixels = root.find(".//{*}Pixels")
    if pixels is not None:
        for axis in "XY":
            size = number(pixels.get(f"PhysicalSize{axis}"))
            unit = MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
            if size and unit:
                found[f"openslide.mpp-{axis.lower()}"] = repr(size * unit)
    objective = root.find(".//{*}Objective")
    power = None if objective is None else number(objective.get("NominalMagnification"))
    if power:
        found["openslide.objective-power"] = f"{power:g}"
    return found


def _resolution(page: TiffPage) -> dict[str, str]:
    """From the resolution tags; values a scanner cannot mean (72 dpi and the like) are refused by `mpp_of`."""
    micrometres = {INCH: 25_400.0, CENTIMETRE: 10_000.0}.get(int(page.tags.valueof("ResolutionUnit", 1)))
    found = {}
    for axis in "XY":
        value: Any = page.tags.valueof(f"{axis}Resolution")
        if micrometres and isinstance(value, tuple) and len(value) == 2 and value[0] > 0 and value[1] > 0:
            found[f"openslide.mpp-{axis.lower()}"] = repr(micrometres * value[1] / value[0])
    return found
