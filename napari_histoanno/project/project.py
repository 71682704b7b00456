"""A project: a folder that survives.

``project.db`` holds everything people do; ``predictions/``, ``models/`` and ``exports/`` beside it hold what can be
computed again. One process owns a project and writes it; any other gets it read-only, sees the owner's later commits,
and is told who the owner is. There is no saving: an action that returned is on the disk.
"""

from __future__ import annotations

import json
import os
import sqlite3
import weakref
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal

from napari_histoanno.annotation.scheme import LabelScheme
from napari_histoanno.project import schema
from napari_histoanno.project.annotations import AnnotationStore
from napari_histoanno.project.changes import Change
from napari_histoanno.project.database import Database, explained
from napari_histoanno.project.errors import ProjectError
from napari_histoanno.project.history import History
from napari_histoanno.project.lock import FolderLock, LockOwner
from napari_histoanno.project.predictions import Predictions
from napari_histoanno.project.provenance import is_predicted_key, predicted_key
from napari_histoanno.project.raster_store import RasterStore
from napari_histoanno.project.runs import ModelRuns
from napari_histoanno.project.scheme_value import SchemeValue
from napari_histoanno.project.slide_table import SlideRecord, SlideTable
from napari_histoanno.project.transaction import Journal, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from napari_histoanno.project.rasters import LabelRaster
    from napari_histoanno.slides import Slide

DATABASE_NAME = "project.db"
FOLDERS = ("predictions", "models", "exports")
BACKGROUND = "Background"
DEFAULT_HISTORY_BYTES = 2 << 30
_BACKGROUND_COLOR = (160, 160, 160)


def _open_slide(path: Path) -> Slide:
    from napari_histoanno.slides import open_slide

    return open_slide(path)


class Project:
    """An open project; use :meth:`create` or :meth:`open`, and close it or leave its ``with`` block.

    All methods may be called from any thread. ``changed`` is emitted after each commit, from the thread that made it.
    """

    changed: ClassVar[Signal] = Signal(Change)

    def __init__(
        self,
        path: Path,
        database: Database,
        lock: FolderLock,
        *,
        owner: LockOwner | None,
        opener: Callable[[Path], Slide],
    ) -> None:
        self.path = path
        self.lock_owner = owner
        """The process that owns the project, where that is another one."""
        self._database = database
        self._lock = lock
        this = weakref.ref(self)

        def announce(change: Change) -> None:
            project = this()
            if project is not None:
                project.changed.emit(change)

        self._journal = Journal(database, announce)
        self._slides = SlideTable(self._journal, path, opener)
        self._scheme = SchemeValue()
        self._rasters = RasterStore(self._journal, self._slides)
        self.annotations = AnnotationStore(self._journal, self._slides)
        self.runs = ModelRuns(self._journal, path)
        self.predictions = Predictions(self._journal, path)
        self.history = History(self._journal, (self._slides, self._scheme, self.annotations, self._rasters))

    # ---- opening and closing

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        scheme: LabelScheme | None = None,
        annotator: str = "",
        opener: Callable[[Path], Slide] = _open_slide,
    ) -> Project:
        """Make a project in a folder, which may exist, and open it.

        Parameters
        ----------
        path : path
            The folder.
        scheme : LabelScheme, optional
            A class "Background" is added if it has no background class.
        annotator : str
            Who annotates from now on.
        opener : callable
            Opens a slide file.

        Raises
        ------
        ProjectError
            If the folder holds a project already or cannot be written.
        """
        folder = Path(path).expanduser().absolute()
        database = folder / DATABASE_NAME
        if database.exists():
            raise ProjectError(f"{folder} holds a project already", "", "Open it, or choose another folder")
        lock = FolderLock(folder)
        try:
            for name in FOLDERS:
                (folder / name).mkdir(parents=True, exist_ok=True)
            owner = lock.acquire()
            if owner is not None or database.exists():
                raise ProjectError(f"{folder} is being made by {owner}", "", "Open it when that is done")
            _create_database(database, _with_background(scheme or LabelScheme()), annotator)
        except OSError as error:
            hint = "Choose a folder that you may write"
            raise ProjectError(f"no project could be made in {folder}", str(error), hint) from error
        finally:
            lock.release()
        return cls.open(folder, opener=opener)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        opener: Callable[[Path], Slide] = _open_slide,
    ) -> Project:
        """Open the project in a folder; read-only if another process owns it (see ``lock_owner``).

        Parameters
        ----------
        path : path
            The folder, or the ``project.db`` in it.
        read_only : bool
            Do not try to own it.
        opener : callable
            Opens a slide file.

        Raises
        ------
        ProjectError
            If there is no project, it is damaged, or it was written by a newer program.
        """
        folder = Path(path).expanduser().absolute()
        folder = folder.parent if folder.name == DATABASE_NAME else folder
        database = folder / DATABASE_NAME
        if not database.is_file():
            raise ProjectError(f"no project in {folder}", f"there is no {DATABASE_NAME}", "Create one there first")
        lock = FolderLock(folder)
        reason, owner = _lock(lock, database, read_only=read_only)
        try:
            return cls(folder, Database(database, read_only=reason), lock, owner=owner, opener=opener)
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        """Close the project and let others own it. Closing twice is harmless."""
        self._database.close()
        self._lock.release()

    def __enter__(self) -> Project:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def read_only(self) -> bool:
        return self._database.read_only

    @contextmanager
    def transaction(self, action: str) -> Iterator[None]:
        """Everything in the block as one action: one history entry, all of it or, after an exception, nothing.

        Other threads wait with their changes until the block ends; they see what was before.
        """
        with self._journal.transaction(action):
            yield

    # ---- label scheme

    @property
    def scheme(self) -> LabelScheme:
        with self._database.reading() as connection:
            return self._scheme.read(connection)

    def set_scheme(self, scheme: LabelScheme) -> None:
        """Change the label scheme, undoably. What is labelled with a class that is gone keeps its class id."""
        with self._journal.transaction("change classes") as transaction, transaction.savepoint():
            self._scheme.write(transaction, scheme)

    # ---- annotators and settings

    @property
    def annotator(self) -> str:
        """Who annotates now; "" if nobody was named."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = 'annotator'").fetchone()
        return str(row[0]) if row else ""

    def set_annotator(self, name: str) -> None:
        """Say who annotates from now on; not an undoable action."""
        if is_predicted_key(name):
            raise ProjectError("this name is kept for what models predict", "", "Choose another name")
        with self._journal.transaction("set annotator") as transaction, transaction.savepoint():
            transaction.connection.execute("INSERT OR REPLACE INTO meta VALUES ('annotator', ?)", (name,))
            if name:
                transaction.connection.execute("INSERT OR IGNORE INTO annotators VALUES (?, ?)", (name, now()))
            transaction.changes.append(Change("settings", transaction.action))

    @property
    def annotators(self) -> tuple[str, ...]:
        """Everyone who annotates or has annotated here, models included, in order of appearance."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT name FROM annotators ORDER BY added, name").fetchall()
        return tuple(str(row[0]) for row in rows)

    def get_setting(self, key: str, default: Any = None) -> Any:
        """A value kept by :meth:`set_setting`."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else default

    def set_setting(self, key: str, value: Any) -> None:
        """Keep a JSON value under a key; not an undoable action."""
        with self._journal.transaction("change setting") as transaction, transaction.savepoint():
            transaction.connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, json.dumps(value)))
            transaction.changes.append(Change("settings", transaction.action))

    # ---- slides

    @property
    def slides(self) -> tuple[SlideRecord, ...]:
        """Slides in the order in which they were added."""
        return self._slides.all()

    def find_slide(self, key: str) -> SlideRecord:
        """Slide by id or name; raises ProjectError if there is none."""
        return self._slides.find(key)

    def add_slide(self, path: str | os.PathLike[str], *, patient: str = "", name: str = "") -> SlideRecord:
        """Add a slide file, undoably.

        A file whose content is in the project gives the record that is there; one that was removed comes back with
        everything drawn on it. The name defaults to the file's and is made unique.

        Raises
        ------
        SlideError
            If the file cannot be read as a slide.
        ProjectError
            If the project cannot be written.
        """
        return self._slides.add(Path(path), patient=patient, name=name)

    def remove_slide(self, slide: str) -> None:
        """Take a slide and everything drawn on it out of the project, undoably; the file stays."""
        self._slides.remove(slide)

    def update_slide(self, slide: str, **changes: Any) -> SlideRecord:
        """Change ``name``, ``patient``, ``mpp`` or ``split`` of a slide, undoably.

        Raises
        ------
        ProjectError
            If the slide or field is unknown, a value is invalid or the name is taken.
        """
        return self._slides.update(slide, **changes)

    def locate_slide(self, slide: str, path: str | os.PathLike[str]) -> SlideRecord:
        """Tell where a moved slide is now; raises ProjectError if the file's content is another."""
        return self._slides.locate(slide, Path(path))

    def open_slide(self, slide: str) -> Slide:
        """Open a slide's file after checking that it is the one annotated; the caller closes it.

        Raises
        ------
        ProjectError
            If it is missing or another slide; :meth:`locate_slide` helps.
        SlideError
            If the file cannot be read.
        """
        return self._slides.open(slide)

    def slide_path(self, slide: str) -> Path:
        """Where a slide's file is taken to be, whether or not it exists."""
        return self._slides.path(slide)

    # ---- masks

    def raster(self, slide: str, annotator: str | None = None) -> LabelRaster:
        """The pixel mask of an annotator, by default the present one, on a slide; the same object each time."""
        return self._rasters.get(slide, self.annotator if annotator is None else annotator)

    def raster_annotators(self, slide: str) -> tuple[str, ...]:
        """Who has painted on a slide."""
        return self._rasters.annotators(slide)

    def predicted_raster(self, slide: str, annotator: str | None = None) -> LabelRaster:
        """The classes that were predicted at pixels of an annotator's mask and that nobody has touched since."""
        return self._rasters.get(slide, predicted_key(self.annotator if annotator is None else annotator))


def _lock(lock: FolderLock, database: Path, *, read_only: bool) -> tuple[str, LockOwner | None]:
    """Why the project has to be opened read-only, "" if it is ours to write; and its owner if that is another."""
    if read_only:
        return "it was asked for so", lock.read_owner()
    denied = "you may not write in its folder"
    if not os.access(database, os.W_OK):
        return denied, lock.read_owner()
    try:
        owner = lock.acquire()
    except OSError:
        return denied, lock.read_owner()
    return (f"{owner} is working on it" if owner else ""), owner


def _with_background(scheme: LabelScheme) -> LabelScheme:
    if scheme.background is not None:
        return scheme
    known = scheme.find(BACKGROUND)
    if known is not None:
        return scheme.with_changed(known.id, background=True)
    return scheme.with_class(BACKGROUND, color=_BACKGROUND_COLOR, background=True)


def _create_database(path: Path, scheme: LabelScheme, annotator: str) -> None:
    """Make the database under another name and rename it when whole: a process killed here leaves no half project."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    values = {
        "scheme": scheme.to_json(),
        "annotator": annotator,
        "created": now(),
        "history_limit": str(DEFAULT_HISTORY_BYTES),
        "history_bytes": "0",
    }
    with explained(path), closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
        schema.create(connection)
        connection.executemany("INSERT INTO meta VALUES (?, ?)", values.items())
        if annotator:
            connection.execute("INSERT INTO annotators VALUES (?, ?)", (annotator, now()))
    unfinished.rename(path)
