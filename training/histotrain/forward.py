"""What is blended over the tiles: class probabilities, the maps of objects, and what several passes disagree on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from histotrain.errors import TrainingError
from histotrain.orientations import averaged
from histotrain.uncertainty import Ensemble, entropy, margin, mean_and_disagreement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from histotrain.checkpoint import LoadedModel
    from histotrain.prediction import PredictOptions

    UInt8 = NDArray[np.uint8]
    Floats = NDArray[np.float32]


class Forward:
    """Called with tiles uint8 (N, T, T, 3) or (N, M, T, T, 3) it gives float32 (N, T, T, K).

    The first C of the K channels are class probabilities, those behind them the model's maps if objects are wanted,
    and the last one the disagreement of passes if there are several.

    Parameters
    ----------
    model : LoadedModel or Ensemble
        What predicts.
    options : PredictOptions
        How.

    Raises
    ------
    TrainingError
        If the model cannot give what is asked for.
    """

    def __init__(self, model: LoadedModel | Ensemble, options: PredictOptions) -> None:
        self.models = model.models if isinstance(model, Ensemble) else (model,)
        self.first = self.models[0]
        self._options = options
        self._calls = 0
        self.classes = len(self.first.class_ids)
        self.maps = sum(channels for _, channels in self.first.layout) if options.objects else 0
        if options.objects and not self.maps:
            raise TrainingError(
                f"{self.first.recipe.model} does not find single objects", hint="Choose hovernet or instance-unet."
            )
        if options.uncertainty == "ensemble" and len(self.models) < 2:
            raise TrainingError("an ensemble needs at least two models", hint="Choose more, trained alike.")

    @property
    def channels(self) -> int:
        """K."""
        return self.classes + self.maps + self._several

    @property
    def _several(self) -> bool:
        return self._options.uncertainty in ("mc-dropout", "ensemble")

    def __call__(self, images: UInt8) -> Floats:
        self._calls += 1
        if not self._several and len(self.models) == 1:
            return self._once(self.first, images)
        mean, disagreement = mean_and_disagreement(self._samples(images), self.classes)
        return np.concatenate([mean, disagreement[..., None]], axis=-1) if self._several else mean

    def _samples(self, images: UInt8) -> Iterator[Floats]:
        passes = self._options.passes if self._options.uncertainty == "mc-dropout" else 1
        for draw in range(passes):
            for model in self.models:
                if self._options.uncertainty != "mc-dropout":
                    yield self._once(model, images)
                else:
                    with model.dropping(self._calls * passes + draw):
                        yield self._once(model, images)

    def _once(self, model: LoadedModel, images: UInt8) -> Floats:
        call = model.predict_maps if self.maps else model.predict_batch
        if not self._options.tta:
            return call(images)
        return averaged(call, images, model.vectors if self.maps else ())

    def uncertainty(self, sums: Floats) -> UInt8 | None:
        """Uncertainty uint8 (h, w), 255 being 1, from weighted sums (h, w, K); None if none is wanted."""
        kind = self._options.uncertainty
        if kind == "none":
            return None
        weight = np.maximum(sums[..., : self.classes].sum(-1), np.float32(1e-6))
        if self._several:
            values = sums[..., -1] / weight
        else:
            measure = entropy if kind == "entropy" else margin
            values = measure(sums[..., : self.classes] / weight[..., None])
        reached = weight >= 0.5
        return np.asarray(np.rint(np.clip(values, 0, 1) * 255) * reached, np.uint8)

    def maps_of(self, sums: Floats) -> NDArray[np.float16]:
        """The maps of objects, float16 (E, h, w), from weighted sums (h, w, K)."""
        weight = np.maximum(sums[..., : self.classes].sum(-1, keepdims=True), np.float32(1e-6))
        maps = sums[..., self.classes : self.classes + self.maps] / weight
        limit = float(np.finfo(np.float16).max)
        return np.ascontiguousarray(np.moveaxis(np.clip(maps, -limit, limit), -1, 0).astype(np.float16))
