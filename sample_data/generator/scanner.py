"""What the microscope and its camera add: blur, uneven focus and light, sharpening, noise, dust."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from .fields import noise, ramp, resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .stain import StainStyle

_COARSE = 16


def scan(light: NDArray[np.float32], style: StainStyle, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Image that a slide scanner delivers, uint8 RGB (h, w, 3); ``light`` is used up."""
    shape = (light.shape[0], light.shape[1])
    coarse = (-(-shape[0] // _COARSE), -(-shape[1] // _COARSE))
    focus = np.clip(noise(coarse, 900 / _COARSE, rng, 2) * 0.5 - 0.35, 0, 1)
    worse = resize(focus.astype(np.float32), shape)
    field = resize(noise(coarse, 2400 / _COARSE, rng) * 0.006 + 1, shape)
    dust = 1 - 0.3 * ramp(noise(shape, 11, rng), 4.0, 4.6)
    image = np.empty(light.shape, np.uint8)
    for channel in range(3):
        # The colours focus in slightly different places: their edges do not coincide to the pixel.
        shift = np.array([[1, 0, 0.18 * (channel - 1)], [0, 1, 0.12 * (channel - 1)]], np.float32)
        plane = cv2.warpAffine(light[..., channel], shift, shape[::-1], borderMode=cv2.BORDER_REFLECT)
        sharp = cv2.GaussianBlur(plane, (0, 0), style.sigma)
        soft = cv2.GaussianBlur(plane, (0, 0), style.sigma + style.defocus)
        plane = (sharp + (soft - sharp) * worse) * field * dust
        if style.sharpening:
            plane += (plane - cv2.GaussianBlur(plane, (0, 0), 1.3)) * np.float32(style.sharpening)
        plane += rng.standard_normal(shape, np.float32) * np.float32(style.sensor_noise)
        image[..., channel] = np.clip(np.rint(plane), 0, 255)
    return image
