"""One session and one view per viewer, shared by every widget and reader that is opened in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_histoanno.layers.view import ProjectView

if TYPE_CHECKING:
    from napari_histoanno.session import Session

_views: dict[int, ProjectView] = {}


def view_of(viewer: Any) -> ProjectView:
    """The project view of a viewer; made, with its session, when first asked for.

    When the viewer's window closes, what is drawn is stored and the project is closed.
    """
    from napari_histoanno.session import Session

    real = getattr(viewer, "__wrapped__", viewer)
    key = id(real)
    view = _views.get(key)
    if view is None or view.viewer is not real:
        view = _views[key] = ProjectView(real, Session())
        view.closed.connect(lambda: forget(real))
    return view


def session_of(viewer: Any) -> Session:
    """The session of a viewer; made when first asked for."""
    return view_of(viewer).session


def forget(viewer: Any) -> None:
    """Store and close what a viewer shows; the next call of :func:`view_of` starts afresh."""
    view = _views.pop(id(getattr(viewer, "__wrapped__", viewer)), None)
    if view is not None:
        view.close()
        view.session.close()
