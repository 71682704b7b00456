"""Several annotators on one region: how far they agree, and what they say together.

Unlabelled is "not known": a pixel or object counts only where those compared have both said something. A consensus
needs more than half of the votes cast; where no class has that, nothing is said (0), so that a tie is never silently
resolved.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import shapely

from napari_histoanno.annotation.errors import AnnotationError
from napari_histoanno.annotation.geometry import Geometry, Point
from napari_histoanno.annotation.scheme import MAX_CLASSES, UNLABELLED
from napari_histoanno.annotation.vectorize import vectorize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Labelled: TypeAlias = "NDArray[Any] | Sequence[tuple[int, Geometry]]"

_SAME_OBJECT = 0.5  # intersection over union above which two shapes are the same object; then at most one can be
_CHUNK = 1 << 22  # pixels compared at a time: bounds the memory that counting takes


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two annotators agree.

    Attributes
    ----------
    kappa : float
        Cohen's kappa; NaN where it is not defined (nothing in common, or both said one and the same class throughout).
    observed, expected : float
        Share on which they agree, and on which they would by chance.
    count : int
        Pixels or matched objects compared.
    confusion : ndarray, int64, shape (classes, classes)
        Row: class by the first annotator minus 1, column: by the second.
    only_a, only_b : int
        Pixels or objects that only one of them labelled; they do not enter kappa.
    """

    kappa: float
    observed: float
    expected: float
    count: int
    confusion: NDArray[np.int64]
    only_a: int = 0
    only_b: int = 0


def agreement(
    a: Labelled, b: Labelled, *, classes: int | None = None, level: Literal["pixel", "object"] = "pixel"
) -> Agreement:
    """Cohen's kappa of two annotators.

    Parameters
    ----------
    a, b : ndarray of int, or sequence of (int, Geometry)
        Label maps of one shape, 0 unlabelled. At object level also lists of (class, shape), as :func:`.vectorize`
        gives them.
    classes : int, optional
        Number of classes C (labels 1 ... C); the largest label found by default.
    level : "pixel" or "object"
        Whether pixels vote or objects. Objects of a map are its connected components. Two objects are the same if they
        share more than half of their union (a click: if it lies in the other's shape).

    Returns
    -------
    Agreement
        Kappa and the counts behind it.

    Raises
    ------
    AnnotationError
        If the maps differ in shape or a label exceeds ``classes``.

    Examples
    --------
    >>> a, b = np.array([[1, 1, 2, 2, 0]]), np.array([[1, 2, 2, 2, 1]])
    >>> result = agreement(a, b)
    >>> result.kappa, result.observed, result.count
    (0.5, 0.75, 4)
    """
    if level == "object":
        return _object_agreement(_objects(a), _objects(b), classes)
    if level != "pixel":
        raise AnnotationError(f'level is "pixel" or "object", not {level!r}')
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
        raise AnnotationError('pixels are compared in label maps: rasterize the shapes, or ask for level="object"')
    _check_maps([a, b])
    both = (a != UNLABELLED) & (b != UNLABELLED)
    only_a = int(np.count_nonzero(a)) - int(both.sum())
    only_b = int(np.count_nonzero(b)) - int(both.sum())
    return _cohen(a[both], b[both], classes, only_a, only_b)


def pairwise_agreement(
    labelled: Sequence[Labelled], *, classes: int | None = None, level: Literal["pixel", "object"] = "pixel"
) -> dict[tuple[int, int], Agreement]:
    """:func:`agreement` of every two annotators (i, j), i < j."""
    pairs = itertools.combinations(range(len(labelled)), 2)
    return {(i, j): agreement(labelled[i], labelled[j], classes=classes, level=level) for i, j in pairs}


def fleiss(maps: Sequence[NDArray[Any]], *, classes: int | None = None) -> float:
    """Fleiss' kappa of two or more annotators over what all of them have labelled.

    Parameters
    ----------
    maps : sequence of ndarray of int, all of one shape
        Label maps, or one label per object; 0 is unlabelled.
    classes : int, optional
        Number of classes; the largest label found by default.

    Returns
    -------
    float
        NaN where it is not defined (nothing in common, or one class throughout).

    Raises
    ------
    AnnotationError
        If there are fewer than two maps, they differ in shape, or a label exceeds ``classes``.
    """
    _check_maps(maps)
    everyone = np.logical_and.reduce([labels != UNLABELLED for labels in maps])
    votes = np.stack([labels[everyone] for labels in maps]).astype(np.int64)
    raters, items = votes.shape
    count = _class_count([votes], classes)
    if not items:
        return float("nan")
    shares = np.bincount(votes.ravel(), minlength=count + 1)[1:] / votes.size
    expected = float(np.square(shares).sum())
    # Agreeing pairs of raters, summed over pairs: no table of items by classes is needed.
    agreeing = sum(int((votes[i] == votes[j]).sum()) for i, j in itertools.combinations(range(raters), 2))
    return _kappa(agreeing / (items * raters * (raters - 1) / 2), expected)


def consensus(maps: Sequence[NDArray[Any]], *, min_votes: int = 1) -> NDArray[Any]:
    """What most annotators say, pixel by pixel.

    Parameters
    ----------
    maps : sequence of ndarray of int, all of one shape and dtype
        Label maps; 0 is unlabelled and casts no vote.
    min_votes : int
        A class needs at least so many votes; 2 asks for confirmation.

    Returns
    -------
    ndarray, shape and dtype of the maps
        The class with more than half of the votes cast; 0 where there is none.

    Raises
    ------
    AnnotationError
        If there is no map, or they differ in shape.

    Examples
    --------
    >>> consensus([np.array([1, 1, 1, 0]), np.array([1, 2, 2, 0]), np.array([2, 2, 0, 3])])
    array([1, 2, 0, 3])
    """
    _check_maps(maps, least=1)
    # Boyer and Moore: the only class that can have a majority survives one pass; a second pass counts its votes.
    winner, lead = np.zeros_like(maps[0]), np.zeros(maps[0].shape, np.int16)
    votes, cast = lead.copy(), lead.copy()
    for labels in maps:
        voted = labels != UNLABELLED
        fresh = voted & (lead == 0)
        winner[fresh] = labels[fresh]
        lead[voted] += np.where(labels == winner, 1, -1)[voted].astype(np.int16)
        cast += voted
    for labels in maps:
        votes += (labels == winner) & (winner != UNLABELLED)
    winner[(2 * votes <= cast) | (votes < min_votes)] = UNLABELLED
    return winner


def match_objects(a: Sequence[Geometry], b: Sequence[Geometry]) -> list[tuple[int, int]]:
    """Pairs (i, j) of the same object in two lists, each used once, the best matches served first.

    Two shapes match if they share more than half of their union, a click and a shape if the click lies inside. Two
    clicks say nothing of extent and match only at the same place.
    """
    if not a or not b:
        return []
    shapes_a, shapes_b = (shapely.make_valid(np.array([g.shape for g in side], object)) for side in (a, b))
    i, j = shapely.STRtree(shapes_b).query(shapes_a, predicate="intersects")
    clicked = np.array([isinstance(g, Point) for g in a])[i] | np.array([isinstance(g, Point) for g in b])[j]
    shared = shapely.area(shapely.intersection(shapes_a[i], shapes_b[j]))
    union = shapely.area(shapes_a[i]) + shapely.area(shapes_b[j]) - shared
    quality = np.where(clicked, 1.0, shared / np.where(union > 0, union, 1))
    partner: dict[int, int] = {}
    taken: set[int] = set()
    for n in np.argsort(-quality, kind="stable").tolist():
        ours, theirs = int(i[n]), int(j[n])
        if quality[n] > _SAME_OBJECT and ours not in partner and theirs not in taken:
            partner[ours] = theirs
            taken.add(theirs)
    return sorted(partner.items())


def _check_maps(maps: Sequence[NDArray[Any]], *, least: int = 2) -> None:
    if len(maps) < least:
        raise AnnotationError(f"at least {least} label map(s) are needed, not {len(maps)}")
    shapes = {labels.shape for labels in maps}
    if len(shapes) > 1:
        raise AnnotationError(f"label maps of one region have one shape, not {sorted(shapes)}")
    if any(labels.dtype.kind not in "biu" for labels in maps):
        raise AnnotationError("label maps hold integers")


def _class_count(labels: Sequence[NDArray[Any]], classes: int | None) -> int:
    largest = max((int(values.max()) for values in labels if values.size), default=0)
    smallest = min((int(values.min()) for values in labels if values.size), default=1)
    count = largest if classes is None else classes
    if largest > count or smallest < 0 or count > MAX_CLASSES:
        raise AnnotationError(f"labels must lie in 0 … {min(count, MAX_CLASSES)}, found {smallest} … {largest}")
    return count


def _kappa(observed: float, expected: float) -> float:
    return (observed - expected) / (1 - expected) if expected < 1 else float("nan")


def _cohen(a: NDArray[Any], b: NDArray[Any], classes: int | None, only_a: int, only_b: int) -> Agreement:
    count = _class_count([a, b], classes)
    flat = np.zeros(count * count, np.int64)
    for start in range(0, len(a), _CHUNK):
        rows, columns = (labels[start : start + _CHUNK].astype(np.int64) - 1 for labels in (a, b))
        flat += np.bincount(rows * count + columns, minlength=count * count)
    confusion = flat.reshape(count, count)
    total = int(confusion.sum())
    if not total:
        nan = float("nan")
        return Agreement(nan, nan, nan, 0, confusion, only_a, only_b)
    observed = float(np.trace(confusion) / total)
    expected = float((confusion.sum(axis=0) / total) @ (confusion.sum(axis=1) / total))
    return Agreement(_kappa(observed, expected), observed, expected, total, confusion, only_a, only_b)


def _objects(labelled: Labelled) -> list[tuple[int, Geometry]]:
    if isinstance(labelled, np.ndarray):
        return list(vectorize(labelled))
    return [(label, geometry) for label, geometry in labelled if label != UNLABELLED]


def _object_agreement(a: list[tuple[int, Geometry]], b: list[tuple[int, Geometry]], classes: int | None) -> Agreement:
    pairs = match_objects([geometry for _, geometry in a], [geometry for _, geometry in b])
    first = np.array([a[i][0] for i, _ in pairs], np.int64)
    second = np.array([b[j][0] for _, j in pairs], np.int64)
    return _cohen(first, second, classes, len(a) - len(pairs), len(b) - len(pairs))
