"""Whatever samples a file stores, as 8-bit RGB.

Annotators and networks see one kind of pixel. Integers of more than 8 bits are scaled by the number of bits actually
in use (a 12-bit camera fills a 16-bit file to one sixteenth), which the caller finds out once per file; alpha is
blended onto white, as glass is white.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_histoanno.slides.cache import Pixels

MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
READABLE = {MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, CMYK, YCBCR}
ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA = 1, 2

Samples = npt.NDArray[Any]


@dataclass(frozen=True)
class ColourModel:
    """How the samples of an image mean colours.

    Parameters
    ----------
    photometric : int
        TIFF's PhotometricInterpretation, after decoding (JPEG turns YCbCr into RGB by itself).
    samples : int
        Samples per pixel.
    white : float
        Sample value of full intensity.
    alpha : int
        TIFF's ExtraSamples of the last sample: 1 associated (premultiplied), 2 unassociated, 0 no alpha.
    palette : ndarray, uint8, shape (n, 3), optional
        Colours of a palette image.
    """

    photometric: int
    samples: int
    white: float = 255.0
    alpha: int = 0
    palette: Pixels | None = None

    def problem(self) -> str:
        """Why such an image cannot be shown as RGB; empty if it can."""
        if self.photometric not in READABLE:
            return f"its colour model (photometric interpretation {self.photometric}) is not supported"
        if self.samples > 4 or (self.samples == 2 and not self.alpha):
            return f"it holds {self.samples} channels, not the three colours of a brightfield image"
        return ""

    def to_rgb(self, image: Samples) -> Pixels:
        """RGB of samples.

        Parameters
        ----------
        image : ndarray, any real dtype, shape (h, w, samples)
            As decoded.

        Returns
        -------
        ndarray, uint8, shape (h, w, 3)
        """
        if self.palette is not None:
            return self.palette[np.clip(image[..., 0].astype(np.intp), 0, len(self.palette) - 1)]
        eight = self._to_eight_bits(image)
        colours = self.samples - 1 if self.alpha or self.samples == 4 else self.samples
        if self.photometric == CMYK and self.samples == 4:
            return _from_cmyk(eight)
        rgb = _three(eight[..., :colours])
        if self.photometric == MIN_IS_WHITE:
            rgb = np.asarray(255 - rgb, np.uint8)
        if self.photometric == YCBCR and colours == 3:
            rgb = ycbcr_to_rgb(rgb)
        if self.alpha:
            rgb = blend_on_white(rgb, eight[..., -1], premultiplied=self.alpha == ASSOCIATED_ALPHA)
        return rgb

    def _to_eight_bits(self, image: Samples) -> Pixels:
        if image.dtype == np.uint8 and self.white == 255:
            return image
        if image.dtype == np.bool_:
            return image.astype(np.uint8) * np.uint8(255)
        if image.dtype.kind == "u" and self.white > 255:
            shift = max(0, int(self.white).bit_length() - 8)
            return np.asarray(np.minimum(image >> shift, 255), np.uint8)
        scaled = np.nan_to_num(image.astype(np.float32), posinf=self.white, neginf=0) * np.float32(255 / self.white)
        return np.asarray(np.clip(np.rint(scaled), 0, 255), np.uint8)


def white_of(dtype: np.dtype[Any], bits: int, brightest: float) -> float:
    """Sample value of full intensity.

    Parameters
    ----------
    dtype : dtype
        Type of the samples.
    bits : int
        Bits per sample that the file declares.
    brightest : float
        Brightest sample of a coarse view of the image; decides for 16-bit integers and for floats.

    Returns
    -------
    float
        For integers 2^n − 1 with the n ≥ 8 bits in use; for floats 1, or as for integers if there is more.
    """
    if dtype.kind == "b":
        return 1.0
    if dtype.kind in "ui" and bits <= 8:
        return float((1 << bits) - 1)
    if dtype.kind == "f" and brightest <= 1:
        return 1.0
    limit = 63 if dtype.kind == "f" else bits
    return float((1 << min(limit, max(8, int(max(0.0, brightest)).bit_length()))) - 1)


def blend_on_white(rgb: Pixels, alpha: Pixels, *, premultiplied: bool) -> Pixels:
    """Colours seen on white through an alpha channel (h, w), rounded to the nearest level."""
    if alpha.size == 0 or alpha.min() == 255:
        return np.ascontiguousarray(rgb)
    opacity = alpha[..., None].astype(np.uint16)
    colour = rgb.astype(np.uint16) * (255 if premultiplied else opacity)
    return np.asarray(np.minimum((colour + 255 * (255 - opacity) + 127) // 255, 255), np.uint8)


def ycbcr_to_rgb(image: Pixels) -> Pixels:
    """RGB of full-range YCbCr (JFIF, ITU-R BT.601)."""
    y, cb, cr = (image[..., i].astype(np.float32) for i in range(3))
    red = y + 1.402 * (cr - 128)
    green = y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128)
    blue = y + 1.772 * (cb - 128)
    return np.asarray(np.clip(np.rint(np.stack([red, green, blue], axis=-1)), 0, 255), np.uint8)


def _from_cmyk(image: Pixels) -> Pixels:
    inverse = 255 - image.astype(np.uint16)
    return np.asarray((inverse[..., :3] * inverse[..., 3:] + 127) // 255, np.uint8)


def _three(image: Pixels) -> Pixels:
    if image.shape[-1] == 1:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(image[..., 0]), cv2.COLOR_GRAY2RGB), np.uint8)
    return np.ascontiguousarray(image)
