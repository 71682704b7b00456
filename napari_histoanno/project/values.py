"""Small values with an inverse: a key's text before and after an action."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_histoanno.project.transaction import Transaction


def record_value(transaction: Transaction, kind: str, key: str, before: str, after: str) -> None:
    """Write a change to the history; within one action the first ``before`` and the last ``after`` count."""
    transaction.connection.execute(
        "INSERT INTO history_values VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (entry, kind, key) DO UPDATE SET after = excluded.after",
        (transaction.entry, kind, key, before, after),
    )


def values_of(transaction: Transaction, entry: int, kind: str, *, forward: bool) -> list[tuple[str, str]]:
    """(key, text) after (``forward``) or before an action."""
    side = "after" if forward else "before"
    return transaction.connection.execute(
        f"SELECT key, {side} FROM history_values WHERE entry = ? AND kind = ?", (entry, kind)
    ).fetchall()
