"""Stain normalisation: slides of different laboratories in the colours of one target.

The looks of the target and of a slide are measured once, the slide's from a sample of its patches: then all of its
tiles change in the same way and no seams appear, and a tile without much tissue cannot be measured wrongly. What is
then left to do per pixel are look-ups.

Four methods. `macenko` (Macenko et al. 2009) and `vahadane` (Vahadane et al. 2016) find the colours of haematoxylin
and eosin, `ruifrok` (Ruifrok and Johnston 2001) takes fixed ones; all three then exchange the colours and scale the
amounts so that their 99th percentiles agree. `reinhard` (Reinhard et al. 2001) matches means and standard deviations
of the colour channels, here those of CIE L*a*b*, as the field's tools do, where the paper has lαβ. It counts every
pixel and moves glass together with tissue, so measure it from patches that are as full of tissue as the target.

An image without tissue, or of one colour, has no stains to measure: as a source it comes back unchanged, as a target
it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from histotrain.errors import TrainingError
from histotrain.stain_tables import DENSITY, recolour, recolouring_tables
from histotrain.stain_vectors import RUIFROK, macenko_vectors, vahadane_vectors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    Floats = NDArray[np.float64]

_PIXELS = 1 << 20  # that looks are measured from; more change nothing that can be seen
_FACTORED = 1 << 16  # that Vahadane's rounds go over
_FAINT = 0.15  # optical density (natural) that tissue has in every channel, beta in Macenko's paper
_LEAST = 100  # tissue pixels below which there is nothing to measure
_STRONG = 99.0  # percentile of the amounts that stands for a stain's strength
_PALE = 0.05  # strength below which a stain is not there: scaling it up would show noise
_STILL = 1e-3  # spread below which a colour channel is constant


class StainMethod(StrEnum):
    """How looks are measured and exchanged."""

    MACENKO = "macenko"
    VAHADANE = "vahadane"
    RUIFROK = "ruifrok"
    REINHARD = "reinhard"


@dataclass(frozen=True, slots=True)
class StainLook:
    """What an image looks like to one method.

    Parameters
    ----------
    method : StainMethod
        That measured it.
    rows : tuple of two tuples of three floats
        Colours of haematoxylin and eosin, optical density, unit length; for Reinhard the mean and the standard
        deviation of L*, a* and b*.
    strengths : tuple of floats
        99th percentile of the amounts of both stains; empty for Reinhard.
    """

    method: StainMethod
    rows: tuple[tuple[float, ...], tuple[float, ...]]
    strengths: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"method": str(self.method), "rows": [list(row) for row in self.rows], "strengths": list(self.strengths)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StainLook:
        first, second = (tuple(map(float, row)) for row in values["rows"])
        return cls(StainMethod(values["method"]), (first, second), tuple(map(float, values["strengths"])))


def stain_look(patches: Image | Sequence[Image], method: StainMethod | str = StainMethod.MACENKO) -> StainLook | None:
    """Measure an image, or a slide from a sample of its patches.

    Parameters
    ----------
    patches : uint8, shape (…, 3), or a sequence of such
        RGB. More than a million pixels are sampled, in the same way each time.
    method : StainMethod or str
        How.

    Returns
    -------
    StainLook or None
        None where there is too little tissue or only one colour.

    Raises
    ------
    TrainingError
        If a patch is not RGB of bytes, or there is no such method.
    """
    chosen = _method(method)
    pixels = _sampled(patches, _PIXELS)
    densities = DENSITY[pixels]
    tissue = densities.min(1) > _FAINT
    if np.count_nonzero(tissue) < _LEAST or np.ptp(densities[tissue], axis=0).max() < _STILL:
        return None
    if chosen is StainMethod.REINHARD:
        lab = _to_lab(pixels)
        return StainLook(chosen, (_row(lab.mean(0, dtype=np.float64)), _row(lab.std(0, dtype=np.float64))))
    vectors = _vectors(densities[tissue], chosen)
    if vectors is None:
        return None
    amounts = np.einsum("nk,ks->ns", densities[tissue], np.linalg.pinv(vectors))
    strengths = np.percentile(amounts, _STRONG, axis=0)
    if strengths.min() < _PALE:
        return None
    return StainLook(chosen, (_row(vectors[0]), _row(vectors[1])), _row(strengths))


@dataclass(frozen=True, slots=True, eq=False)
class StainTransform:
    """Change from one look to another. Picklable, safe in threads.

    Call it with uint8 RGB, shape (…, 3); the result is new and has the same shape.

    Parameters
    ----------
    source : StainLook or None
        What the images look like; with None they come back unchanged.
    target : StainLook
        What they shall look like.

    Raises
    ------
    TrainingError
        If two methods measured the looks; in a call, if the image is not RGB of bytes.
    """

    source: StainLook | None
    target: StainLook
    _factors: Any = field(init=False, repr=False, default=None)  # tables of stains; scale and shift of L*a*b*

    def __post_init__(self) -> None:
        if self.source is not None:
            object.__setattr__(self, "_factors", _factors(self.source, self.target))

    def __call__(self, image: Image) -> Image:
        pixels = _checked(image).reshape(-1, 3)
        if self.source is None:
            return pixels.reshape(image.shape).copy()
        if self.target.method is StainMethod.REINHARD:
            scale, shift = self._factors
            return _from_lab(_to_lab(pixels) * scale + shift).reshape(image.shape)
        changed: Image = recolour(np.ascontiguousarray(pixels), self._factors)
        return changed.reshape(image.shape)


class StainNormaliser:
    """Brings images into the colours of a target.

    Parameters
    ----------
    target : StainLook
        What they shall look like; `fit` measures one.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> amounts = rng.gamma(2.0, 0.4, (64, 64, 2))
    >>> tissue = (255 * np.exp(-amounts @ RUIFROK)).astype(np.uint8)
    >>> normaliser = StainNormaliser.fit(tissue)
    >>> normaliser.transform(tissue).shape
    (64, 64, 3)
    >>> glass = np.full((2, 2, 3), 255, np.uint8)
    >>> bool((normaliser.transform(glass) == glass).all())
    True
    """

    def __init__(self, target: StainLook) -> None:
        self.target = target

    @classmethod
    def fit(cls, patches: Image | Sequence[Image], method: StainMethod | str = StainMethod.MACENKO) -> StainNormaliser:
        """Take an image, or patches of a slide, as the target.

        Raises
        ------
        TrainingError
            If they show no stains, are not RGB of bytes, or there is no such method.
        """
        look = stain_look(patches, method)
        if look is None:
            raise TrainingError(
                "This image cannot be the target of stain normalisation",
                "it has too little tissue, or only one colour",
                "Choose one with both stains in it.",
            )
        return cls(look)

    def for_slide(self, patches: Image | Sequence[Image]) -> StainTransform:
        """The change for all tiles of a slide, measured once from a sample of patches; none if they show no stains."""
        return StainTransform(stain_look(patches, self.target.method), self.target)

    def transform(self, image: Image) -> Image:
        """One image by its own measure; unchanged if it shows no stains."""
        return self.for_slide(image)(image)


def _method(method: StainMethod | str) -> StainMethod:
    try:
        return StainMethod(method)
    except ValueError as error:
        known = ", ".join(StainMethod)
        raise TrainingError(f"There is no stain normalisation {method!r}", hint=f"There is {known}.") from error


def _checked(image: Image) -> Image:
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim < 1 or array.shape[-1] != 3:
        raise TrainingError(
            "Stains are measured in RGB images of bytes", f"this is {array.dtype} of shape {array.shape}"
        )
    return array


def _sampled(patches: Image | Sequence[Image], limit: int) -> Image:
    parts = [patches] if isinstance(patches, np.ndarray) else patches
    rows = [_checked(part).reshape(-1, 3) for part in parts]
    if not rows:
        return np.empty((0, 3), np.uint8)
    total = sum(map(len, rows))
    if total <= limit:
        return np.concatenate(rows)
    rng = np.random.default_rng(0)
    return np.concatenate(
        [row[rng.integers(0, len(row), max(1, len(row) * limit // total))] for row in rows if len(row)]
    )


def _vectors(densities: Floats, method: StainMethod) -> Floats | None:
    if method is StainMethod.RUIFROK:
        return RUIFROK
    if method is StainMethod.MACENKO:
        return macenko_vectors(densities)
    if len(densities) > _FACTORED:
        densities = densities[np.random.default_rng(0).integers(0, len(densities), _FACTORED)]
    return vahadane_vectors(densities)


def _factors(source: StainLook, target: StainLook) -> Any:
    if source.method is not target.method:
        raise TrainingError(
            "Two looks can only be exchanged if one method measured both",
            f"they are {source.method} and {target.method}",
        )
    if target.method is StainMethod.REINHARD:
        (mean_from, spread_from), (mean_to, spread_to) = (np.array(look.rows) for look in (source, target))
        scale = np.where(spread_from < _STILL, 1.0, spread_to / np.maximum(spread_from, _STILL))
        return scale.astype(np.float32), (mean_to - scale * mean_from).astype(np.float32)
    ratio = np.array(target.strengths) / np.array(source.strengths)
    return recolouring_tables(np.linalg.pinv(np.array(source.rows)) @ (ratio[:, None] * np.array(target.rows)))


def _to_lab(pixels: Image) -> NDArray[np.float32]:
    shares = pixels.astype(np.float32) / np.float32(255)
    lab: NDArray[np.float32] = cv2.cvtColor(shares[None], cv2.COLOR_RGB2Lab)[0] if len(pixels) else shares
    return lab


def _from_lab(lab: NDArray[np.float32]) -> Image:
    if not len(lab):
        return np.empty((0, 3), np.uint8)
    shares = cv2.cvtColor(lab.astype(np.float32)[None], cv2.COLOR_Lab2RGB)[0]
    result: Image = (np.clip(shares, 0, 1) * 255 + 0.5).astype(np.uint8)
    return result


def _row(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
