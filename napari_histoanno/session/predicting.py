"""Predicting slides, measuring models, exporting datasets, all in the background."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, TypedDict

from psygnal import Signal

from histotrain.card import read_card
from histotrain.events import Event, Finished
from napari_histoanno.jobs import (
    DatasetExportSpec,
    EvaluationSpec,
    PredictionBlock,
    PredictionSpec,
    PredictionStore,
)
from napari_histoanno.project import PredictionRecord
from napari_histoanno.session.errors import reported
from napari_histoanno.session.learning import LearningActions

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Unpack

    from napari_histoanno.annotation import Bounds
    from napari_histoanno.datasets.export import ExportSpec
    from napari_histoanno.jobs import Job
    from napari_histoanno.project import Project

_STATUS = {"completed": "completed", "cancelled": "partial", "failed": "failed"}


class PredictionChoices(TypedDict, total=False):
    """How a slide is predicted."""

    tissue_only: bool
    """Skip glass; so by default."""
    tta: bool
    """Average over the eight orientations; not by default."""
    uncertainty: Literal["none", "entropy", "margin", "mc-dropout", "ensemble"]
    """What is kept of how unsure the model is; nothing by default. See `histotrain.uncertainty`."""
    passes: int
    """Passes with random dropout, for "mc-dropout"; 8 by default."""
    ensemble: Iterable[str]
    """Model runs that predict together with the first one."""


class PredictingActions(LearningActions):
    """What a trained model is used for.

    Attributes
    ----------
    prediction_started : Signal(str)
        Id of a prediction whose store can be opened from now on; from the engine's dispatching thread.
    prediction_block : Signal(str, PredictionBlock)
        A block of a prediction is on disk; its id, and where; from the same thread.
    """

    prediction_started = Signal(str)
    prediction_block = Signal(str, PredictionBlock)

    # ---- predictions

    @reported
    def predict_slide(
        self,
        run: str | None = None,
        *,
        slide: str | None = None,
        region: Bounds | None = None,
        **choices: Unpack[PredictionChoices],
    ) -> Job:
        """Predict a slide, or a level-0 box of it, with a model run (by default the newest with a model).

        Raises
        ------
        SessionError
            If there is no such run, or it has no model.
        """
        project = self.writable_project()
        record = self.current_slide(slide)
        model = self._run_with_model(project, run)
        folder = self._model_folder(project, model)
        recipe = read_card(folder).recipe
        mpp = recipe.mpp * recipe.sampling.pixel_scale(recipe.patch_size)
        prediction = PredictionRecord(slide=record.id, run=model.id, mpp=mpp, region=region)
        others = [
            self._model_folder(project, self._run_with_model(project, key)) for key in choices.pop("ensemble", ())
        ]
        spec = PredictionSpec.model_validate(
            {
                "project": project.path,
                "prediction": prediction.id,
                "slide": record.id,
                "model": folder,
                "output": project.path / prediction.path,
                "region": region,
                "ensemble": others,
                **choices,
            }
        )
        project.predictions.add(prediction)
        return self._submit(spec, partial(self._on_prediction_event, project, prediction.id, []))

    def _arrive(self, project: Project) -> None:
        super()._arrive(project)
        self._settle_predictions(project)

    def _leave(self, project: Project) -> None:
        super()._leave(project)
        self._settle_predictions(project)

    def _settle_predictions(self, project: Project) -> None:
        """What nobody goes on with is as far as it got."""
        if project.read_only:
            return
        for record in project.predictions.list():
            if record.status == "running":
                project.predictions.update(record.id, status=_STATUS["cancelled"])

    def _on_prediction_event(self, project: Project, prediction: str, seen: list[str], event: Event) -> None:
        """Pass blocks on and keep the prediction's row up to date; in the engine's dispatching thread."""
        if isinstance(event, PredictionBlock):
            if not seen:
                seen.append(prediction)
                self.prediction_started.emit(prediction)
            self.prediction_block.emit(prediction, event)
        elif isinstance(event, Finished):
            self._note(
                project,
                partial(project.predictions.update, prediction, status=_STATUS[event.reason]),
            )

    def predictions(self, slide: str | None = None) -> tuple[PredictionRecord, ...]:
        """Predictions of the project, or of one slide, oldest first."""
        return self._project.predictions.list(slide) if self._project is not None else ()

    @property
    def newest_prediction(self) -> str | None:
        """Id of the newest prediction of the current slide that has something to show."""
        shown = (record.id for record in reversed(self.predictions(self._slide_id)) if record.status != "failed")
        return next(shown, None) if self._slide_id is not None else None

    def open_prediction(self, prediction: str) -> PredictionStore:
        """The store of a prediction; readable as soon as its first block is there.

        Raises
        ------
        PredictionError
            If it cannot be read.
        """
        project = self.open_project_or_fail()
        return PredictionStore.open(project.path / project.predictions.get(prediction).path)

    @reported
    def delete_prediction(self, prediction: str) -> None:
        """Delete a prediction and its files; cannot be undone."""
        self.writable_project().predictions.delete(prediction)

    # ---- evaluation and export

    @reported
    def evaluate(self, run: str | None = None, *, on: str = "validation", slides: tuple[str, ...] | None = None) -> Job:
        """Measure a model run on annotated places; see :class:`~napari_histoanno.jobs.EvaluationSpec`."""
        project = self.open_project_or_fail()
        self.about_to_read.emit()
        model = self._run_with_model(project, run)
        folder = self._model_folder(project, model)
        spec = EvaluationSpec.model_validate(
            {
                "project": project.path,
                "model": folder,
                "output": folder / "evaluation.json",
                "on": on,
                "slides": slides,
            }
        )
        return self._submit(spec)

    @reported
    def export(self, spec: ExportSpec, output: str | Path | None = None) -> Job:
        """Write a dataset, by default into ``exports/<kind>`` of the project."""
        project = self.open_project_or_fail()
        self.about_to_read.emit()
        place = project.path / "exports" / spec.kind.value if output is None else output
        return self._submit(
            DatasetExportSpec.model_validate({"project": project.path, "output": place, "dataset": spec})
        )
