"""Second moments of polygons in closed form, and the ellipse that shares them.

The ellipse of an object is the one with its centroid and the directions and ratio of its second moments, scaled to its
area: of all objects with one ellipse it stands for the same amount of tissue. An ellipse with semi-axes a and b has the
variances a²/4 and b²/4, so both are read from the eigenvalues of the covariance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from napari_histoanno.annotation.errors import AnnotationError
from napari_histoanno.annotation.geometry import Ellipse

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ISOTROPIC = 1e-9  # relative difference of the variances below which a direction would only be rounding noise


@dataclass(frozen=True, slots=True)
class Moments:
    """Area, centroid and central second moments divided by the area (a covariance), level-0 pixels."""

    area: float
    x: float
    y: float
    xx: float
    yy: float
    xy: float


def polygon_moments(polygon: shapely.Polygon | shapely.MultiPolygon) -> Moments:
    """Moments of a valid polygon or multi-polygon with holes, exact by Green's theorem.

    Raises
    ------
    AnnotationError
        If the polygon has no area.

    Examples
    --------
    >>> polygon_moments(shapely.box(0, 0, 6, 12))
    Moments(area=72.0, x=3.0, y=6.0, xx=3.0, yy=12.0, xy=0.0)
    """
    x0, y0, _, _ = polygon.bounds
    sums = np.zeros(6)
    for part in shapely.get_parts(polygon):
        sums += np.abs(_ring_sums(part.exterior, x0, y0))
        for hole in part.interiors:
            sums -= np.abs(_ring_sums(hole, x0, y0))
    area, sx, sy, sxx, syy, sxy = sums.tolist()
    if not area > 0:
        raise AnnotationError("the polygon has no area; delete it or draw it again")
    x, y = sx / area, sy / area
    return Moments(area, x + x0, y + y0, sxx / area - x * x, syy / area - y * y, sxy / area - x * y)


def _ring_sums(ring: Any, x0: float, y0: float) -> NDArray[np.float64]:
    """Integrals of 1, x, y, x², y² and xy over a ring's inside, all negative if the ring runs the other way round.

    (x0, y0) is the corner of a box that holds the ring, so none of the integrands is negative.
    """
    points = shapely.get_coordinates(ring) - (x0, y0)
    (ax, ay), (bx, by) = points[:-1].T, points[1:].T
    cross = ax * by - bx * ay
    return np.array(
        [
            cross.sum() / 2,
            ((ax + bx) * cross).sum() / 6,
            ((ay + by) * cross).sum() / 6,
            ((ax * ax + ax * bx + bx * bx) * cross).sum() / 12,
            ((ay * ay + ay * by + by * by) * cross).sum() / 12,
            ((ax * by + 2 * ax * ay + 2 * bx * by + bx * ay) * cross).sum() / 24,
        ]
    )


def ellipse_of_moments(moments: Moments) -> Ellipse:
    """Area-matched ellipse with these moments."""
    values = np.array([[moments.area, moments.x, moments.y, moments.xx, moments.yy, moments.xy]])
    return Ellipse(*ellipse_parameters(values)[0].tolist())


def ellipse_parameters(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre, semi-axes a >= b and angle of the area-matched ellipses, shape (N, 5), for moments of shape (N, 6)."""
    area, x, y, xx, yy, xy = moments.T
    mean, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    major = np.sqrt(mean + spread)
    # The smaller eigenvalue through the determinant: a difference would cancel for long thin objects.
    minor = np.sqrt(np.maximum((xx * yy - xy * xy) / (mean + spread), np.finfo(float).tiny))
    scale = np.sqrt(area / (math.pi * major * minor))
    angle = np.where(spread > _ISOTROPIC * mean, np.arctan2(2 * xy, xx - yy) / 2, 0.0)
    return np.stack([x, y, major * scale, minor * scale, angle], axis=1)
