"""Drawing, correcting, converting, exchanging annotations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_histoanno.annotation import Annotation, Granularity, LabelScheme, Source, WholeSlide
from napari_histoanno.annotation.model import new_id
from napari_histoanno.session.errors import SessionError, reported
from napari_histoanno.session.state import SessionState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from napari_histoanno.annotation import Bounds, Geometry
    from napari_histoanno.annotation.convert import ImageSource
    from napari_histoanno.project import Change

_COUNTED = {
    Granularity.POINT: "points",
    Granularity.BOX: "boxes",
    Granularity.ELLIPSE: "ellipses",
    Granularity.PIXEL: "outlines",
    Granularity.SPARSE: "scribbles",
    Granularity.EXHAUSTIVE: "done regions",
    Granularity.IMAGE: "slide labels",
}


class AnnotatingActions(SessionState):
    """What an annotator does."""

    def add_annotation(
        self, geometry: Geometry, granularity: Granularity, *, class_id: int | None = None, slide: str | None = None
    ) -> Annotation:
        """Draw: add a record of the current class, annotator and slide.

        Raises
        ------
        SessionError
            If no project, slide or class is chosen.
        ProjectError
            If the record was refused.
        """
        project = self.writable_project()
        exhaustive = granularity is Granularity.EXHAUSTIVE
        chosen = self._class_id if class_id is None else class_id
        if not exhaustive and chosen not in project.scheme:
            raise SessionError("No class is chosen. Click a class, or press its number, before drawing.")
        annotation = Annotation(
            slide=self.current_slide(slide).id,
            granularity=granularity,
            geometry=geometry,
            class_id=0 if exhaustive else chosen,
            annotator=project.annotator,
        )
        return project.annotations.add([annotation])[0]

    def update_annotations(self, annotations: Iterable[Annotation]) -> tuple[Annotation, ...]:
        """Replace records by newer versions of themselves, in one undoable action."""
        return self.writable_project().annotations.update(annotations)

    def delete_annotations(self, ids: Iterable[UUID]) -> None:
        """Delete records in one undoable action."""
        gone = tuple(ids)
        self.writable_project().annotations.delete(gone)
        self.set_selection(kept for kept in self._selection if kept not in gone)

    @reported
    def label_slide(self, *, class_id: int | None = None) -> Annotation:
        """Say of the whole slide that it shows the current class; replaces what the annotator said before."""
        project = self.writable_project()
        slide = self.current_slide()
        before = project.annotations.query(slide.id, granularities=[Granularity.IMAGE], annotators=[project.annotator])
        with project.transaction("label slide"):
            project.annotations.delete([record.id for record in before])
            return self.add_annotation(WholeSlide(), Granularity.IMAGE, class_id=class_id)

    @reported
    def undo(self) -> Change | None:
        """Take the project's last action back; None if there is none."""
        self.about_to_read.emit()
        return self.writable_project().history.undo()

    @reported
    def redo(self) -> Change | None:
        """Do the project's last undone action again; None if there is none."""
        self.about_to_read.emit()
        return self.writable_project().history.redo()

    def counts(self) -> dict[str, int]:
        """What is on the current slide, in words: number of records of each granularity, and of painted tiles."""
        record = self.slide_record
        project = self._project
        if project is None or record is None:
            return {}
        counts = {
            name: project.annotations.count(record.id, granularities=[granularity])
            for granularity, name in _COUNTED.items()
        }
        counts["painted tiles"] = sum(
            len(project.raster(record.id, annotator).keys()) for annotator in project.raster_annotators(record.id)
        )
        return {name: number for name, number in counts.items() if number}

    # ---- conversion

    @reported
    def convert(
        self,
        what: Iterable[UUID] | Granularity | None,
        to: Granularity,
        *,
        method: str = "network",
        bounds: Bounds | None = None,
    ) -> tuple[Annotation, ...]:
        """Derive records of another granularity from those of the current slide, in one undoable action.

        Parameters
        ----------
        what : iterable of UUID, Granularity or None
            Records; all of a granularity; or the selected ones.
        to : Granularity
            PIXEL, ELLIPSE, BOX or POINT.
        method : str
            How a click or box becomes a mask: "network", "contour", "watershed" or "grabcut".
        bounds : (x0, y0, x1, y1), optional
            Only records that reach into this level-0 box.

        Returns
        -------
        tuple of Annotation
            The new records; their parents stay.

        Raises
        ------
        SessionError
            If there is nothing to convert.
        AnnotationError
            If a record does not say enough.
        """
        from napari_histoanno.annotation.clicks import ClickMethod, ClickOptions
        from napari_histoanno.annotation.convert import convert_all

        project = self.writable_project()
        slide = self.current_slide()
        records = [record for record in self._records(what, slide.id, bounds) if record.granularity is not to]
        if not records:
            raise SessionError("There is nothing to convert. Select shapes first, or convert all of a kind.")
        with project.open_slide(slide.id) as opened:

            def image(x: int, y: int, w: int, h: int, /) -> object:
                return opened.read_region((x, y), 0, (w, h))

            source: ImageSource = image  # type: ignore[assignment]
            options = ClickOptions.at(self.effective_mpp(slide.id))
            derived = convert_all(records, to, image=source, method=ClickMethod(method), options=options)
        added = project.annotations.add(derived, action=f"convert to {to.value}")
        self.status.emit(f"Made {len(added)} {_COUNTED[to]}")
        return added

    def _records(
        self, what: Iterable[UUID] | Granularity | None, slide: str, bounds: Bounds | None
    ) -> Sequence[Annotation]:
        store = self.open_project_or_fail().annotations
        if isinstance(what, Granularity):
            return store.query(slide, granularities=[what], bounds=bounds)
        ids = self._selection if what is None else tuple(what)
        return [store.get(identifier) for identifier in ids]

    # ---- exchange

    @reported
    def import_annotations(
        self,
        path: str | Path,
        *,
        slide: str | None = None,
        format: str | None = None,  # noqa: A002 - as in formats
    ) -> tuple[Annotation, ...]:
        """Add another tool's annotations to a slide, in one undoable action; classes it lacks are added by name.

        Records that are on the slide already, because the file came from here, take the form they have in the file.
        What the file says that cannot be said here is told in ``status``.
        """
        from napari_histoanno.formats import read_annotations

        project = self.writable_project()
        record = self.current_slide(slide)
        file = read_annotations(path, format)
        with project.transaction(f"import {Path(path).name}"):
            ids = self._adopt(file.scheme)
            new, changed, known = self._compared(
                replace(
                    annotation,
                    slide=record.id,
                    class_id=ids.get(annotation.class_id, 0),
                    annotator=annotation.annotator or project.annotator,
                    source=Source.IMPORTED,
                )
                for annotation in file.annotations
            )
            project.annotations.add(new, action="import")
            project.annotations.update(changed, action="import")
        parts = [f"Imported {len(new)} annotations"]
        if known:
            parts.append(f"{known} were here already, {len(changed)} of them different")
        if file.problems:
            parts.append(f"{len(file.problems)} could not be read: {file.problems[0]}")
        self.status.emit("; ".join(parts))
        return (*new, *changed)

    def _compared(self, read: Iterable[Annotation]) -> tuple[list[Annotation], list[Annotation], int]:
        """What of a file is new, what is a changed version of a record of the same slide, and how many are known.

        A file that this project wrote and another tool changed brings the ids of the project with it.
        """
        there = {record.id: record for record in self.writable_project().annotations.query()}
        records = list(read)
        known = [record for record in records if record.id in there and there[record.id].slide == record.slide]
        here = {record.id for record in known}
        fresh = {record.id: new_id() for record in records if record.id in there and record.id not in here}
        new = [
            replace(
                record,
                id=fresh.get(record.id, record.id),
                parent=fresh.get(record.parent, record.parent) if record.parent else None,
            )
            for record in records
            if record.id not in here
        ]
        changed = [replace(r, created=there[r.id].created) for r in known if not _says_the_same(r, there[r.id])]
        return new, changed, len(known)

    def _adopt(self, theirs: LabelScheme) -> dict[int, int]:
        """Class ids of this project for those of another scheme, by name; classes that are missing are added."""
        project = self.writable_project()
        scheme = project.scheme
        for label in theirs:
            if label.name not in scheme:
                scheme = scheme.with_class(label.name, color=label.color)
        if scheme != project.scheme:
            project.set_scheme(scheme)
        return {label.id: scheme[label.name].id for label in theirs}

    @reported
    def export_annotations(
        self,
        path: str | Path,
        *,
        slide: str | None = None,
        format: str | None = None,  # noqa: A002 - as in formats
    ) -> int:
        """Write a slide's records to a file for another tool; returns how many."""
        from napari_histoanno.formats import write_annotations

        self.about_to_read.emit()
        project = self.open_project_or_fail()
        record = self.current_slide(slide)
        annotations = project.annotations.query(record.id)
        write_annotations(path, annotations, project.scheme, format)
        self.status.emit(f"Wrote {len(annotations)} annotations to {path}")
        return len(annotations)


def _says_the_same(one: Annotation, other: Annotation) -> bool:
    return (one.granularity, one.geometry, one.class_id) == (other.granularity, other.geometry, other.class_id)
