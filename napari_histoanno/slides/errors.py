"""The one exception that reading a slide raises."""

from __future__ import annotations

from pathlib import Path


class SlideError(Exception):
    """A slide cannot be opened or read.

    Parameters
    ----------
    path : str or Path
        The file.
    reason : str
        What is wrong with it, in words a user understands.
    hint : str
        What to try.
    """

    def __init__(self, path: str | Path, reason: str, hint: str = "") -> None:
        super().__init__(path, reason, hint)
        self.path = Path(path)
        self.reason = reason.rstrip(". ")
        self.hint = hint.rstrip(". ")

    def __str__(self) -> str:
        """Name the file, the reason and what to try, in that order."""
        advice = f" Try: {self.hint}." if self.hint else ""
        return f"{self.path}: {self.reason}.{advice}"
