"""Granularities and clicks on real nuclei keep what they kept when this was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_histoanno.annotation import ClickMethod
from tests.annotation.nuclei_report import clicked, granularity_table, held_out, load_nuclei

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real_data

# Held-out IoU that Otsu's threshold and a marker-controlled watershed on haematoxylin reach on the same clicks.
PLAIN_WATERSHED = 0.47


@pytest.fixture(scope="module")
def table(real_data: Path) -> dict[str, tuple[float, float, float]]:
    nuclei = load_nuclei(real_data / "nuclei" / "dsb2018_he")
    ways = [
        "ellipse",
        "box",
        "outline, every corner",
        "outline, simplified by 1 px",
        "click, contour",
        "click, watershed",
    ]
    return granularity_table(nuclei, ways)


def test_outlines_lose_nothing_and_ellipses_less_than_boxes(table: dict[str, tuple[float, float, float]]) -> None:
    iou = {way: row[1] for way, row in table.items()}
    assert iou["outline, every corner"] == 1
    assert iou["outline, simplified by 1 px"] > iou["ellipse"] > iou["box"] > 0.6


@pytest.mark.parametrize("way", ["click, contour", "click, watershed"])
def test_clicks_beat_the_plain_watershed_by_far(table: dict[str, tuple[float, float, float]], way: str) -> None:
    assert table[way][1] > PLAIN_WATERSHED + 0.15


@pytest.mark.parametrize("alone", [False, True], ids=["all clicked", "clicked alone"])
def test_the_network_beats_the_other_methods_on_images_it_never_saw(real_data: Path, alone: bool) -> None:
    nuclei = load_nuclei(real_data / "nuclei" / "dsb2018_he")
    unseen = [picture for n, picture in enumerate(nuclei) if held_out(n)][::3]

    def mean_iou(method: ClickMethod) -> float:
        find = clicked(method, alone=alone, anywhere=True)
        return float(np.concatenate([find(image, truth) for image, truth in unseen]).mean())

    network = mean_iou(ClickMethod.NETWORK)
    assert network > max(mean_iou(ClickMethod.CONTOUR), mean_iou(ClickMethod.WATERSHED)) + 0.05
