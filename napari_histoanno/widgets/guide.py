"""What to do next, in one sentence, from what there is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from napari_histoanno.annotation import Granularity
from napari_histoanno.jobs.events import JobState
from napari_histoanno.project import ProjectError
from napari_histoanno.widgets.background import Background
from napari_histoanno.widgets.relay import listen

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_histoanno.jobs import Job
    from napari_histoanno.project import Project
    from napari_histoanno.session import Session

_REST_MS = 300
_MAKING = ("training", "prediction", "export")
_SHAPES = tuple(granularity for granularity in Granularity if granularity is not Granularity.EXHAUSTIVE)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a project has.

    ``annotated`` are class names, in the order of the scheme; ``kinds`` what records there are on any slide, painted
    pixels among them as PIXEL; ``exported`` says that a dataset is the last thing that was made.
    """

    project: bool = False
    read_only: bool = False
    slides: int = 0
    classes: int = 0
    annotated: tuple[str, ...] = ()
    done_regions: bool = False
    model: bool = False
    prediction: bool = False
    exported: bool = False
    kinds: frozenset[Granularity] = frozenset()
    counts: dict[str, int] = field(default_factory=dict)


def gather(session: Session) -> Facts:
    """Look at what there is; may take a moment in a large project, and may be called in any thread."""
    project = session.project
    if project is None:
        return Facts()
    try:
        scheme = project.scheme
        painted = {
            class_id
            for slide in project.slides
            for annotator in project.raster_annotators(slide.id)
            for class_id in project.raster(slide.id, annotator).counts()
        }
        drawn = {
            label.id
            for label in scheme
            if label.id in painted or project.annotations.query(classes=[label.id], granularities=_SHAPES, limit=1)
        }
        counts = session.counts()
        kinds = {kind for kind in Granularity if project.annotations.query(granularities=[kind], limit=1)}
        return Facts(
            project=True,
            read_only=project.read_only,
            slides=len(project.slides),
            classes=len(scheme),
            annotated=tuple(label.name for label in scheme if label.id in drawn),
            done_regions=Granularity.EXHAUSTIVE in kinds,
            model=session.newest_model is not None,
            prediction=session.newest_prediction is not None,
            exported=_exported(session, project),
            kinds=frozenset(kinds | ({Granularity.PIXEL} if painted else set())),
            counts=counts,
        )
    except ProjectError:  # closed in the middle of looking
        return Facts()


def _exported(session: Session, project: Project) -> bool:
    """Whether nothing was trained or predicted since the last export of this session."""
    done = (job for job in session.jobs if job.kind in _MAKING and job.state is JobState.COMPLETED)
    made = [job.kind for job in done if getattr(job.spec, "project", None) == project.path]
    return made[-1:] == ["export"]


def next_step(facts: Facts, training: Job | None = None, prediction: Job | None = None) -> str:
    """The one thing to do next."""
    if not facts.project:
        return "Start on page 1: make a new project, open one, or look at the sample."
    if facts.read_only:
        return "This project can be looked at, not changed, as long as it is open elsewhere."
    if not facts.slides:
        return "Add slides on page 1."
    if training is not None:
        return "The model is learning. Move to where you want to see what it thinks; stop when you like what you see."
    if prediction is not None:
        return "The slide is being predicted; go on looking or annotating meanwhile."
    return _annotate(facts) or _model(facts)


def _annotate(facts: Facts) -> str:
    if not facts.classes:
        return "Add label classes on page 1: what do you want to tell apart?"
    if not facts.annotated:
        return "On page 2 choose a class and a tool, then draw on the slide. A few marks of each class are enough."
    if len(facts.annotated) == 1 and not facts.done_regions:
        return f"Only {facts.annotated[0]} is annotated. Mark some of another class too, then train."
    return ""


def _model(facts: Facts) -> str:
    if facts.exported:
        return "The dataset is written: page 4 shows where. Add slides on page 1, or annotate more, to go on."
    if not facts.model:
        return "Press Train & preview on page 3, or annotate more first."
    if not facts.prediction:
        return "Predict the slide on page 3, or annotate what the preview got wrong and press Retrain."
    return "Make the prediction editable, correct it and press Retrain; or export a dataset on page 4."


class FactsWatch(QObject):
    """Looks again, in the background, whenever something has changed.

    Attributes
    ----------
    found : Signal(Facts)
        What there is now.
    """

    found = Signal(object)

    def __init__(self, session: Session, owner: QWidget) -> None:
        super().__init__(owner)
        self._session = session
        self._stale = False
        self.facts = Facts()
        self._background = Background(owner)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(_REST_MS)
        self._later.timeout.connect(self._look)
        for signal in (
            session.slides_changed,
            session.scheme_changed,
            session.annotations_changed,
            session.runs_changed,
            session.predictions_changed,
            session.jobs_changed,
        ):
            listen(owner, signal, self._on_change)
        for signal in (session.project_changed, session.slide_changed):
            listen(owner, signal, self._on_other)
        self._look()

    def _on_change(self, *_: object) -> None:
        self._later.start()

    def _on_other(self, *_: object) -> None:
        self.facts = Facts(project=self._session.project is not None)
        self._look()

    def _look(self) -> None:
        self._later.stop()
        self._stale = not self._background.start(lambda: gather(self._session), self._tell)

    def _tell(self, facts: Facts | None) -> None:
        if self._stale:
            self._look()
        elif facts is not None:
            self.facts = facts
            self.found.emit(facts)
