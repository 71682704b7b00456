"""What a job says while it runs, and what its state is.

The learning engine's events (started, progressed, validated, saved, notice, finished) serve every job, also those that
do not learn (their progress has no loss: NaN); what only jobs on slides know is added here. Events cross processes as
plain dictionaries, except for previews, whose pixels travel as bytes.

A job's life::

    PENDING ──> RUNNING ──> COMPLETED
       │           ├──────> FAILED
       │           └──────> CANCELLING ──> CANCELLED
       └──────────────────────────────────────┘

CANCELLING ends in CANCELLED even if the job reached its last step meanwhile, and in FAILED if it broke.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from histotrain.events import Event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_histoanno.annotation import Bounds


class JobState(StrEnum):
    """Where a job is in its life."""

    PENDING = "pending"
    RUNNING = "running"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in (JobState.COMPLETED, JobState.CANCELLED, JobState.FAILED)


@dataclass(frozen=True, slots=True)
class Running(Event):
    """A worker has taken the job."""

    process: int
    host: str


@dataclass(frozen=True, slots=True)
class PredictionBlock(Event):
    """A block of a slide prediction is on disk.

    Parameters
    ----------
    bounds : tuple of float
        (x0, y0, x1, y1) in level-0 pixels.
    done, total : int
        Blocks written so far and in all.
    """

    bounds: Bounds
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class PreviewRequest:
    """The place that is looked at.

    Parameters
    ----------
    slide : str
        Id of the slide in its project.
    x0, y0, x1, y1 : float
        Level-0 pixels.
    max_pixels : int
        Upper bound of the preview's height times width; a larger view is predicted around its centre.
    """

    slide: str
    x0: float
    y0: float
    x1: float
    y1: float
    max_pixels: int = 512 * 512

    @property
    def bounds(self) -> Bounds:
        return (self.x0, self.y0, self.x1, self.y1)


@dataclass(frozen=True, slots=True, eq=False)
class PreviewResult(Event):
    """What the model in training says of one place now.

    Parameters
    ----------
    slide : str
        Id of the slide.
    location : tuple of float
        Level-0 (x, y) of the top-left corner.
    downsample : float
        Level-0 pixels per preview pixel.
    mpp : float
        µm per preview pixel.
    classes : ndarray, uint8, shape (h, w)
        Class ids.
    confidence : ndarray, uint8, shape (h, w)
        Probability of that class, 255 = certain.
    probabilities : ndarray, uint8, shape (C, h, w)
        Probability of each class, in the order of ``class_ids``.
    class_ids : tuple of int
        Class id of each channel.
    step : int
        Training step whose weights were asked.
    """

    slide: str
    location: tuple[float, float]
    downsample: float
    mpp: float
    classes: np.ndarray
    confidence: np.ndarray
    probabilities: np.ndarray
    class_ids: tuple[int, ...]
    step: int

    @property
    def bounds(self) -> Bounds:
        """(x0, y0, x1, y1) in level-0 pixels."""
        (x, y), (height, width) = self.location, self.classes.shape
        return (x, y, x + width * self.downsample, y + height * self.downsample)

    def to_bytes(self) -> bytes:
        """The result as one message: a line of JSON, then the three arrays."""
        header = {
            "slide": self.slide,
            "location": self.location,
            "downsample": self.downsample,
            "mpp": self.mpp,
            "class_ids": self.class_ids,
            "step": self.step,
            "shape": self.probabilities.shape,
        }
        arrays = (self.classes, self.confidence, self.probabilities)
        return b"".join([json.dumps(header).encode(), b"\n", *(np.ascontiguousarray(a).tobytes() for a in arrays)])

    @classmethod
    def from_bytes(cls, message: bytes) -> PreviewResult:
        """Read what :meth:`to_bytes` wrote."""
        line, _, body = message.partition(b"\n")
        header = json.loads(line)
        channels, height, width = header.pop("shape")
        planes = np.frombuffer(body, np.uint8).reshape(channels + 2, height, width)
        header |= {"location": tuple(header["location"]), "class_ids": tuple(header["class_ids"])}
        return cls(**header, classes=planes[0], confidence=planes[1], probabilities=planes[2:])


_OWN: dict[str, type[Any]] = {cls.__name__: cls for cls in (Running, PredictionBlock)}


def to_dict(event: Event) -> dict[str, Any]:
    """Event as plain JSON values; :func:`from_dict` reads them back. Previews travel as bytes instead."""
    if isinstance(event, PreviewResult):
        raise TypeError("a preview has pixels: use to_bytes()")
    return event.to_dict()


def from_dict(message: Mapping[str, Any]) -> Event:
    """Event from :func:`to_dict`'s values.

    Raises
    ------
    ValueError
        If no event has this name.
    """
    own = _OWN.get(message["event"])
    if own is None:
        return Event.from_dict(dict(message))
    values = {key: value for key, value in message.items() if key != "event"}
    if "bounds" in values:
        values["bounds"] = tuple(values["bounds"])
    event: Event = own(**values)
    return event
