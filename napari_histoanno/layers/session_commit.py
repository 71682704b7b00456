"""Where the user's changes of shapes and points go: the session, and its error signal for what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_histoanno.session import USER_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from napari_histoanno.annotation.geometry import Geometry
    from napari_histoanno.annotation.model import Annotation, Granularity
    from napari_histoanno.session import Session


class SessionCommit:
    """Hands what the editors say to the session, and what it refuses to its error signal."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, geometry: Geometry, granularity: Granularity) -> Annotation | None:
        """Add a record of the session's class; None if it was refused."""
        try:
            return self._session.add_annotation(geometry, granularity)
        except USER_ERRORS as error:
            self._session.error.emit(str(error))
            return None

    def update(self, records: Sequence[Annotation]) -> bool:
        """Replace records; False if refused."""
        return self._try(self._session.update_annotations, records)

    def delete(self, ids: Sequence[UUID]) -> bool:
        """Delete records; False if refused."""
        return self._try(self._session.delete_annotations, ids)

    def _try(self, action: Callable[[Any], Any], values: Sequence[Any]) -> bool:
        try:
            action(values)
        except USER_ERRORS as error:
            self._session.error.emit(str(error))
            return False
        return True
