"""What an annotator gets done in some minutes, at every granularity, and what that costs.

The annotator goes through fields of 64 px in random order and annotates each completely before the next; the same
fields in the same order whatever the granularity, so that more minutes mean the same and more. What a granularity does
not say stays unlabelled: a click says nothing of where its nucleus ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_histoanno.annotation import (
    ClickOptions,
    Granularity,
    Scribble,
    click_masks,
    convert_mask,
    ellipses_of,
    interior_points_of,
    rasterize,
)
from napari_histoanno.studies.grid import StudyError
from napari_histoanno.studies.nuclei import BACKGROUND, MASK_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_histoanno.studies.nuclei import Nuclei

    UInt8 = NDArray[np.uint8]
    Annotate = Callable[[Nuclei, NDArray[np.int32], tuple[int, int], np.random.Generator], UInt8]

FIELD, TILE, MARGIN = 64, 32, 32
"""Sides of a field and of a tile that gets one label, and how far around a field a click looks; pixels."""

LEAST = 12
"""Pixels of a nucleus that must lie in a field for it to be annotated there."""

DISC, APART = 3, 14
"""A click's certain inside, and the distance beyond which nothing clicked is near; pixels."""

PEN, GAP, PER_BACKGROUND = 3.0, 4, 4
"""Width of a scribble and its distance from nuclei where it marks background, pixels; nuclei per such scribble."""

ACTIONS = ("image label", "click", "click to mask", "scribble", "box", "ellipse", "outline")


class Costs(BaseModel):
    """Seconds that an action takes.

    From natural images, quoted from memory of Bearman et al. (2016: labels, clicks, scribbles), Papadopoulos et al.
    (2017: boxes by extreme clicking) and Lin et al. (2014: polygons around large objects). Assumptions of this project:
    an ellipse takes one and a half boxes; looking at a field 1 s; checking a mask that a click became 1.5 s; what is
    drawn freehand takes a quarter of the time of large objects.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: float = Field(default=1.0, ge=0.0, description="Looking at a field, whatever is annotated.")
    label_per_class: float = Field(default=1.0, ge=0.0, description="Label of a tile, for each class asked.")
    first_click: float = Field(default=2.4, ge=0.0, description="First click of a class in a field.")
    click: float = Field(default=0.9, ge=0.0, description="Every further click.")
    verify: float = Field(default=1.5, ge=0.0, description="Checking the mask that a click became.")
    scribble: float = Field(default=10.9, ge=0.0, description="Scribble in a large region.")
    box: float = Field(default=7.0, ge=0.0, description="Box.")
    ellipse: float = Field(default=10.5, ge=0.0, description="Ellipse.")
    outline: float = Field(default=79.0, ge=0.0, description="Outline of a large object.")
    freehand_scale: float = Field(default=0.25, gt=0.0, description="Share of that time for a nucleus.")

    @classmethod
    def load(cls, path: Path | None) -> Costs:
        """From a JSON file with any of the fields; the defaults without one.

        Raises
        ------
        StudyError
            If the file is not that.
        """
        if path is None:
            return cls()
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            raise StudyError(f"The costs in {path} cannot be used: {error}") from error

    def of_field(self, action: str, grades: Sequence[int]) -> float:
        """Seconds to annotate a field with nuclei of these grades."""
        count, kinds = len(grades), len(set(grades))
        clicks = kinds * self.first_click + (count - kinds) * self.click
        each = {
            "image label": (FIELD // TILE) ** 2 * (len(MASK_NAMES) - 1) * self.label_per_class,
            "click": clicks,
            "click to mask": clicks + count * self.verify,
            "scribble": (count + _background_scribbles(count)) * self.scribble * self.freehand_scale,
            "box": count * self.box,
            "ellipse": count * self.ellipse,
            "outline": count * self.outline * self.freehand_scale,
        }
        return self.field + each[action]


class Annotated(NamedTuple):
    """Fields uint8 (N, 64, 64, 3), their labels uint8 (N, 64, 64) with 0 unlabelled, and the minutes they took."""

    images: UInt8
    labels: UInt8
    minutes: float


def annotate_for(
    minutes: float, action: str, pictures: Sequence[Nuclei], costs: Costs, rng: np.random.Generator
) -> Annotated:
    """What is annotated in some minutes; one field at least.

    Parameters
    ----------
    minutes : float
        No field is begun that would not be finished by then.
    action : str
        One of `ACTIONS`.
    pictures : sequence of Nuclei
        Where.
    costs : Costs
        Seconds of each action.
    rng : numpy.random.Generator
        Order of the fields; equal generators give the same order for every action.
    """
    hand = np.random.default_rng(int(rng.integers(2**32)))
    images: list[UInt8] = []
    labels: list[UInt8] = []
    spent = 0.0
    for picture, row, column in _fields(pictures, rng):
        where = np.s_[row : row + FIELD, column : column + FIELD]
        instances = _seen(picture.instances[where])
        present = np.unique(instances[instances > 0])
        seconds = costs.of_field(action, picture.grades[present].tolist())
        if labels and spent + seconds > 60 * minutes:
            break
        spent += seconds
        images.append(picture.image[where])
        labels.append(_ANNOTATE[action](picture, instances, (row, column), hand))
    return Annotated(np.stack(images), np.stack(labels), spent / 60)


def _fields(pictures: Sequence[Nuclei], rng: np.random.Generator) -> Iterator[tuple[Nuclei, int, int]]:
    """All fields of all pictures in random order."""
    places = [
        (n, row, column)
        for n, picture in enumerate(pictures)
        for row in range(0, picture.instances.shape[0] - FIELD + 1, FIELD)
        for column in range(0, picture.instances.shape[1] - FIELD + 1, FIELD)
    ]
    for index in rng.permutation(len(places)):
        n, row, column = places[index]
        yield pictures[n], row, column


def _seen(instances: NDArray[np.int32]) -> NDArray[np.int32]:
    """Without nuclei of which hardly anything lies in the field."""
    ids, index, counts = np.unique(instances, return_inverse=True, return_counts=True)
    kept = np.where(counts >= LEAST, ids, 0)
    return np.asarray(kept[index].reshape(instances.shape), np.int32)


def _background_scribbles(count: int) -> int:
    return max(1, -(-count // PER_BACKGROUND))


def _image_label(
    picture: Nuclei, instances: NDArray[np.int32], _place: tuple[int, int], _rng: np.random.Generator
) -> UInt8:
    """Each tile in the highest grade that it shows, or background."""
    grades = picture.grades[instances]
    side = FIELD // TILE
    highest = grades.reshape(side, TILE, side, TILE).max((1, 3)) + BACKGROUND
    return np.asarray(np.kron(highest, np.ones((TILE, TILE), np.uint8)), np.uint8)


def _click(picture: Nuclei, instances: NDArray[np.int32], _place: tuple[int, int], _rng: np.random.Generator) -> UInt8:
    """A disc under every click, background where no click is near, nothing between."""
    ids, points = interior_points_of(instances)
    clicked = np.ones(instances.shape, np.uint8)
    labels = np.zeros(instances.shape, np.uint8)
    for number, (x, y) in zip(ids.tolist(), points.tolist(), strict=True):
        cv2.circle(clicked, (int(x), int(y)), 0, 0, -1)
        cv2.circle(labels, (int(x), int(y)), DISC, int(picture.grades[number]) + BACKGROUND, -1)
    distance = cv2.distanceTransform(clicked, cv2.DIST_L2, 5)
    labels[(labels == 0) & (distance > APART)] = BACKGROUND
    return labels


def _click_to_mask(
    picture: Nuclei, instances: NDArray[np.int32], place: tuple[int, int], _rng: np.random.Generator
) -> UInt8:
    """What is found in the picture under every click; the rest is background."""
    ids, points = interior_points_of(instances)
    top, left = max(place[0] - MARGIN, 0), max(place[1] - MARGIN, 0)
    around = picture.image[top : place[0] + FIELD + MARGIN, left : place[1] + FIELD + MARGIN]
    shift = np.array([place[1] - left, place[0] - top], float)
    found = click_masks(np.ascontiguousarray(around), points + shift, options=ClickOptions.at(0.5)).labels
    grades = np.concatenate([[0], picture.grades[ids]])[found] + BACKGROUND
    row, column = place[0] - top, place[1] - left
    return np.asarray(grades[row : row + FIELD, column : column + FIELD], np.uint8)


def _scribble(
    picture: Nuclei, instances: NDArray[np.int32], _place: tuple[int, int], rng: np.random.Generator
) -> UInt8:
    """A stroke along the long axis of every nucleus, and some through the background."""
    ids, ellipses = ellipses_of(instances)
    strokes = []
    for number, (cx, cy, a, _, angle) in zip(ids.tolist(), ellipses.tolist(), strict=True):
        dx, dy = 0.5 * a * np.cos(angle), 0.5 * a * np.sin(angle)
        ends = ((cx - dx, cy - dy), (cx + dx, cy + dy))
        strokes.append((Scribble(ends, PEN), int(picture.grades[number]) + BACKGROUND))
    clear = cv2.distanceTransform((instances == 0).astype(np.uint8), cv2.DIST_L2, 5)
    for _ in range(_background_scribbles(len(ids))):
        row, column = rng.integers(0, FIELD, 2)
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(10, 30)
        steps = np.arange(0.0, length, 1.0)
        xs, ys = column + 0.5 + steps * np.cos(angle), row + 0.5 + steps * np.sin(angle)
        inside = (xs >= 0) & (ys >= 0) & (xs < FIELD) & (ys < FIELD)
        free = inside.copy()
        free[inside] = clear[ys[inside].astype(int), xs[inside].astype(int)] > GAP
        last = len(free) if free.all() else int(np.argmin(free))
        if last > 1:
            path = ((float(xs[0]), float(ys[0])), (float(xs[last - 1]), float(ys[last - 1])))
            strokes.append((Scribble(path, PEN), BACKGROUND))
    return np.asarray(rasterize(strokes, (FIELD, FIELD)), np.uint8)


def _shape(granularity: Granularity) -> Annotate:
    def annotate(
        picture: Nuclei, instances: NDArray[np.int32], _place: tuple[int, int], _rng: np.random.Generator
    ) -> UInt8:
        shapes = sorted(convert_mask(instances, granularity), key=lambda shape: int(picture.grades[shape[0]]))
        pairs = [(geometry, int(picture.grades[number])) for number, geometry in shapes]
        return np.asarray(rasterize(pairs, (FIELD, FIELD)) + BACKGROUND, np.uint8)

    return annotate


_ANNOTATE: dict[str, Annotate] = {
    "image label": _image_label,
    "click": _click,
    "click to mask": _click_to_mask,
    "scribble": _scribble,
    "box": _shape(Granularity.BOX),
    "ellipse": _shape(Granularity.ELLIPSE),
    "outline": _shape(Granularity.PIXEL),
}
