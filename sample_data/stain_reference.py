"""Measure the look that stain normalisation aims at without a target of one's own.

``python -m sample_data.stain_reference`` measures the synthetic slide ``harbour`` in every way there is and writes the
numbers to where ``histotrain.stain_use`` reads them.
"""

from __future__ import annotations

import json
from pathlib import Path

from histotrain import stain_use
from histotrain.stain import StainMethod, stain_look
from napari_histoanno.datasets.stains import SAMPLE_MPP, stain_sample
from napari_histoanno.slides import open_slide

SLIDE = Path(__file__).parent / "harbour.ome.tif"


def reference() -> dict[str, object]:
    """Looks of the slide by every method, with their source."""
    with open_slide(SLIDE) as slide:
        pixels, tissue = stain_sample(slide)
    looks = {str(method): stain_look(pixels[tissue], method) for method in StainMethod}
    return {
        "source": f"sample_data/{SLIDE.name}, tiles of tissue at {SAMPLE_MPP:g} µm per pixel",
        "looks": {name: look.to_dict() for name, look in looks.items() if look is not None},
    }


if __name__ == "__main__":
    target = Path(stain_use.__file__).with_name(stain_use.REFERENCE_FILE)
    target.write_text(json.dumps(reference(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
