"""What models say, brought to the screen as they say it.

While a model is trained, the session is told what is looked at and its answers are laid over exactly that place; while
a slide is predicted, its blocks appear as they are written; a slide that was predicted before shows its newest
prediction. Only one of the two is visible at a time, the newer one: two opinions over each other cannot be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_histoanno.jobs import PredictionError
from napari_histoanno.layers.gui_thread import GuiThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from psygnal import SignalInstance

    from napari_histoanno.annotation import Bounds
    from napari_histoanno.jobs import PredictionBlock, PreviewResult
    from napari_histoanno.layers.view import ProjectView

PREVIEW_PIXELS = 1024 * 1024
"""Of the model's pixels; of a larger view the centre is predicted."""


class LivePredictions:
    """Connects the models of a view's session with its prediction layers, until closed.

    Parameters
    ----------
    view : ProjectView
        Whose session speaks, and where it is shown.
    """

    def __init__(self, view: ProjectView) -> None:
        self._view, self._session = view, view.session
        self._gui = GuiThread()
        self._shown: str | None = None
        self._listened: list[tuple[SignalInstance, Callable[..., None]]] = []
        self._hear(self._session.preview, self._on_preview)
        self._hear(self._session.prediction_started, self._on_started)
        self._hear(self._session.prediction_block, self._on_block)
        view.viewport_changed.connect(self._on_viewport)
        view.opened.connect(self._on_opened)

    def _hear(self, signal: SignalInstance, slot: Callable[..., None]) -> None:
        def hear(*args: object) -> None:
            self._gui(slot, *args)

        signal.connect(hear)
        self._listened.append((signal, hear))

    @property
    def shown(self) -> str | None:
        """Id of the prediction on screen."""
        return self._shown

    def close(self) -> None:
        """Stop listening."""
        for signal, slot in self._listened:
            signal.disconnect(slot, missing_ok=True)
        self._listened.clear()
        self._view.viewport_changed.disconnect(self._on_viewport, missing_ok=True)
        self._view.opened.disconnect(self._on_opened, missing_ok=True)
        self._gui.close()

    # --- training ---------------------------------------------------------------------------------

    def _on_viewport(self, bounds: Bounds) -> None:
        self._session.request_preview(self._on_slide(bounds), max_pixels=PREVIEW_PIXELS)

    def _on_slide(self, bounds: Bounds) -> Bounds | None:
        """The part of a level-0 box that lies on the slide; None if there is none."""
        record = self._session.slide_record
        if record is None:
            return None
        x0, y0 = max(0.0, bounds[0]), max(0.0, bounds[1])
        x1, y1 = min(float(record.width), bounds[2]), min(float(record.height), bounds[3])
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    def _on_preview(self, result: PreviewResult) -> None:
        predictions = self._view.predictions
        if predictions is None or result.slide != self._session.slide_id:
            return
        if predictions.prediction is not None and predictions.preview is None:
            for layer in predictions.layers:
                layer.visible = False
        predictions.show_preview(result)

    # --- whole slides -----------------------------------------------------------------------------

    def _on_started(self, prediction: str) -> None:
        if self._slide_of(prediction) == self._session.slide_id:
            self.show(prediction)

    def _on_block(self, prediction: str, block: PredictionBlock) -> None:
        if prediction == self._shown and self._view.predictions is not None:
            self._view.predictions.block_arrived(block.bounds)

    def _on_opened(self, slide: str) -> None:
        self._shown = None
        newest = self._session.newest_prediction if slide else None
        if newest is not None:
            self.show(newest, complain=False)

    def _slide_of(self, prediction: str) -> str | None:
        return next((record.slide for record in self._session.predictions() if record.id == prediction), None)

    def show(self, prediction: str, *, complain: bool = True) -> None:
        """Show a prediction of the current slide in place of whatever is shown."""
        predictions = self._view.predictions
        if predictions is None:
            return
        try:
            store = self._session.open_prediction(prediction)
        except PredictionError as error:
            if complain:
                self._session.error.emit(str(error))
            return
        predictions.clear_preview()
        predictions.show_prediction(store.levels, store.downsample, store.uncertainty)
        self._shown = prediction
