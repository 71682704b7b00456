"""What a user can meet in background work."""

from __future__ import annotations


class EngineError(Exception):
    """Background work is not possible; says what, why and what to do."""


class PredictionError(EngineError):
    """A prediction cannot be read or written; says what, why and what to do."""
