"""The one exception of this package that a user can meet."""

from __future__ import annotations


class TrainingError(Exception):
    """Something about the data, a recipe or a saved model keeps training or prediction from going on.

    Parameters
    ----------
    what : str
        What did not work.
    why : str
        The cause, as far as it is known.
    hint : str
        What the user can do about it.
    """

    def __init__(self, what: str, why: str = "", hint: str = "") -> None:
        self.what = what
        self.why = why
        self.hint = hint
        super().__init__(what, why, hint)

    def __str__(self) -> str:
        text = self.what if not self.why else f"{self.what}: {self.why}"
        return f"{text}. {self.hint}" if self.hint else text
