"""What each granularity keeps of real nuclei: IoU of its shape, painted back, with the truth.

Run as a script with the folder of the nuclei to see the table; the tests assert on its rows. Every fourth image by
name was held out while the clicks were tuned: the column "held out" is those alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from PIL import Image

from napari_histoanno.annotation import (
    ClickMethod,
    ClickOptions,
    Granularity,
    boxes_of,
    click_masks,
    convert_mask,
    interior_points_of,
    rasterize,
    vectorize,
)
from napari_histoanno.annotation.convert import ellipse_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


def held_out(number: int) -> bool:
    """Whether the image at this place in the list of names was kept from tuning."""
    return number % 4 == 3


def load_nuclei(folder: Path) -> list[tuple[NDArray[np.uint8], NDArray[np.int32]]]:
    """Images and instance maps, by name."""
    names = sorted(path.stem for path in (folder / "images").glob("*.png"))
    return [
        (
            np.array(Image.open(folder / "images" / f"{name}.png").convert("RGB")),
            tifffile.imread(next((folder / "labels").glob(f"{name}*"))).astype(np.int32),
        )
        for name in names
    ]


def instance_ious(truth: NDArray[np.int32], found: NDArray[np.int32]) -> NDArray[np.float64]:
    """IoU of every instance with the pixels of the same number."""
    ids = np.unique(truth[truth > 0])
    size = int(max(truth.max(), found.max())) + 1
    shared = np.bincount(truth[truth == found], minlength=size)[ids]
    union = np.bincount(truth.ravel(), minlength=size)[ids] + np.bincount(found.ravel(), minlength=size)[ids] - shared
    return np.asarray(shared / union)


def random_points_of(truth: NDArray[np.int32], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Instance numbers and, for each, the middle (x, y) of any of its pixels: the click of an impatient hand."""
    ids = np.unique(truth[truth > 0])
    rows, columns = zip(*(rng.choice(np.argwhere(truth == value)).tolist() for value in ids), strict=True)
    return ids, np.stack([columns, rows], axis=1) + 0.5


def painted_as(granularity: Granularity) -> Any:
    """Truth converted to a granularity and painted back, one instance at a time so that neighbours do not count."""

    def way(_: NDArray[np.uint8], truth: NDArray[np.int32]) -> NDArray[np.float64]:
        width, height = truth.shape[::-1]
        ious = []
        for value, geometry in convert_mask(truth, granularity):
            mask = rasterize([(geometry, 1)], (width, height)).astype(bool)
            ious.append((mask & (truth == value)).sum() / (mask | (truth == value)).sum())
        return np.array(ious)

    return way


def ellipse_in_box(_: NDArray[np.uint8], truth: NDArray[np.int32]) -> NDArray[np.float64]:
    """What a box says of the object inside without a look at the image: the ellipse that touches its sides."""
    ious = []
    for value, box in convert_mask(truth, Granularity.BOX):
        mask = rasterize([(ellipse_of(box), 1)], truth.shape[::-1]).astype(bool)
        ious.append((mask & (truth == value)).sum() / (mask | (truth == value)).sum())
    return np.array(ious)


def simplified(tolerance: float) -> Any:
    """Outlines simplified by Douglas-Peucker and painted back."""

    def way(_: NDArray[np.uint8], truth: NDArray[np.int32]) -> NDArray[np.float64]:
        shapes = vectorize(truth, simplify=tolerance)
        return instance_ious(truth, rasterize(shapes, truth.shape[::-1], dtype=np.int32))

    return way


def clicked(method: ClickMethod, *, alone: bool = False, anywhere: bool = False) -> Any:
    """Objects found from one click each; ``alone`` hides the other clicks (every fifth nucleus, to save time).

    Clicks are well inside, or with ``anywhere`` on any pixel of the nucleus.
    """

    def way(image: NDArray[np.uint8], truth: NDArray[np.int32]) -> NDArray[np.float64]:
        ids, points = random_points_of(truth, np.random.default_rng(0)) if anywhere else interior_points_of(truth)
        if not alone:
            return instance_ious(truth, _renumbered(click_masks(image, points, method=method).labels, ids))
        ious = []
        for value, point in zip(ids[::5], points[::5], strict=True):
            found = click_masks(image, [point], method=method).labels > 0
            ious.append((found & (truth == value)).sum() / (found | (truth == value)).sum())
        return np.array(ious)

    return way


def boxed(method: ClickMethod) -> Any:
    """Objects found from their tight boxes."""

    def way(image: NDArray[np.uint8], truth: NDArray[np.int32]) -> NDArray[np.float64]:
        ids, boxes = boxes_of(truth)
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        centres = boxes[:, :2] + boxes[:, 2:] / 2
        # Boxes of interlocking nuclei can share a centre; a pixel takes one click.
        _, first = np.unique(np.floor(centres), axis=0, return_index=True)
        options = ClickOptions(min_radius=1.5)
        labels = click_masks(image, centres[first], method=method, boxes=corners[first], options=options).labels
        return instance_ious(truth, _renumbered(labels, ids[first]))

    return way


def _renumbered(labels: NDArray[np.int32], ids: NDArray[np.int64]) -> NDArray[np.int32]:
    return np.concatenate([[0], ids]).astype(np.int32)[labels]


WAYS: dict[str, Any] = {
    "ellipse": painted_as(Granularity.ELLIPSE),
    "box": painted_as(Granularity.BOX),
    "box, its ellipse": ellipse_in_box,
    "outline, every corner": simplified(0),
    "outline, simplified by 1 px": simplified(1.0),
    "outline, simplified by 2 px": simplified(2.0),
    "click, network": clicked(ClickMethod.NETWORK),
    "click, contour": clicked(ClickMethod.CONTOUR),
    "click, watershed": clicked(ClickMethod.WATERSHED),
    "click, GrabCut": clicked(ClickMethod.GRABCUT),
    "any click, network": clicked(ClickMethod.NETWORK, anywhere=True),
    "any click, contour": clicked(ClickMethod.CONTOUR, anywhere=True),
    "any click, watershed": clicked(ClickMethod.WATERSHED, anywhere=True),
    "any click, GrabCut": clicked(ClickMethod.GRABCUT, anywhere=True),
    "click alone, network": clicked(ClickMethod.NETWORK, alone=True),
    "click alone, contour": clicked(ClickMethod.CONTOUR, alone=True),
    "click alone, watershed": clicked(ClickMethod.WATERSHED, alone=True),
    "tight box, network": boxed(ClickMethod.NETWORK),
    "tight box, contour": boxed(ClickMethod.CONTOUR),
}


def granularity_table(
    nuclei: list[tuple[NDArray[np.uint8], NDArray[np.int32]]], ways: list[str] | None = None
) -> dict[str, tuple[float, float, float]]:
    """Mean IoU over all nuclei and over those held out, and the share of all with an IoU above a half, per way."""
    table = {}
    for name in ways or list(WAYS):
        ious = [WAYS[name](image, truth) for image, truth in nuclei]
        kept = np.concatenate([values for n, values in enumerate(ious) if held_out(n)])
        everything = np.concatenate(ious)
        table[name] = (float(everything.mean()), float(kept.mean()), float((everything > 0.5).mean()))
    return table


if __name__ == "__main__":
    rows = granularity_table(load_nuclei(Path(sys.argv[1])))
    sys.stdout.write(f"{'':30} mean IoU  held out  IoU > 0.5\n")
    sys.stdout.writelines(f"{name:30} {a:8.3f}  {b:8.3f}  {c:9.3f}\n" for name, (a, b, c) in rows.items())
