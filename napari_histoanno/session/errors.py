"""What a user can meet when an action is refused."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from napari_histoanno.annotation import AnnotationError
from napari_histoanno.formats import FormatError
from napari_histoanno.jobs.errors import REFUSALS
from napari_histoanno.samples import SampleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_histoanno.session.state import SessionState

_State = TypeVar("_State", bound="SessionState")
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


class SessionError(Exception):
    """An action that makes no sense now; says what, why and what to do."""


USER_ERRORS = (
    SessionError,
    AnnotationError,
    FormatError,
    SampleError,
    *REFUSALS,
)
"""Everything that is told to the user as it is; anything else is a fault of the program."""


def reported(
    action: Callable[Concatenate[_State, _Given], _Result],
) -> Callable[Concatenate[_State, _Given], _Result | None]:
    """A user action whose refusals go to the session's ``error`` signal.

    Where somebody listens there (a window), the message is emitted and None returned; where nobody does (a script, a
    test), the exception is raised.
    """

    @wraps(action)
    def perform(self: _State, /, *args: _Given.args, **kwargs: _Given.kwargs) -> _Result | None:
        try:
            return action(self, *args, **kwargs)
        except USER_ERRORS as error:
            if len(self.error) == 0:
                raise
            self.error.emit(str(error))
            return None

    return perform
