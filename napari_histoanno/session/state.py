"""What the user is looking at and holding: the project, the slide, the class, the tool.

Signals of the session are emitted from whatever thread something happened in: user actions in the caller's, changes of
the project in that of the change, news of jobs in the engine's dispatching thread. A view hands over to its own thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_histoanno.annotation.tools import Tool
from napari_histoanno.jobs import Engine, InlineEngine
from napari_histoanno.project import Change, Project, ProjectError
from napari_histoanno.session.errors import SessionError, reported
from napari_histoanno.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any
    from uuid import UUID

    from napari_histoanno.annotation import LabelScheme
    from napari_histoanno.project import SlideRecord

DEFAULT_BRUSH = 30.0
FALLBACK_MPP = 0.5
_CURRENT_SLIDE = "current slide"
_ADDING_ERRORS = (SlideError, ProjectError, OSError)


class SessionState:
    """Project, selection and signals; the part of a session that the actions build on.

    Attributes
    ----------
    project_changed : Signal(object)
        Another project, or None, is open.
    slides_changed : Signal()
        Slides were added, removed or changed.
    slide_changed : Signal(object)
        Id of the slide looked at now, or None.
    class_changed : Signal(int)
        Id of the current class, 0 for none.
    tool_changed : Signal(Tool)
        The tool in the hand.
    brush_changed : Signal(float)
        Brush diameter in level-0 pixels.
    scheme_changed : Signal(object)
        The project's label scheme.
    annotations_changed : Signal(Change)
        Records or pixel masks are different.
    selection_changed : Signal(tuple)
        Ids of the selected records.
    runs_changed, predictions_changed : Signal()
        Model runs or predictions were added, changed or deleted.
    saving_changed : Signal(bool)
        Whether strokes are on their way to the disk.
    about_to_read : Signal()
        Emitted, and waited for, before an action that needs everything drawn so far; who holds strokes back stores
        them now.
    status, error : Signal(str)
        What was done; what was refused and why.
    """

    project_changed = Signal(object)
    slides_changed = Signal()
    slide_changed = Signal(object)
    class_changed = Signal(int)
    tool_changed = Signal(Tool)
    brush_changed = Signal(float)
    scheme_changed = Signal(object)
    annotations_changed = Signal(Change)
    selection_changed = Signal(tuple)
    runs_changed = Signal()
    predictions_changed = Signal()
    saving_changed = Signal(bool)
    about_to_read = Signal()
    status = Signal(str)
    error = Signal(str)

    def __init__(self, engine: Engine | InlineEngine | None = None, *, scheduler: str | None = None) -> None:
        self._project: Project | None = None
        self._slide_id: str | None = None
        self._class_id = 0
        self._tool = Tool.PAN
        self._brush_size = DEFAULT_BRUSH
        self._selection: tuple[UUID, ...] = ()
        self._engine = engine
        self._owns_engine = engine is None
        self._scheduler = scheduler

    # ---- what is open and chosen

    @property
    def project(self) -> Project | None:
        return self._project

    @property
    def slide_id(self) -> str | None:
        return self._slide_id

    @property
    def slide_record(self) -> SlideRecord | None:
        """The slide looked at."""
        if self._project is None or self._slide_id is None:
            return None
        return next((record for record in self._project.slides if record.id == self._slide_id), None)

    @property
    def class_id(self) -> int:
        """The class that is drawn with; 0 for none."""
        return self._class_id

    @property
    def tool(self) -> Tool:
        return self._tool

    @property
    def brush_size(self) -> float:
        """Diameter in level-0 pixels."""
        return self._brush_size

    @property
    def annotator(self) -> str:
        return self._project.annotator if self._project is not None else ""

    @property
    def selection(self) -> tuple[UUID, ...]:
        """Ids of the selected records."""
        return self._selection

    @property
    def engine(self) -> Engine | InlineEngine:
        """Where jobs run; made, but not started, on first use."""
        if self._engine is None:
            self._engine = Engine(self._scheduler)
        return self._engine

    def open_project_or_fail(self) -> Project:
        """The open project.

        Raises
        ------
        SessionError
            If there is none.
        """
        if self._project is None:
            raise SessionError("No project is open. Create or open one first.")
        return self._project

    def writable_project(self) -> Project:
        """The open project, which may be written.

        Raises
        ------
        SessionError
            If there is none or another process owns it.
        """
        project = self.open_project_or_fail()
        if project.read_only:
            owner = f" because {project.lock_owner} is working on it" if project.lock_owner else ""
            raise SessionError(f"The project is open for reading only{owner}. Close it there, then open it again.")
        return project

    def current_slide(self, slide: str | None = None) -> SlideRecord:
        """A slide by id or name, by default the one looked at.

        Raises
        ------
        SessionError
            If none is chosen.
        """
        project = self.open_project_or_fail()
        if slide is not None:
            return project.find_slide(slide)
        record = self.slide_record
        if record is None:
            raise SessionError("No slide is open. Add a slide to the project and click it.")
        return record

    # ---- project

    @reported
    def create_project(self, path: str | Path, *, scheme: LabelScheme | None = None, annotator: str = "") -> Project:
        """Make a project in a folder and open it; the annotator is kept from before if none is named."""
        project = Project.create(path, scheme=scheme, annotator=annotator or self.annotator)
        self._take(project)
        self.status.emit(f"Created {project.path}")
        return project

    @reported
    def open_project(self, path: str | Path, *, read_only: bool = False) -> Project:
        """Open a project; read-only if another process owns it, which is said in ``status``."""
        project = Project.open(path, read_only=read_only)
        self._take(project)
        note = f", read-only: {project.lock_owner} is working on it" if project.lock_owner else ""
        self.status.emit(f"Opened {project.path}{note}")
        return project

    @reported
    def open_sample(self, path: str | Path) -> Project:
        """Open the sample project in a folder, made there if need be."""
        from napari_histoanno.project.project import DATABASE_NAME
        from napari_histoanno.samples import sample_project

        folder = Path(path)
        project = Project.open(folder) if (folder / DATABASE_NAME).exists() else sample_project(folder)
        self._take(project)
        self.status.emit(f"Opened the sample project in {project.path}")
        return project

    def close_project(self) -> None:
        """Store what is drawn and close the project."""
        if self._project is None:
            return
        self.about_to_read.emit()
        self._take(None)

    def _take(self, project: Project | None) -> None:
        before = self._project
        if before is not None:
            self._leave(before)
            before.changed.disconnect(self._on_change, missing_ok=True)
        if project is not None:
            self._arrive(project)
        self._project = project
        self._selection = ()
        self._slide_id = None
        self._class_id = 0
        if project is not None:
            project.changed.connect(self._on_change)
            ids = [record.id for record in project.slides]
            last = project.get_setting(_CURRENT_SLIDE)
            self._slide_id = last if last in ids else next(iter(ids), None)
            self._class_id = next((label.id for label in project.scheme if not label.background), 0)
        self.project_changed.emit(project)
        self.slide_changed.emit(self._slide_id)
        self.class_changed.emit(self._class_id)
        if before is not None:
            before.close()

    def _arrive(self, project: Project) -> None:
        """A project is about to be open."""

    def _leave(self, project: Project) -> None:
        """A project is about to be closed."""

    def _on_change(self, change: Change) -> None:
        match change.kind:
            case "annotations" | "raster":
                self.annotations_changed.emit(change)
            case "scheme" if self._project is not None:
                scheme = self._project.scheme
                if self._class_id and self._class_id not in scheme:
                    self.set_class(0)
                self.scheme_changed.emit(scheme)
            case "runs":
                self.runs_changed.emit()
            case "predictions":
                self.predictions_changed.emit()
            case "slides" if self._project is not None:
                self._on_slides(self._project)

    def _on_slides(self, project: Project) -> None:
        self.slides_changed.emit()
        ids = [record.id for record in project.slides]
        if self._slide_id not in ids:
            self._look_at(next(iter(ids), None))

    def _look_at(self, slide: str | None) -> None:
        if slide != self._slide_id:
            self._slide_id = slide
            self._selection = ()
            self.slide_changed.emit(slide)

    # ---- choosing

    @reported
    def set_slide(self, slide: str) -> SlideRecord:
        """Look at a slide, by id or name; the project remembers it."""
        project = self.open_project_or_fail()
        record = project.find_slide(slide)
        self._look_at(record.id)
        if not project.read_only:
            project.set_setting(_CURRENT_SLIDE, record.id)
        return record

    def set_class(self, class_id: int) -> None:
        """Draw with a class from now on; 0 for none."""
        if class_id != self._class_id:
            self._class_id = class_id
            self.class_changed.emit(class_id)

    def set_tool(self, tool: Tool | str) -> None:
        """Take a tool."""
        tool = Tool(tool)
        if tool is not self._tool:
            self._tool = tool
            self.tool_changed.emit(tool)

    def set_brush_size(self, diameter: float) -> None:
        """Set the brush's diameter in level-0 pixels."""
        diameter = max(1.0, float(diameter))
        if diameter != self._brush_size:
            self._brush_size = diameter
            self.brush_changed.emit(diameter)

    def set_selection(self, ids: Iterable[UUID]) -> None:
        """Say which records are selected."""
        chosen = tuple(ids)
        if chosen != self._selection:
            self._selection = chosen
            self.selection_changed.emit(chosen)

    def set_saving(self, saving: bool) -> None:
        """Say whether strokes are on their way to the disk."""
        self.saving_changed.emit(saving)

    @reported
    def set_annotator(self, name: str) -> None:
        """Say who annotates from now on."""
        project = self.writable_project()
        if name != project.annotator:
            project.set_annotator(name)

    # ---- slides and classes

    @reported
    def add_slides(self, paths: Iterable[str | Path], *, patient: str = "") -> tuple[SlideRecord, ...]:
        """Add slide files; those that can be read are added even if others cannot, which is then told.

        Raises
        ------
        SlideError, ProjectError
            Of the first file that could not be added.
        """
        project = self.writable_project()
        added: list[SlideRecord] = []
        problems: list[Exception] = []
        for path in paths:
            try:
                added.append(project.add_slide(path, patient=patient))
            except _ADDING_ERRORS as error:
                problems.append(error)
        if added:
            self.set_slide(added[0].id)
            self.status.emit(f"Added {', '.join(record.name for record in added)}")
        if problems:
            raise problems[0]
        return tuple(added)

    @reported
    def remove_slide(self, slide: str) -> None:
        """Take a slide and what is drawn on it out of the project; undo brings it back."""
        self.writable_project().remove_slide(self.current_slide(slide).id)

    @reported
    def update_slide(self, slide: str, /, **changes: Any) -> SlideRecord:
        """Change name, patient, mpp or split of a slide."""
        return self.writable_project().update_slide(self.current_slide(slide).id, **changes)

    @reported
    def locate_slide(self, slide: str, path: str | Path) -> SlideRecord:
        """Say where a moved slide is now."""
        project = self.writable_project()
        record = project.locate_slide(self.current_slide(slide).id, path)
        if record.id == self._slide_id:
            self.slide_changed.emit(record.id)
        return record

    @reported
    def set_scheme(self, scheme: LabelScheme) -> None:
        """Change the label scheme; undoable."""
        self.writable_project().set_scheme(scheme)

    def effective_mpp(self, slide: str | None = None) -> float:
        """µm per level-0 pixel of a slide; 0.5 where neither the file nor the user said it."""
        return self.current_slide(slide).mpp or FALLBACK_MPP

    # ---- the end

    def close(self) -> None:
        """Stop all jobs, close the project, end the worker. Blocks for some seconds at most."""
        if self._engine is not None and self._owns_engine:
            self._engine.close()
        self.close_project()
