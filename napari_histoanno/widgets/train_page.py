"""Third step: one button trains in the background; what the model sees appears on the slide while it learns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QLabel, QPushButton, QSlider, QVBoxLayout, QWidget

from histotrain import Recipe
from napari_histoanno.jobs.events import JobState
from napari_histoanno.widgets.background import Background
from napari_histoanno.widgets.curves import CurvesPlot
from napari_histoanno.widgets.form import Fold, button, form, group, row
from napari_histoanno.widgets.guide import FactsWatch
from napari_histoanno.widgets.job_progress import JobProgress
from napari_histoanno.widgets.needs import missing
from napari_histoanno.widgets.quality import judged_by, quality_line, title_of
from napari_histoanno.widgets.recipe_form import RecipeForm
from napari_histoanno.widgets.relay import listen
from napari_histoanno.widgets.runs_table import RunsTable
from napari_histoanno.widgets.style import signs

if TYPE_CHECKING:
    from qtpy.QtGui import QShowEvent

    from napari_histoanno.jobs import Job
    from napari_histoanno.layers import ProjectView
    from napari_histoanno.session import Session
    from napari_histoanno.session.objects import EditableOptions

_TRAIN, _STOP, _STOPPING = "▶  Train && preview", "■  Stop training", "Stopping…"
_AS: dict[str, Literal["pixel", "polygon"]] = {"pixel mask": "pixel", "polygons": "polygon"}
_CLASS_MAP = "classes"


class TrainPage(QWidget):
    """Training, preview, prediction and correction of a session; ``view`` shows what comes back."""

    def __init__(
        self,
        session: Session,
        view: ProjectView | None = None,
        facts: FactsWatch | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._view = session, view
        self._facts = FactsWatch(session, self) if facts is None else facts
        self._background = Background(self)
        self.train_button = QPushButton(_TRAIN)
        self.train_button.setObjectName("train")
        self.train_button.setMinimumHeight(36)
        self.train_button.clicked.connect(self._toggle)
        self.progress = JobProgress()
        self.progress.refreshed.connect(self._show_job)
        self.progress.ended.connect(self._after_training)
        self.curves = CurvesPlot()
        self.curves.setVisible(False)
        self.metrics = QLabel()
        self.metrics.setWordWrap(True)
        self.metrics.setVisible(False)
        self.lacking = QLabel()
        self.lacking.setWordWrap(True)
        self._paces: dict[tuple[str, str], float] = {}
        self._warm = False
        self.settings = RecipeForm(self._pace)
        self.settings.changed.connect(self._show_lacking)
        self.predict_progress = JobProgress()
        self.runs = RunsTable(session)
        layout = QVBoxLayout(self)
        layout.addWidget(self.train_button)
        layout.addWidget(self.progress)
        layout.addWidget(self.curves)
        layout.addWidget(self.metrics)
        layout.addWidget(self.lacking)
        self.recipe_box = Fold("Recipe", self.settings, "How the model is trained")
        layout.addWidget(self.recipe_box)
        layout.addWidget(self._preview_box())
        layout.addWidget(self._predict_box())
        layout.addWidget(group("Models", self.runs))
        layout.addStretch()
        listen(self, session.project_changed, self._on_project)
        for signal in (session.scheme_changed, session.slide_changed, session.jobs_changed):
            listen(self, signal, self.refresh)
        for signal in (session.runs_changed, session.predictions_changed):
            listen(self, signal, self.refresh)
        if view is not None:
            listen(self, view.opened, self._take_up_view)
        self._facts.found.connect(self.refresh)
        self._background.busy_changed.connect(self.refresh)
        self.runs.table.itemSelectionChanged.connect(self.refresh)
        self.refresh()

    def _preview_box(self) -> QWidget:
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setValue(50)
        self.opacity.setToolTip("How strongly the prediction covers the slide")
        self.shown = QComboBox()
        self.shown.setToolTip("Show the most probable class everywhere, or how probable one class is")
        self.opacity.valueChanged.connect(self._show_opacity)
        self.shown.currentIndexChanged.connect(self._show_map)
        return group("Show prediction", form(("Opacity", self.opacity), ("Map", self.shown)))

    def _predict_box(self) -> QWidget:
        self.where, self.editable_class, self.editable_as = QComboBox(), QComboBox(), QComboBox()
        self.where.addItems(["whole slide", "this view"])
        self.where.setToolTip("Where to predict, and what to make editable, accept or reject")
        self.where.currentIndexChanged.connect(self.refresh)
        self.editable_class.setToolTip("Which class to make editable, accept or reject")
        self.editable_as.addItems(list(_AS))
        self.editable_as.setToolTip("Pixels can be painted over; polygons can be moved and reshaped")
        self.simplify = QDoubleSpinBox()
        self.simplify.setRange(0, 20)
        self.simplify.setValue(1.0)
        self.simplify.setSuffix(" px")
        self.simplify.setToolTip("How far a polygon may stray from the pixels to have fewer corners")
        self.smallest = QDoubleSpinBox()
        self.smallest.setRange(0, 100_000)
        self.smallest.setValue(10)
        self.smallest.setSuffix(" µm²")
        self.smallest.setToolTip("Smaller polygons are left out; a lymphocyte has about 40 µm²")
        self.editable_as.currentIndexChanged.connect(self.refresh)
        self.predict_button = button("Predict slide", "Run the model over the slide's tissue", self.predict)
        self.editable_button = button(
            "Make editable", "Turn the prediction into annotations that you can correct", self.make_editable
        )
        self.accept_button = button(
            "Accept", "What was predicted there is right: learn from it as if you had drawn it", self.accept
        )
        self.reject_button = button(
            "Reject", "What was predicted there is wrong: take away what you have not painted over", self.reject
        )
        self.retrain_button = button(
            "Retrain", "Go on from the last weights, with your corrections", lambda: self.train(continue_last=True)
        )
        return group(
            "Predict && correct",
            form(
                ("Where", self.where),
                ("Class", self.editable_class),
                ("As", self.editable_as),
                ("Simplify", self.simplify),
                ("At least", self.smallest),
            ),
            row(self.predict_button, self.editable_button),
            row(self.accept_button, self.reject_button, self.retrain_button),
            self.predict_progress,
        )

    # -- the session's state on screen -----------------------------------------------------------------------------

    def _on_project(self, *_: object) -> None:
        """Another project: nothing of the one before is said any more."""
        for progress in (self.progress, self.predict_progress):
            progress.clear()
        self.curves.clear()
        self.curves.setVisible(False)
        self.metrics.clear()
        self.metrics.setVisible(False)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the session as it is now."""
        session = self._session
        self.setEnabled(session.project is not None)
        writable = session.project is not None and not session.project.read_only
        training, prediction = self._running("training"), self._running("prediction")
        if training is not None and self.progress.job is not training:
            self.progress.show_job(training, "Training")
        if prediction is not None and self.predict_progress.job is not prediction:
            self.predict_progress.show_job(prediction, "Predicting")
        self._show_train_button(training, writable=writable)
        trained = writable and (self.runs.current() or session.newest_model) is not None
        self.retrain_button.setEnabled(training is None and trained)
        self.predict_button.setEnabled(prediction is None and trained and session.slide_id is not None)
        self.predict_button.setText("Predict slide" if self.where.currentIndex() == 0 else "Predict view")
        busy = self._background.busy
        self.editable_button.setEnabled(writable and not busy and session.newest_prediction is not None)
        self.editable_button.setText("Taking over…" if busy else "Make editable")
        for review in (self.accept_button, self.reject_button):
            review.setEnabled(writable and not busy and session.slide_id is not None)
        for box in (self.simplify, self.smallest):
            box.setEnabled(_AS[self.editable_as.currentText()] == "polygon")
        self._show_classes()
        self._show_lacking()
        self._warm_up()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._warm_up()

    def _warm_up(self) -> None:
        """Start the worker as soon as somebody who may train looks here: it takes as long as choosing a recipe."""
        project = self._session.project
        if not self._warm and self.isVisible() and project is not None and not project.read_only:
            self._warm = True
            self._session.warm_up()

    def _show_lacking(self) -> None:
        """Name the recipe, and say what it cannot do without and does not find."""
        name = self.settings.recipe.currentText()
        self.recipe_box.title.setText(f"Recipe: {name}")
        facts = self._facts.facts
        told = missing(self.settings.value(), facts) if facts.annotated else ()
        self.lacking.setText(f"{name}: {' '.join(told)}")
        self.lacking.setStyleSheet(f"color: {signs().caution}")
        self.lacking.setVisible(bool(told))

    def _pace(self, recipe: Recipe) -> float:
        """Patches a second of the last training of such a network here; NaN if there was none."""
        for run in reversed(self._session.runs()):
            if (run.recipe.get("model"), run.recipe.get("patch_size")) == (recipe.model, recipe.patch_size):
                key = (run.id, run.status)
                if key not in self._paces:
                    self._paces[key] = self._session.run_status(run.id).items_per_second
                return self._paces[key] or math.nan
        return math.nan

    def _show_train_button(self, training: Job | None, *, writable: bool) -> None:
        stopping = training is not None and training.state is JobState.CANCELLING
        self.train_button.setText(_TRAIN if training is None else _STOPPING if stopping else _STOP)
        something = bool(self._facts.facts.annotated) or training is not None
        self.train_button.setEnabled(writable and something and not stopping)
        self.train_button.setToolTip(
            "Annotate something first: a few marks of at least two classes"
            if not something
            else "Learn from all that is annotated so far; the slide shows the model as it improves"
            if training is None
            else "End the training; its best model is kept"
        )

    def _take_up_view(self, *_: object) -> None:
        """A slide's layers are new: they show what is chosen here."""
        self._show_opacity(self.opacity.value())
        self._show_map(self.shown.currentIndex())

    def _running(self, kind: str) -> Job | None:
        """The job of a kind that has not ended."""
        return next((job for job in reversed(self._session.jobs) if job.kind == kind and not job.state.ended), None)

    def _show_classes(self) -> None:
        project = self._session.project
        names = [(label.name, label.id) for label in project.scheme] if project is not None else []
        for box, first in ((self.shown, _CLASS_MAP), (self.editable_class, "all classes")):
            entries = [(first, None), *names]
            if [(box.itemText(i), box.itemData(i)) for i in range(box.count())] == entries:
                continue
            chosen = box.currentData()
            box.blockSignals(True)
            box.clear()
            for text, data in entries:
                box.addItem(text, data)
            box.setCurrentIndex(max(0, box.findData(chosen)))
            box.blockSignals(False)

    def _show_job(self, job: Job) -> None:
        status = job.status
        self.curves.setVisible(bool(status.losses) or self.curves.isVisible())
        metric = judged_by(status.metrics)
        quality = [(step, metrics.get(metric, math.nan)) for step, _, metrics in status.validations]
        self.curves.set_curves(status.losses, quality, title_of(metric))
        self.metrics.setText(quality_line(status.metrics))
        self.metrics.setVisible(bool(self.metrics.text()))

    def _after_training(self, _: Job) -> None:
        self.refresh()

    def _show_opacity(self, percent: int) -> None:
        if self._view is not None and self._view.predictions is not None:
            self._view.predictions.opacity = percent / 100

    def _show_map(self, _: int) -> None:
        if self._view is not None and self._view.predictions is not None:
            self._view.predictions.probability_class = self.shown.currentData()

    # -- what the user does ----------------------------------------------------------------------------------------

    def _toggle(self) -> None:
        if self._running("training") is not None:
            self._session.stop_training()
        else:
            self.train()

    def train(self, *, continue_last: bool = False) -> None:
        """Start training on all annotated places."""
        recipe, run = self.settings.value(), None
        if continue_last:
            run = self.runs.current() or self._session.newest_model
            before = next((each for each in self._session.runs() if each.id == run), None)
            if before is not None:  # the same network at the same resolution, for as long as is asked now
                recipe = Recipe.model_validate(before.recipe).with_changes(steps=recipe.steps)
        self._session.start_training(recipe, continue_from=run)

    def predict(self) -> None:
        """Predict the slide, or what is in view."""
        self._session.predict_slide(self.runs.current(), region=self._bounds())

    def make_editable(self) -> None:
        """Turn the last prediction, or what is in view of it, into annotations."""
        prediction = self._session.newest_prediction
        if prediction is None:
            return
        options: EditableOptions = {
            "bounds": self._bounds(),
            "classes": self._classes(),
            "as_": _AS[self.editable_as.currentText()],
            "simplify": self.simplify.value(),
            "min_area": self.smallest.value() / self._session.effective_mpp() ** 2,
        }
        self._background.start(lambda: self._session.make_editable(prediction, **options))

    def accept(self) -> None:
        """Make what was predicted, or what is in view of it, the annotator's own."""
        bounds, classes = self._bounds(), self._classes()
        self._background.start(lambda: self._session.accept_predictions(bounds, classes))

    def reject(self) -> None:
        """Take away what was predicted, or what is in view of it."""
        bounds, classes = self._bounds(), self._classes()
        self._background.start(lambda: self._session.reject_predictions(bounds, classes))

    def _classes(self) -> list[int] | None:
        chosen = self.editable_class.currentData()
        return None if chosen is None else [chosen]

    def _bounds(self) -> tuple[float, float, float, float] | None:
        if self._view is None or self.where.currentIndex() == 0:
            return None
        return self._view.bounds
