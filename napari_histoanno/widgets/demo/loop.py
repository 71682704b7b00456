"""The whole loop on a virtual screen: open, annotate, convert, train and preview, predict, correct, retrain, export."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

from histotrain import Recipe
from napari_histoanno import scripted
from napari_histoanno.annotation import Granularity
from napari_histoanno.annotation.tools import Tool
from napari_histoanno.datasets import SplitBy, SplitSpec
from napari_histoanno.datasets.export import ExportKind, ExportSpec
from napari_histoanno.jobs.events import JobState
from napari_histoanno.report import Picture, Section, Table, class_table, curves
from napari_histoanno.widgets.demo import truth
from napari_histoanno.widgets.demo.hand import Hand, work_for, work_until
from napari_histoanno.widgets.demo.screen import DemoError
from napari_histoanno.widgets.demo.story import Story
from napari_histoanno.widgets.dock import HistoAnnoDock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from histotrain.events import Status
    from napari_histoanno.jobs import Job

WINDOW = (1600, 1000)
TRAIN_STEPS, RETRAIN_STEPS = 180, 40
PREVIEW_AT = 0.25
_CORRECTION_SEED = 5
_MINUTES = 60.0
_EXPORTS = (ExportKind.PNG, ExportKind.COCO, ExportKind.GEOJSON)


def run_loop(slide: Path | None, folder: Path, say: Callable[[str], None]) -> Path:
    """Run the loop in a window of its own and write screenshots, dataset, model and report into a folder.

    Raises
    ------
    DemoError
        If a step fails; the message says which and why.
    """
    viewer = napari.Viewer(title="HistoAnno")
    try:
        viewer.window._qt_window.resize(*WINDOW)  # noqa: SLF001 - napari has no other way to size its window
        return _Loop(viewer, folder, say).run(slide)
    finally:
        viewer.close()
        QApplication.processEvents()


class _Loop:
    """One run; each method is one step of the work."""

    def __init__(self, viewer: napari.Viewer, folder: Path, say: Callable[[str], None]) -> None:
        self.dock = HistoAnnoDock(viewer)
        viewer.window.add_dock_widget(self.dock, name="HistoAnno", area="right")
        self.session, self.view = self.dock.session, self.dock.view
        self.folder, self._say = folder, say
        self.story = Story(folder, viewer.window._qt_window)  # noqa: SLF001 - as above
        self.errors: list[str] = []
        self.session.error.connect(self.errors.append)
        self.summary: list[Section] = []

    def run(self, slide: Path | None) -> Path:
        work_for(0.5)
        own = slide is not None
        self._step("Opening the slide")
        if slide is not None:
            self.open_own(slide)
        else:
            self.open_sample()
        self._step("Annotating")
        (self.annotate_own if own else self.annotate_sample)()
        self._step("Converting clicks to masks")
        self.convert()
        self._step("Training, with a preview of the view")
        status = self.train(Recipe.named("default" if own else "tissue").with_changes(steps=TRAIN_STEPS))
        self._step("Predicting the slide")
        self.predict()
        self._step("Correcting")
        self.correct(own=own)
        self._step("Retraining with the corrections")
        again = self.retrain()
        self._step("Exporting")
        self.export()
        self._summarise(status, again, own=own)
        page = self.story.tell(f"Demonstration: {self.session.current_slide().name}", self.summary)
        self._say(f"Done in {self.story.seconds:.0f} s. Open {page}")
        return page

    def _step(self, text: str) -> None:
        if self.errors:
            raise DemoError(self.errors[0])
        self._say(f"[{self.story.seconds:4.0f} s] {text}")

    # -- slides and annotations ------------------------------------------------------------------------------------

    def open_sample(self) -> None:
        self.session.open_sample(self.folder / "project")
        self._wait(lambda: self.view.slide_layer is not None, 20, "the slide did not open")
        self.dock.show_step(1)
        self.story.shoot(
            "open", "Slides and labels", "The sample project: two slides, six tissue classes, a first start."
        )

    def open_own(self, slide: Path) -> None:
        self.session.create_project(self.folder / "project", scheme=scripted.scheme(), annotator="Scripted annotator")
        self.session.add_slides([slide.resolve()])
        self._wait(lambda: self.view.slide_layer is not None, 60, f"{slide} did not open")
        self.dock.show_step(1)
        self.story.shoot("open", "Slides and labels", f"{slide.name} in a new project.")

    def annotate_sample(self) -> None:
        """Paint, outline and click with the mouse, as a user would."""
        self.dock.show_step(2)
        self.view.fly_to((1500, 700, 2500, 1400))
        work_for(0.5)
        hand, (x, y) = Hand(self.view), (1700.0, 850.0)
        self.session.set_class(3)
        self.session.set_brush_size(24)
        self.session.set_tool(Tool.BRUSH)
        hand.drag([(x + 12 * i, y + 30 * math.sin(i / 4)) for i in range(24)])
        self.view.undo()
        if not self.session.writable_project().history.can_redo:
            raise DemoError("A brush stroke drawn with the mouse left no trace in the project's history.")
        self.view.redo()
        self.session.set_tool(Tool.PAN)
        truth.annotate(self.session)
        self.story.shoot(
            "annotate",
            "Annotate",
            "Strokes, ellipses, boxes, clicks and a completely annotated region; undo at any time.",
        )

    def annotate_own(self) -> None:
        marks = self._scripted_marks()
        if not marks:
            raise DemoError("No tissue was found on this slide: the script knows only H&E.")
        self._draw(marks)
        self.dock.show_step(2)
        self._fly_to_cluster(np.asarray([mark.geometry.bounds[:2] for mark in marks], float))
        self.story.shoot(
            "annotate", "Annotate", f"{len(marks)} marks by the script: clicks on nuclei, short lines elsewhere."
        )

    def _scripted_marks(self, seed: int = 0) -> list[scripted.Mark]:
        with self.session.writable_project().open_slide(self.session.current_slide().id) as slide:
            return scripted.annotate(slide, seed=seed)

    def _draw(self, marks: Sequence[scripted.Mark]) -> None:
        project = self.session.writable_project()
        with project.transaction("scripted annotation"):
            for mark in marks:
                label = project.scheme[mark.class_name]
                self.session.add_annotation(mark.geometry, mark.granularity, class_id=label.id)

    def _fly_to_cluster(self, places: np.ndarray) -> None:
        """Look at the place where most of the marks are."""
        distance = np.linalg.norm(places[:, None] - places[None], axis=-1)
        x, y = places[np.argmin(np.sort(distance, axis=1)[:, : max(1, len(places) // 4)].sum(1))]
        half = 150 / self.session.effective_mpp()
        self.view.fly_to((x - half, y - half, x + half, y + half))
        work_for(0.5)

    def convert(self) -> None:
        project = self.session.writable_project()
        clicks = project.annotations.query(self.session.slide_id, granularities=[Granularity.POINT])
        self._fly_to_cluster(np.asarray([record.bounds[:2] for record in clicks], float))
        before = self._count()
        made = self.session.convert(Granularity.POINT, Granularity.PIXEL)
        after = self._count()
        if not made or after != before + len(made):
            raise DemoError("Clicks did not become masks.")
        self.story.shoot("convert", "Convert", f"{len(made)} clicks became masks; the clicks are kept.")

    def _count(self) -> int:
        return self.session.writable_project().annotations.count(self.session.slide_id)

    # -- learning --------------------------------------------------------------------------------------------------

    def train(self, recipe: Recipe) -> Status:
        self.dock.show_step(3)
        clicked = self.story.seconds
        started = self.session.start_training(recipe)
        job = self._running(started, "Training did not start.")
        previewed: list[int] = []
        job.preview.connect(lambda result: previewed.append(result.step))
        self._wait(lambda: bool(previewed) or job.done.is_set(), 2 * _MINUTES, "no preview came")
        first = self.story.seconds - clicked
        self._wait(lambda: job.done.is_set() or job.status.step > PREVIEW_AT * recipe.steps, 5 * _MINUTES, "too slow")
        caption = "The model in training shows what it sees in this view."
        section = self.story.shoot("train", "Train and preview", caption)
        if previewed:
            section.paragraphs.append(f"The first preview came {first:.0f} s after the click, at step {previewed[0]}.")
        return self._finished(job)

    def predict(self) -> None:
        record = self.session.current_slide()
        self.view.fly_to((0, 0, record.width, record.height))
        self._finished(self._running(self.session.predict_slide(), "The prediction did not start."))
        self.story.shoot("predict", "Predict", "The whole slide, tissue only, with blended overlaps.")

    def correct(self, *, own: bool) -> None:
        """Make a part of the prediction editable and draw more of what is known."""
        self.view.fly_to(self._centre_box())
        work_for(0.5)
        before = self._count()
        prediction = self.session.newest_prediction
        if prediction is None:
            raise DemoError("The slide has no prediction.")
        self.session.make_editable(prediction, bounds=self._centre_box(), as_="polygon", simplify=1.0)
        made = self._count() - before
        if not made:
            raise DemoError("Nothing of the prediction became editable.")
        if own:
            lines = [mark for mark in self._scripted_marks(seed=1) if mark.granularity is Granularity.SPARSE]
            self._draw(lines)
        else:
            truth.annotate(self.session, seed=_CORRECTION_SEED)
        self.story.shoot(
            "correct", "Correct", f"{made} predicted outlines, now ordinary annotations, and a correction."
        )

    def _centre_box(self) -> tuple[float, float, float, float]:
        record = self.session.current_slide()
        width, height = record.width, record.height
        half = min(width, height) / 8
        return (width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half)

    def retrain(self) -> Status:
        last = self.session.runs()[-1]
        recipe = Recipe.model_validate(last.recipe).with_changes(steps=RETRAIN_STEPS)
        job = self.session.start_training(recipe, continue_from=last.id)
        status = self._finished(self._running(job, "Retraining did not start."))
        self.story.shoot("retrain", "Retrain", "Training went on from the last weights; both models are kept.")
        return status

    def export(self) -> None:
        self.dock.show_step(4)
        rows: list[list[str | float]] = []
        for kind in _EXPORTS:
            out = self.folder / "dataset" / kind
            split = SplitSpec(by=SplitBy.BLOCK if kind.of_patches else SplitBy.NONE)
            job = self.session.export(ExportSpec(kind=kind, split=split), out)
            self._finished(self._running(job, f"The {kind} export did not start."))
            rows.append([kind, sum(1 for path in out.rglob("*") if path.is_file()), str(out.relative_to(self.folder))])
        section = self.story.shoot("export", "Export", "The dataset in three formats, each with a manifest of hashes.")
        section.tables.append(Table(["format", "files", "folder"], rows))

    # -- waiting and telling ---------------------------------------------------------------------------------------

    def _wait(self, done: Callable[[], object], seconds: float, failure: str) -> None:
        if not work_until(lambda: done() or self.errors, seconds) or self.errors:
            raise DemoError(self.errors[0] if self.errors else f"{failure} within {seconds:.0f} s")

    def _running(self, job: Job | None, failure: str) -> Job:
        if job is None:
            raise DemoError(self.errors[0] if self.errors else failure)
        return job

    def _finished(self, job: Job) -> Status:
        self._wait(job.done.is_set, 10 * _MINUTES, f"the {job.kind} job did not end")
        work_for(0.3)
        if job.state is not JobState.COMPLETED:
            raise DemoError(f"The {job.kind} job ended as {job.state}: {job.message}")
        return job.status

    def _summarise(self, first: Status, again: Status, *, own: bool) -> None:
        section = Section("Result", [f"The whole loop took {self.story.seconds:.0f} s."])
        for title, status in (("First training", first), ("After correction", again)):
            section.paragraphs.append(f"{title}: best of {status.step} steps on {status.device}, on places kept aside.")
            section.tables.append(class_table(status.metrics, status.classes))
            section.pictures.append(Picture.from_figure(curves(status), title))
        self.summary.append(section)
        if not own:
            self.summary.append(truth.compared(self.session))
        figures = {"seconds": round(self.story.seconds, 1), "first": first.metrics, "again": again.metrics}
        (self.folder / "figures.json").write_text(json.dumps(figures, indent=1, sort_keys=True), encoding="utf-8")
