"""Objects one by one: which pixels of a region belong to the same outline, ellipse, box, click or painted blob.

The pixels of an object are those that show its class: what a finer annotation covers, or annotators disagree on, is
taken from it as it is from the label map. Where several annotators drew the same object (their drawings share more
than half of what they cover together), it is one object. A painted blob that lies on a drawn object of its class
corrects it and adds to it; any other blob is an object of its own. The background is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from napari_histoanno.annotation import Granularity, WholeSlide
from napari_histoanno.datasets.frame import Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_histoanno.annotation import Annotation
    from napari_histoanno.datasets.labels import SlideLabels

OBJECTS = (Granularity.BOX, Granularity.ELLIPSE, Granularity.POINT, Granularity.PIXEL)
_SAME = 0.5


def render_instances(
    view: SlideLabels, location: tuple[float, float], downsample: float, labels: NDArray[np.uint8]
) -> NDArray[np.int32]:
    """Object numbers of a region.

    Parameters
    ----------
    view : SlideLabels
        What is annotated.
    location : (x, y)
        Level-0 position of the region's top-left corner.
    downsample : float
        Level-0 pixels per pixel of the region.
    labels : uint8 array, shape (height, width)
        What ``view.render`` gives for it.

    Returns
    -------
    int32 array, shape (height, width)
        1, 2 … n without gaps, 0 for no object; objects that the region's edge cuts have a number too.
    """
    frame = Frame(location, downsample, (labels.shape[1], labels.shape[0]))
    drawn = drawn_objects(view, frame)
    shown = np.array([0, *(view.shown(record.class_id) for record in drawn)], np.uint8)
    instances = _drawn(view, frame, drawn)
    instances[shown[instances] != labels] = 0
    _add_painted(instances, view, frame, labels)
    present = np.unique(instances)
    return np.searchsorted(present[present > 0], instances).astype(np.int32) + (instances > 0)


def drawn_objects(view: SlideLabels, frame: Frame) -> list[Annotation]:
    """Records that are objects and touch a frame, in the order in which they are painted."""
    background = view.scheme.background
    nothing = {0, background.id if background else 0}
    found = [
        record
        for record in view.records_in(frame.bounds)
        if view.shown(record.class_id) not in nothing and not isinstance(record.geometry, WholeSlide)
    ]
    return [record for granularity in OBJECTS for record in found if record.granularity is granularity]


def whole_objects(instances: NDArray[np.int32]) -> NDArray[np.int32]:
    """Numbers of the objects that do not reach the edge of their region."""
    edges = (instances[0], instances[-1], instances[:, 0], instances[:, -1])
    numbers: NDArray[np.int32] = np.setdiff1d(np.unique(instances), np.unique(np.concatenate([*edges, [0]])))
    return numbers


def _drawn(view: SlideLabels, frame: Frame, records: list[Annotation]) -> NDArray[np.int32]:
    """Records numbered from 1 in their order; the same object keeps the number that the first annotator's has."""
    result = np.zeros(frame.size[::-1], np.int32)
    for name in sorted({record.annotator for record in records}):
        theirs = np.zeros_like(result)
        shapes = [(view.disc(r.geometry), n) for n, r in enumerate(records, 1) if r.annotator == name]
        frame.paint(theirs, shapes)
        result = np.where(result > 0, result, _renamed(theirs, result, len(records)))
    return result


def _renamed(theirs: NDArray[np.int32], known: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """Objects with the number of the known one that they are the same as, where there is one."""
    both = (theirs > 0) & (known > 0)
    if not both.any():
        return theirs
    pairs, shared = np.unique(np.stack([theirs[both], known[both]]), axis=1, return_counts=True)
    mine, other = (np.bincount(objects.ravel(), minlength=count + 1) for objects in (theirs, known))
    same = shared > _SAME * (mine[pairs[0]] + other[pairs[1]] - shared)
    number = np.arange(count + 1, dtype=np.int32)
    number[pairs[0][same]] = pairs[1][same]
    renamed: NDArray[np.int32] = number[theirs]
    return renamed


def _add_painted(instances: NDArray[np.int32], view: SlideLabels, frame: Frame, labels: NDArray[np.uint8]) -> None:
    """Number the painted blobs of each class, in place."""
    if not any(mask.reaches(frame.bounds) for mask in (*view.masks.values(), *view.guesses.values())):
        return
    background = view.scheme.background
    painted = view.render_masks(frame.location, frame.downsample, frame.size)
    if view.guesses:
        guessed = view.render_masks(frame.location, frame.downsample, frame.size, predicted=True)
        painted = np.where(painted, painted, guessed)
    painted[painted != labels] = 0
    for class_id in np.unique(painted[painted > 0]).tolist():
        if background is not None and class_id == background.id:
            continue
        blobs, number_of = cv2.connectedComponents((painted == class_id).astype(np.uint8), connectivity=8)
        numbers = int(instances.max()) + np.arange(blobs, dtype=np.int32)
        on = (number_of > 0) & (instances > 0)
        pairs, shared = np.unique(np.stack([number_of[on], instances[on]]), axis=1, return_counts=True)
        order = np.argsort(shared, kind="stable")  # of several drawn objects the one it covers most has the last word
        numbers[pairs[0][order]] = pairs[1][order]
        np.copyto(instances, numbers[number_of], where=(number_of > 0) & (instances == 0))
