"""Training in the background, previews of what it has learnt, and the model runs that come of it.

Only this process writes the project's database. A job writes its own folder; the rows of model runs are
kept up to date here, from the job's events.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from psygnal import Signal

from histotrain.card import WEIGHTS_FILE
from histotrain.events import Event, Finished, Started, Validated
from histotrain.recipes import Recipe
from napari_histoanno.jobs import (
    Job,
    PreviewRequest,
    PreviewResult,
    TrainingSpec,
    read_status,
)
from napari_histoanno.project import ModelRun, ProjectError
from napari_histoanno.session.errors import SessionError, reported
from napari_histoanno.session.state import SessionState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from histotrain.events import Status
    from napari_histoanno.annotation import Bounds
    from napari_histoanno.datasets import SamplingSpec
    from napari_histoanno.jobs import JobSpec, JobState
    from napari_histoanno.project import Project

TRAINING_STATE_FILE = "training.safetensors"
INTERRUPTED = "interrupted"
_RUN_STATUS = {"completed": "completed", "cancelled": "stopped", "failed": "failed"}


class LearningActions(SessionState):
    """What a model does for an annotator.

    Attributes
    ----------
    jobs_changed : Signal(Job)
        A job was submitted or changed its state; from any thread.
    preview : Signal(PreviewResult)
        What the model in training says of the place that is looked at.
    """

    jobs_changed = Signal(Job)
    preview = Signal(PreviewResult)

    _training: Job | None = None
    _place: PreviewRequest | None = None

    # ---- jobs

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs of this session, oldest first."""
        return self._engine.jobs if self._engine is not None else ()

    @property
    def training_job(self) -> Job | None:
        """The training that runs, or ran last."""
        return self._training

    def warm_up(self) -> None:
        """Start the worker in the background, so that the first click on Train does not wait for it."""
        self.engine.start()

    def _submit(self, spec: JobSpec, listener: Callable[[Event], None] | None = None) -> Job:
        """Hand a job to the engine; the listener hears all of its events."""
        job = Job(spec)
        if listener is not None:
            job.event.connect(listener)
        job.state_changed.connect(partial(self._on_job_state, job))
        job.preview.connect(self._on_preview)
        if self._place is not None:
            job.request_preview(self._place)
        self.engine.submit(job)
        self.jobs_changed.emit(job)
        return job

    def _on_preview(self, result: PreviewResult) -> None:
        self.preview.emit(result)

    def _on_job_state(self, job: Job, state: JobState) -> None:
        self.jobs_changed.emit(job)
        if state.ended:
            told = f"{job.kind} {state}" + (f": {job.message}" if job.message else "")
            (self.error if state == "failed" else self.status).emit(told)

    def _arrive(self, project: Project) -> None:
        super()._arrive(project)
        if project.read_only:
            return
        for run in project.runs.list():
            if run.status == "running":  # by a process that ended without a word
                project.runs.update(run.id, status=INTERRUPTED)

    def _leave(self, project: Project) -> None:
        super()._leave(project)
        for job in self.jobs:
            job.cancel()
        self._place = None
        if project.read_only:
            return
        for run in project.runs.list():
            if run.status == "running":
                project.runs.update(run.id, status=_RUN_STATUS["cancelled"])

    # ---- training

    @reported
    def start_training(
        self,
        recipe: Recipe | str | None = None,
        *,
        continue_from: str | None = None,
        name: str = "",
        sampling: SamplingSpec | None = None,
    ) -> Job:
        """Train on everything annotated in the project.

        Parameters
        ----------
        recipe : Recipe or str, optional
            How; a name of one that ships; by default that of ``continue_from``, else "default".
        continue_from : str, optional
            Id of the model run whose weights to start from.
        name : str
            Of the new model run; made from the recipe if empty.
        sampling : SamplingSpec, optional
            Which annotations to learn from.

        Raises
        ------
        SessionError
            If a training runs already, or the run to continue left no model.
        """
        project = self.writable_project()
        if self._training is not None and not self._training.state.ended:
            raise SessionError("A model is being trained already. Stop it first.")
        parent = project.runs.get(continue_from) if continue_from is not None else None
        chosen = _recipe(recipe, parent)
        self.about_to_read.emit()
        number = len(project.runs.list()) + 1
        run = ModelRun(
            name=name or f"{chosen.name} {number}",
            recipe=chosen.model_dump(mode="json"),
            parent=parent.id if parent else None,
        )
        spec = TrainingSpec(
            project=project.path,
            run=run.id,
            recipe=chosen,
            output=project.path / run.path,
            init=self._model_folder(project, parent) if parent else None,
            sampling=sampling,
        )
        project.runs.add(run)
        return self._train(project, spec)

    @reported
    def resume_training(self, run: str) -> Job:
        """Go on with a training that was interrupted: exactly, where its state was kept, else from its best weights.

        Raises
        ------
        SessionError
            If a training runs already, or the run left nothing to go on with.
        """
        project = self.writable_project()
        if self._training is not None and not self._training.state.ended:
            raise SessionError("A model is being trained already. Stop it first.")
        record = project.runs.get(run)
        folder = project.path / record.path
        exact = (folder / TRAINING_STATE_FILE).is_file()
        spec = TrainingSpec(
            project=project.path,
            run=run,
            recipe=Recipe.model_validate(record.recipe),
            output=folder,
            resume=folder if exact else None,
            init=None if exact else self._model_folder(project, record),
        )
        self.about_to_read.emit()
        project.runs.update(run, status="running")
        return self._train(project, spec)

    def _train(self, project: Project, spec: TrainingSpec) -> Job:
        self._training = self._submit(spec, partial(self._on_training_event, project, spec.run))
        return self._training

    def _on_training_event(self, project: Project, run: str, event: Event) -> None:
        """Keep the run's row up to date; in the engine's dispatching thread."""
        changes: dict[str, object] = {}
        match event:
            case Started():
                changes = {"classes": event.classes, "status": "running"}
            case Validated():
                changes = {"metrics": _finite(event.metrics)}
            case Finished():
                self._note(project, partial(_end_run, project, run, event))
        if changes:
            self._note(project, partial(project.runs.update, run, **changes))

    def _note(self, project: Project, write: Callable[[], object]) -> None:
        """Write what a job said; a project that was closed meanwhile, or a run that was deleted, is left alone."""
        if project is not self._project:
            return
        try:
            write()
        except ProjectError as error:
            self.error.emit(str(error))

    def stop_training(self) -> None:
        """Ask the training to stop; its best model is kept. Returns at once."""
        if self._training is not None:
            self._training.cancel()

    def request_preview(self, bounds: Bounds | None, *, slide: str | None = None, max_pixels: int = 512 * 512) -> None:
        """Say which place is looked at: previews of it follow while a model is trained. None stops them.

        Parameters
        ----------
        bounds : (x0, y0, x1, y1) or None
            Level-0 pixels of the current slide.
        slide : str, optional
            Another slide.
        max_pixels : int
            Upper bound of a preview's size; of a larger view the centre is predicted.
        """
        chosen = slide or self._slide_id
        self._place = None if bounds is None or chosen is None else PreviewRequest(chosen, *bounds, max_pixels)
        if self._training is not None and not self._training.state.ended:
            self._training.request_preview(self._place)

    # ---- model runs

    def runs(self) -> tuple[ModelRun, ...]:
        """Model runs of the project, oldest first."""
        return self._project.runs.list() if self._project is not None else ()

    def run_status(self, run: str) -> Status:
        """Curves and progress of a model run, read from what it left on disk."""
        project = self.open_project_or_fail()
        return read_status(project.path / project.runs.get(run).path)

    @reported
    def rename_run(self, run: str, name: str) -> ModelRun:
        """Give a model run another name."""
        return self.writable_project().runs.update(run, name=name)

    @reported
    def delete_run(self, run: str) -> None:
        """Delete a model run and its model; cannot be undone.

        Raises
        ------
        SessionError
            If it is being trained.
        """
        training = self._training
        if (
            training is not None
            and not training.state.ended
            and isinstance(training.spec, TrainingSpec)
            and training.spec.run == run
        ):
            raise SessionError("This model is being trained. Stop the training first.")
        self.writable_project().runs.delete(run)

    def compare_runs(self, runs: tuple[str, ...] = ()) -> dict[str, dict[str, float]]:
        """Metrics of model runs side by side: ``{metric: {run id: value}}``; all runs if none is named."""
        chosen = [run for run in self.runs() if not runs or run.id in runs]
        names = list(dict.fromkeys(metric for run in chosen for metric in run.metrics))
        return {
            metric: {run.id: float(run.metrics[metric]) for run in chosen if run.metrics.get(metric) is not None}
            for metric in names
        }

    def _model_folder(self, project: Project, run: ModelRun) -> Path:
        folder = project.path / run.path
        if not (folder / WEIGHTS_FILE).is_file():
            raise SessionError(f"“{run.name}” left no model. Train another one, or choose a run that has finished.")
        return folder

    @property
    def newest_model(self) -> str | None:
        """Id of the newest run that left a model."""
        project = self._project
        if project is None:
            return None
        ready = (run.id for run in reversed(project.runs.list()) if (project.path / run.path / WEIGHTS_FILE).is_file())
        return next(ready, None)

    def _run_with_model(self, project: Project, run: str | None) -> ModelRun:
        chosen = run or self.newest_model
        if chosen is None:
            raise SessionError("There is no trained model yet. Train one first.")
        return project.runs.get(chosen)


def _end_run(project: Project, run: str, event: Finished) -> None:
    """Write how a run ended; one that was refused before its first step leaves no row."""
    if event.reason == "failed" and not project.runs.get(run).classes:
        project.runs.delete(run)
        return
    metrics = {"metrics": _finite(event.metrics)} if event.metrics else {}
    project.runs.update(run, status=_RUN_STATUS[event.reason], **metrics)


def _recipe(recipe: Recipe | str | None, parent: ModelRun | None) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, str):
        return Recipe.named(recipe)
    return Recipe.model_validate(parent.recipe) if parent is not None else Recipe.named("default")


def _finite(metrics: dict[str, float]) -> dict[str, float | None]:
    """Metrics as JSON values: NaN, for classes that cannot be measured, becomes None."""
    return {name: None if value != value else value for name, value in metrics.items()}
