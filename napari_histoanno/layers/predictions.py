"""What a model says of a slide: a live preview of the view, and the prediction of the whole slide as it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import Colormap
from superqt.utils import qthrottled

from napari_histoanno.layers._napari_private import ExactImage, TiledLabels
from napari_histoanno.layers.labels import class_name, scheme_colormap
from napari_histoanno.layers.slide import raster_placement
from napari_histoanno.layers.stack import LayerName, add_in_order, take_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_histoanno.annotation.geometry import Bounds
    from napari_histoanno.annotation.scheme import LabelScheme
    from napari_histoanno.jobs.events import PreviewResult

REFRESH_MS = 200
"""At most five times a second: each refresh reads blocks from disk."""


UNSURE = Colormap(
    [(0.0, 0.0, 0.0, 0.0), (1.0, 0.85, 0.0, 0.6), (1.0, 0.0, 0.35, 1.0)], name="unsure", controls=[0.0, 0.5, 1.0]
)
"""Clear where a model is sure, over yellow to red where it is not."""


class PredictionLayers:
    """Preview and prediction layers of one slide.

    Parameters
    ----------
    viewer : napari.Viewer
        Where to show them.
    mpp : float
        Micrometres per level-0 pixel.
    scheme : LabelScheme
        Colours and names of the classes.
    """

    def __init__(self, viewer: Any, mpp: float, scheme: LabelScheme) -> None:
        self._viewer, self._mpp, self._scheme = viewer, mpp, scheme
        self._result: PreviewResult | None = None
        self._probability_class: int | None = None
        self._opacity = 0.5
        self._fresh: list[Bounds] = []
        self._downsample = 1.0
        self.preview: Labels | None = None
        self.probability: Image | None = None
        self.prediction: TiledLabels | None = None
        self.uncertainty: ExactImage | None = None
        self._later = qthrottled(self._show_fresh, timeout=REFRESH_MS)

    @property
    def opacity(self) -> float:
        """Opacity of preview and prediction, 0 … 1."""
        return self._opacity

    @opacity.setter
    def opacity(self, opacity: float) -> None:
        self._opacity = opacity
        for layer in self.layers:
            layer.opacity = opacity

    @property
    def scheme(self) -> LabelScheme:
        """Label scheme whose colours are shown."""
        return self._scheme

    @scheme.setter
    def scheme(self, scheme: LabelScheme) -> None:
        self._scheme = scheme
        for layer in (self.preview, self.prediction):
            if layer is not None:
                layer.colormap = scheme_colormap(scheme)
        self._show_probability()

    # --- live preview -----------------------------------------------------------------------------

    def show_preview(self, result: PreviewResult) -> None:
        """Show what the model in training says of the place it was asked about, exactly over that place."""
        self._result = result
        place = raster_placement(self._mpp, downsample=result.downsample, location=result.location)
        classes = np.array(result.classes, np.uint8)
        layer = self.preview
        if layer is None or layer not in self._viewer.layers:
            layer = Labels(
                classes,
                name=LayerName.PREVIEW,
                opacity=self._opacity,
                colormap=scheme_colormap(self._scheme),
                multiscale=False,
                visible=self._probability_class is None,
                **place,
            )
            layer.editable = False
            add_in_order(self._viewer, layer, LayerName.PREVIEW)
            self.preview = layer
        else:
            layer.data = classes
            layer.scale, layer.translate = place["scale"], place["translate"]
        self._show_probability()

    @property
    def probability_class(self) -> int | None:
        """Class whose probability is shown instead of the class map; None shows the class map."""
        return self._probability_class

    @probability_class.setter
    def probability_class(self, class_id: int | None) -> None:
        self._probability_class = class_id
        self._show_probability()

    def _show_probability(self) -> None:
        result, class_id = self._result, self._probability_class
        shown = result is not None and class_id is not None and class_id in result.class_ids
        if self.preview is not None:
            self.preview.visible = not shown
        if not shown or result is None or class_id is None:
            if self.probability is not None:
                self.probability.visible = False
            return
        values = np.array(result.probabilities[result.class_ids.index(class_id)], np.uint8)
        place = raster_placement(self._mpp, downsample=result.downsample, location=result.location)
        layer = self.probability
        if layer is None or layer not in self._viewer.layers:
            layer = Image(
                values,
                name=LayerName.PROBABILITY,
                contrast_limits=(0, 255),
                opacity=self._opacity,
                interpolation2d="nearest",
                blending="translucent",
                **place,
            )
            add_in_order(self._viewer, layer, LayerName.PROBABILITY)
            self.probability = layer
        else:
            layer.data = values
            layer.scale, layer.translate = place["scale"], place["translate"]
        layer.visible = True
        layer.colormap = class_ramp(self._scheme, class_id)

    def clear_preview(self) -> None:
        """Take the live preview off the screen."""
        take_out(self._viewer, self.preview)
        take_out(self._viewer, self.probability)
        self.preview = self.probability = self._result = None

    # --- whole slide ------------------------------------------------------------------------------

    def show_prediction(self, levels: Sequence[Any], downsample: float, uncertainty: Sequence[Any] = ()) -> None:
        """Show a prediction pyramid, and over it how unsure the model is, if that is known.

        Parameters
        ----------
        levels : sequence of array-like
            uint8 class ids, from the model's resolution to the coarsest, each half the one before.
        downsample : float
            Level-0 pixels of the slide per pixel of ``levels[0]``.
        uncertainty : sequence of array-like, optional
            uint8 levels of the same sizes, 255 where nothing is known.
        """
        self.clear_prediction()
        self._downsample = downsample
        layer = TiledLabels(
            [_Classes(level) for level in levels],
            [2.0**i for i in range(len(levels))],
            name_of=lambda value: class_name(self._scheme, value),
            name=LayerName.PREDICTIONS,
            opacity=self._opacity,
            colormap=scheme_colormap(self._scheme),
            **raster_placement(self._mpp, downsample=downsample),
        )
        layer.editable = False
        add_in_order(self._viewer, layer, LayerName.PREDICTIONS)
        self.prediction = layer
        if uncertainty:
            self._show_uncertainty(uncertainty, downsample)

    def _show_uncertainty(self, levels: Sequence[Any], downsample: float) -> None:
        layer = ExactImage(
            [_Classes(level) for level in levels],
            [2.0**i for i in range(len(levels))],
            name=LayerName.UNCERTAINTY,
            contrast_limits=(0, 255),
            colormap=UNSURE,
            opacity=self._opacity,
            interpolation2d="nearest",
            blending="translucent",
            cache=False,
            **raster_placement(self._mpp, downsample=downsample),
        )
        add_in_order(self._viewer, layer, LayerName.UNCERTAINTY)
        self.uncertainty = layer

    def block_arrived(self, bounds: Bounds) -> None:
        """A block of the shown prediction, level-0 bounds, is on disk: show it soon."""
        self._fresh.append(bounds)
        self._later()

    def _show_fresh(self) -> None:
        fresh, self._fresh = self._fresh, []
        if self.prediction is None or self.prediction not in self._viewer.layers:
            return
        margin = float(self.prediction.downsample_factors[-1, 0])
        for bounds in fresh:
            x0, y0, x1, y1 = (value / self._downsample for value in bounds)
            self.prediction.refresh_rect(y0 - margin, x0 - margin, y1 + margin, x1 + margin)
        if self.uncertainty is not None and self.uncertainty in self._viewer.layers:
            self.uncertainty.refresh()

    def clear_prediction(self) -> None:
        """Take the prediction off the screen."""
        take_out(self._viewer, self.prediction)
        take_out(self._viewer, self.uncertainty)
        self.prediction = self.uncertainty = None
        self._fresh = []

    @property
    def layers(self) -> tuple[Any, ...]:
        """The napari layers there are."""
        every = (self.prediction, self.uncertainty, self.preview, self.probability)
        return tuple(layer for layer in every if layer is not None)

    def close(self) -> None:
        """Stop refreshing; the layers can then be dropped."""
        self._later.cancel()


def class_ramp(scheme: LabelScheme, class_id: int) -> Colormap:
    """From transparent to the colour of a class."""
    found = scheme.find(class_id)
    red, green, blue = (channel / 255 for channel in found.color) if found else (1.0, 0.0, 1.0)
    return Colormap([(red, green, blue, 0.0), (red, green, blue, 1.0)], name=f"class {class_id}")


class _Classes:
    """A level of a prediction store, read into a fresh array each time, so that the screen may write into its copy."""

    ndim = 2
    dtype = np.dtype(np.uint8)

    def __init__(self, level: Any) -> None:
        self._level = level
        self.shape = tuple(int(size) for size in level.shape[-2:])
        self.size = self.shape[0] * self.shape[1]
        chunks = getattr(level, "chunks", None)
        if chunks is not None:
            self.chunks = tuple(chunks)[-2:]

    def __getitem__(self, key: Any) -> Any:
        return np.array(self._level[key], np.uint8)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self[:, :].astype(dtype or self.dtype, copy=False)
