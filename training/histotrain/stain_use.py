"""Stain normalisation as trainings and predictions use it: one target for all, one measure for each slide.

A model carries the look it was trained in, so that a slide it predicts is brought into the same colours. Without a
target of one's own that is a packaged one: the look of the synthetic slide ``harbour`` that ships with the project,
measured by ``python -m sample_data.stain_reference``. It comes from no patient and from no laboratory, and is the same
in every installation; a look measured from any other image can be passed instead.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from histotrain.errors import TrainingError
from histotrain.stain import StainLook, StainMethod, StainTransform, stain_look

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

REFERENCE_FILE = "stain_reference.json"
_NO_STAINS = "it shows too little tissue, or only one colour, to measure its stains; its colours stay as they are"


@dataclass(frozen=True, slots=True)
class SlideNormaliser:
    """The change of colours for all tiles of one slide; thread-safe.

    Parameters
    ----------
    transform : StainTransform
        The change; it has no source where the slide could not be measured, and then changes nothing.
    reason : str
        Why nothing is changed; "" where something is.
    """

    transform: StainTransform
    reason: str = ""

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """An image in the target's colours; uint8 RGB, shape (…, 3)."""
        return image if self.reason else self.transform(image)


def stain_target(method: str) -> dict[str, Any]:
    """The packaged target look of a method.

    Parameters
    ----------
    method : str
        "macenko", "vahadane", "ruifrok" or "reinhard".

    Returns
    -------
    dict
        As `StainLook.to_dict` gives it; JSON-able.

    Raises
    ------
    TrainingError
        If there is no such method.
    """
    looks = _packaged()
    if method not in looks:
        known = ", ".join(StainMethod)
        raise TrainingError(f"There is no stain normalisation {method!r}", hint=f"There is {known}.")
    return dict(looks[method])


def slide_normaliser(
    method: str, target: Mapping[str, Any], thumbnail: NDArray[np.uint8], tissue: NDArray[np.bool_] | None = None
) -> SlideNormaliser:
    """Measure a slide once and give the change for all of its tiles.

    Parameters
    ----------
    method : str
        As for `stain_target`.
    target : mapping
        The look to bring the slide into, as `StainLook.to_dict` gives it.
    thumbnail : uint8, shape (H, W, 3)
        The slide, or a sample of it, at a reduced resolution, RGB. Trainings and predictions must take it in the same
        way, or they see different colours.
    tissue : bool, shape (H, W), optional
        Where there is tissue; only that is measured.

    Returns
    -------
    SlideNormaliser
        It changes nothing, and says why, where the slide has no stains to measure.

    Raises
    ------
    TrainingError
        If there is no such method, or another one measured the target.

    Examples
    --------
    >>> import numpy as np
    >>> glass = np.full((64, 64, 3), 240, np.uint8)
    >>> normaliser = slide_normaliser("macenko", stain_target("macenko"), glass)
    >>> bool(normaliser.reason), bool((normaliser(glass) == glass).all())
    (True, True)
    """
    look = StainLook.from_dict(target)
    if look.method != method:
        raise TrainingError(f"The target of stain normalisation was measured by {look.method}, not by {method}")
    pixels = thumbnail if tissue is None else thumbnail[tissue]
    source = stain_look(pixels, look.method)
    return SlideNormaliser(StainTransform(source, look), "" if source is not None else _NO_STAINS)


@cache
def _packaged() -> dict[str, dict[str, Any]]:
    text = files("histotrain").joinpath(REFERENCE_FILE).read_text(encoding="utf-8")
    looks: dict[str, dict[str, Any]] = json.loads(text)["looks"]
    return looks
