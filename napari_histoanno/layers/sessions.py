"""One session and one view per viewer, shared by every widget and reader that is opened in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_histoanno.layers.live import LivePredictions
from napari_histoanno.layers.view import ProjectView

if TYPE_CHECKING:
    from napari_histoanno.session import Session

_shown: dict[int, tuple[ProjectView, LivePredictions]] = {}


def view_of(viewer: Any) -> ProjectView:
    """The project view of a viewer; made, with its session and live predictions, when first asked for.

    When the viewer's window closes, what is drawn is stored and the project is closed.
    """
    from napari_histoanno.session import Session

    real = getattr(viewer, "__wrapped__", viewer)
    shown = _shown.get(id(real))
    if shown is not None and shown[0].viewer is real:
        return shown[0]
    view = ProjectView(real, Session())
    _shown[id(real)] = view, LivePredictions(view)
    view.closed.connect(lambda: forget(real))
    return view


def session_of(viewer: Any) -> Session:
    """The session of a viewer; made when first asked for."""
    return view_of(viewer).session


def forget(viewer: Any) -> None:
    """Store and close what a viewer shows; the next call of :func:`view_of` starts afresh."""
    shown = _shown.pop(id(getattr(viewer, "__wrapped__", viewer)), None)
    if shown is not None:
        view, live = shown
        live.close()
        view.close()
        view.session.close()
