"""Answers "what does the model say here, now?" between two training steps.

The model in training answers itself: no second copy of it is loaded. A new place is answered at the next step, the same
place again every two seconds, or less often where predicting it takes long, so that looking never takes more than a
third of the time from learning.
"""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_histoanno.jobs.events import PreviewResult
from napari_histoanno.jobs.frame import FALLBACK_MPP, SlideFrame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_histoanno.jobs.events import PreviewRequest
    from napari_histoanno.project import Project


class Predict(Protocol):
    """A model in training."""

    def __call__(self, image: NDArray[np.uint8], contexts: NDArray[np.uint8] | None = None) -> NDArray[np.float32]:
        """Image uint8 (H, W, 3), and contexts uint8 (M, H, W, 3), to probabilities float32 (H, W, C)."""
        ...


FIRST_STEP = 10
"""Before, the network's answer means nothing."""

REFRESH_SECONDS = 2.0
_SHARE_OF_TIME = 1 / 3
_SMALLEST = 32


class Previewer:
    """Predicts the place that is looked at.

    Parameters
    ----------
    project : Project
        Open for reading.
    mpp : float
        µm per pixel the model sees.
    class_ids : sequence of int
        Class id of each channel.
    predict : callable
        See `Predict`; with the weights of the moment.
    magnifications : sequence of float
        That the model sees, relative to the target's 1, which comes first.
    stain : mapping, optional
        Look that the model sees slides in.
    """

    def __init__(
        self,
        project: Project,
        mpp: float,
        class_ids: Sequence[int],
        predict: Predict,
        magnifications: Sequence[float] = (1.0,),
        stain: Mapping[str, Any] | None = None,
    ) -> None:
        self._project = project
        self._mpp = mpp
        self._class_ids = tuple(class_ids)
        self._predict = predict
        self._factors, self._stain = tuple(magnifications[1:]), stain
        self._frames: dict[str, SlideFrame] = {}
        self._slides = ExitStack()
        self._request: PreviewRequest | None = None
        self._image: NDArray[np.uint8] | None = None
        self._contexts: NDArray[np.uint8] | None = None
        self._place = (0.0, 0.0)
        self._downsample = 1.0
        self._next = 0.0

    def close(self) -> None:
        """Close the slides."""
        self._slides.close()

    def answer(self, request: PreviewRequest | None, step: int) -> PreviewResult | None:
        """The prediction of a place, if it is due.

        Raises
        ------
        ProjectError, SlideError
            If the slide cannot be read.
        """
        if request is None or step < FIRST_STEP:
            return None
        fresh = request != self._request
        started = time.monotonic()
        if not fresh and started < self._next:
            return None
        if fresh:
            self._request = request
            self._image = self._read(request)
        result = self._predicted(request, step)
        took = time.monotonic() - started
        self._next = started + took + max(REFRESH_SECONDS, took / _SHARE_OF_TIME)
        return result

    def _read(self, request: PreviewRequest) -> NDArray[np.uint8] | None:
        frame = self._frame(request.slide)
        self._downsample = frame.downsample
        width, height = frame.dimensions
        x0, y0 = max(0.0, request.x0), max(0.0, request.y0)
        x1, y1 = min(float(width), request.x1), min(float(height), request.y1)
        if x1 <= x0 or y1 <= y0:
            return None
        w, h = (max(1, math.ceil(extent / self._downsample)) for extent in (x1 - x0, y1 - y0))
        excess = math.sqrt(w * h / max(request.max_pixels, _SMALLEST**2))
        if excess > 1:
            centre_x, centre_y = (x0 + x1) / 2, (y0 + y1) / 2
            w, h = max(_SMALLEST, int(w / excess)), max(_SMALLEST, int(h / excess))
            x0, y0 = max(0.0, centre_x - w / 2 * self._downsample), max(0.0, centre_y - h / 2 * self._downsample)
        self._place = (x0, y0)
        self._contexts = frame.contexts(self._place, (w, h), self._factors) if self._factors else None
        return frame.view(self._place, (w, h))

    def _frame(self, slide_id: str) -> SlideFrame:
        if slide_id not in self._frames:
            slide = self._slides.enter_context(self._project.open_slide(slide_id))
            mpp = self._project.find_slide(slide_id).mpp or slide.mpp or FALLBACK_MPP
            self._frames[slide_id] = SlideFrame(slide, self._mpp / mpp, self._stain)
        return self._frames[slide_id]

    def _predicted(self, request: PreviewRequest, step: int) -> PreviewResult | None:
        if self._image is None:
            return None
        probabilities = self._predict(self._image, self._contexts)
        planes = np.ascontiguousarray(np.moveaxis(np.rint(probabilities * 255).astype(np.uint8), -1, 0))
        said = probabilities.max(-1) > 0
        best = probabilities.argmax(-1)
        return PreviewResult(
            slide=request.slide,
            location=self._place,
            downsample=self._downsample,
            mpp=self._mpp,
            classes=np.asarray(self._class_ids, np.uint8)[best] * said,
            confidence=planes.max(0),
            probabilities=planes,
            class_ids=self._class_ids,
            step=step,
        )
