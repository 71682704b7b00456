"""The label scheme of a project as one undoable value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_histoanno.annotation.scheme import LabelScheme
from napari_histoanno.project.changes import Change
from napari_histoanno.project.values import record_value, values_of

if TYPE_CHECKING:
    import sqlite3

    from napari_histoanno.project.transaction import Transaction


class SchemeValue:
    """The label scheme, an undoable value."""

    _KIND = "scheme"

    def __init__(self) -> None:
        self._known: tuple[str, LabelScheme] = ("", LabelScheme())

    def read(self, connection: sqlite3.Connection) -> LabelScheme:
        """The scheme as stored."""
        text = str(connection.execute("SELECT value FROM meta WHERE key = 'scheme'").fetchone()[0])
        known = self._known
        if known[0] != text:
            known = self._known = (text, LabelScheme.from_json(text))
        return known[1]

    def write(self, transaction: Transaction, scheme: LabelScheme) -> None:
        """Store another scheme with its inverse."""
        before = self.read(transaction.connection)
        if scheme != before:
            record_value(transaction, self._KIND, "", before.to_json(), scheme.to_json())
            self._store(transaction, scheme.to_json())

    def replay(self, transaction: Transaction, entry: int, *, forward: bool) -> None:
        """Bring the scheme before or after an entry back."""
        for _, text in values_of(transaction, entry, self._KIND, forward=forward):
            self._store(transaction, text)

    def _store(self, transaction: Transaction, text: str) -> None:
        transaction.connection.execute("UPDATE meta SET value = ? WHERE key = 'scheme'", (text,))
        transaction.changes.append(Change("scheme", transaction.action))
