"""What every format shares: the result of reading, the error, and what a format must be able to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_histoanno.annotation.model import Annotation
    from napari_histoanno.annotation.scheme import LabelScheme


class FormatError(Exception):
    """A file that cannot be read or written as annotations: which, why, and what to try."""

    def __init__(self, path: str | Path, reason: str, hint: str) -> None:
        self.path = Path(path)
        self.reason = reason
        self.hint = hint
        super().__init__(f"{self.path}: {reason}. {hint}")

    def __reduce__(self) -> tuple[type[FormatError], tuple[Path, str, str]]:
        return type(self), (self.path, self.reason, self.hint)


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """What a file says.

    Attributes
    ----------
    annotations : tuple of Annotation
        Level-0 pixels; their slide is "" and their class ids are those of ``scheme``. 0 where the file names no class.
    scheme : LabelScheme
        The classes that the file names, by first appearance, or the scheme stored in it.
    problems : tuple of str
        What could not be read as it stands, one sentence each; the rest of the file is good.
    """

    annotations: tuple[Annotation, ...]
    scheme: LabelScheme
    problems: tuple[str, ...] = ()


class AnnotationFormat(Protocol):
    """One way of writing annotations down."""

    @property
    def name(self) -> str:
        """What it is called in ``format=``."""
        ...

    @property
    def title(self) -> str:
        """What it is called in a file dialog."""
        ...

    @property
    def suffixes(self) -> tuple[str, ...]:
        """File name endings, the usual one first."""
        ...

    @property
    def writable(self) -> bool: ...

    def sniff(self, head: bytes) -> bool:
        """Whether a (decompressed) file that begins like this is in this format."""
        ...

    def read(self, data: bytes, path: Path) -> AnnotationFile:
        """What the file's (decompressed) content says; raises FormatError."""
        ...

    def write(self, annotations: Sequence[Annotation], scheme: LabelScheme, path: Path) -> bytes:
        """Content of a file (not compressed) that says this; raises FormatError."""
        ...
