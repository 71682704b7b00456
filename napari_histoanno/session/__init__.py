"""The application without a screen: everything a user can do, in one object that can be observed.

Widgets, the command line and tests call the same methods and listen to the same signals.
"""

from napari_histoanno.session.errors import USER_ERRORS, SessionError
from napari_histoanno.session.session import Session

__all__ = ["USER_ERRORS", "Session", "SessionError"]
