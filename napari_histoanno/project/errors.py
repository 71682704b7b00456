"""The one exception of the project store."""

from __future__ import annotations


class ProjectError(Exception):
    """What a user has to know when a project cannot do what was asked.

    Parameters
    ----------
    what : str
        What did not work, in one clause.
    reason : str, optional
        Why.
    hint : str, optional
        What to do about it.
    """

    def __init__(self, what: str, reason: str = "", hint: str = "") -> None:
        self.what = what
        self.reason = reason
        self.hint = hint
        super().__init__(what, reason, hint)

    def __str__(self) -> str:
        text = f"{self.what}: {self.reason}" if self.reason else self.what
        return f"{text}. {self.hint}" if self.hint else text
