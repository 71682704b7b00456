"""All user actions in one class."""

from __future__ import annotations

from napari_histoanno.session.annotating import AnnotatingActions
from napari_histoanno.session.correcting import CorrectingActions
from napari_histoanno.session.predicting import PredictingActions
from napari_histoanno.session.reviewing import ReviewingActions


class Session(AnnotatingActions, PredictingActions, CorrectingActions, ReviewingActions):
    """The state of the application and everything a user can do with it.

    Parameters
    ----------
    engine : Engine, optional
        Where jobs run; one of its own, started on first use and closed with the session, if None.
    scheduler : str, optional
        Address of a dask scheduler for the session's own engine.

    Notes
    -----
    Signals are emitted from whatever thread something happened in; a view hands over to its own.
    """
