"""What can go wrong between annotations and a dataset, in words for the person who asked for it."""

from __future__ import annotations


class DatasetError(Exception):
    """A dataset cannot be made; the message says what failed, why, and what to do."""


class ExportCancelled(DatasetError):
    """The export was stopped on request; nothing of it was left on disk."""
