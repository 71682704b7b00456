"""How strongly nuclei are stained: the one channel in which a click looks for its object."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Channel(StrEnum):
    """What a click sees.

    ``DENSITY`` is the optical density of a grey value weighted towards red, where haematoxylin absorbs and eosin hardly
    does; it finds nuclei best on most stains. ``HAEMATOXYLIN`` is the Ruifrok-Johnston deconvolution (the first channel
    of :func:`skimage.color.rgb2hed`); it ignores red blood cells and brown chromogens.
    """

    DENSITY = "density"
    HAEMATOXYLIN = "haematoxylin"


_RED_WEIGHTED = np.array([[0.6, 0.3, 0.1]], np.float32)
# First column of the inverse of Ruifrok and Johnston's stain vectors (haematoxylin, eosin, DAB).
_HAEMATOXYLIN = np.array([1.87798274, -0.06590806, -0.60190736], np.float32)


def nuclear_channel(image: NDArray[np.uint8], channel: Channel = Channel.DENSITY) -> NDArray[np.float32]:
    """Strength of the nuclear stain.

    Parameters
    ----------
    image : ndarray, uint8, shape (height, width, 3)
        RGB.
    channel : Channel
        Which measure.

    Returns
    -------
    ndarray, float32, shape (height, width)
        Optical density (natural logarithm), larger in nuclei.
    """
    if channel is Channel.HAEMATOXYLIN:
        density = -np.log(np.maximum(np.arange(256, dtype=np.float32) / 255, 1e-6))
        red, green, blue = (np.take(density * w, image[..., c]) for c, w in enumerate(_HAEMATOXYLIN))
        return np.asarray(np.maximum(red + green + blue, 0), np.float32)
    grey = cv2.transform(np.ascontiguousarray(image, np.uint8).astype(np.float32), _RED_WEIGHTED)
    return np.asarray(-np.log((grey + 1) / 256), np.float32)
