"""Commands about what is in a project: new, add, info, import, convert."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from napari_histoanno.annotation import Granularity, LabelScheme
from napari_histoanno.cli.app import command, output

if TYPE_CHECKING:
    from napari_histoanno.project import Project, SlideRecord

ProjectFolder = Annotated[Path, typer.Argument(help="Folder of the project.", metavar="PROJECT")]
SlideOption = Annotated[str | None, typer.Option("--slide", help="Id or name of a slide.", metavar="SLIDE")]


@command("new")
def new(
    project: ProjectFolder,
    classes: Annotated[list[str] | None, typer.Option("--class", help="A label class; repeat for more.")] = None,
    background: Annotated[str | None, typer.Option(help="Which class is the background.")] = None,
    annotator: Annotated[str, typer.Option(help="Who annotates.")] = "",
) -> None:
    """Make a project."""
    from napari_histoanno.project import Project
    from napari_histoanno.session import SessionError

    names = list(classes or [])
    if background is not None and background not in names:
        names.append(background)
    try:
        scheme = LabelScheme.from_names(names, background=background)
    except ValueError as error:
        raise SessionError(f"These are no label classes: {error}. Give each class another name.") from error
    with Project.create(project, scheme=scheme, annotator=annotator) as made:
        named = [label.name for label in made.scheme]
        output.result(
            {"project": str(made.path), "classes": named}, f"Created {made.path} with classes {', '.join(named)}"
        )


@command("add")
def add(
    project: ProjectFolder,
    slides: Annotated[list[Path], typer.Argument(help="Slide files.", metavar="SLIDE...")],
    patient: Annotated[str, typer.Option(help="Patient they are of.")] = "",
    mpp: Annotated[float | None, typer.Option(help="µm per pixel, where the files do not say it.")] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "",
) -> None:
    """Add slides to a project."""
    from napari_histoanno.session import Session

    session = Session()
    session.open_project(project)
    try:
        changes: dict[str, Any] = {"mpp": mpp} if mpp is not None else {}
        if split:
            changes["split"] = split
        records = session.add_slides(slides, patient=patient) or ()
        if changes:
            records = tuple(session.writable_project().update_slide(record.id, **changes) for record in records)
        output.result(
            {"slides": [_slide_values(record) for record in records]},
            *(f"Added {r.name}: {r.width} × {r.height} px, {_mpp(r)}" for r in records),
        )
    finally:
        session.close()


@command("info")
def info(project: ProjectFolder) -> None:
    """Show what a project holds."""
    from napari_histoanno.project import Project

    with Project.open(project, read_only=True) as opened:
        values = _describe(opened)
        slides = Table("slide", "pixels", "µm/px", "patient", "split", "annotations", "painted", title=str(opened.path))
        for s in values["slides"]:
            slides.add_row(
                s["name"],
                f"{s['width']} × {s['height']}",
                f"{s['mpp']:.3f}" if s["mpp"] else "?",
                s["patient"],
                s["split"],
                str(sum(s["annotations"].values())),
                ", ".join(s["painted_by"]),
            )
        runs = Table("model run", "id", "status", "mean IoU", "classes")
        for r in values["runs"]:
            score = r["metrics"].get("mean_iou")
            runs.add_row(
                r["name"], r["id"][-8:], r["status"], "" if score is None else f"{score:.3f}", ", ".join(r["classes"])
            )
        classes = "Classes: " + ", ".join(f"{c['id']} {c['name']}" for c in values["classes"])
        people = f"Annotator: {values['annotator'] or '(nobody named)'}"
        owner = [f"In use by {values['owner']}"] if values["owner"] else []
        output.result(values, slides, classes, people, *owner, *([runs] if values["runs"] else []))


def _describe(project: Project) -> dict[str, Any]:
    store = project.annotations
    return {
        "project": str(project.path),
        "owner": str(project.lock_owner) if project.lock_owner else None,
        "annotator": project.annotator,
        "annotators": list(project.annotators),
        "classes": [
            {"id": c.id, "name": c.name, "color": list(c.color), "background": c.background} for c in project.scheme
        ],
        "slides": [
            {
                **_slide_values(record),
                "found": project.slide_path(record.id).exists(),
                "annotations": {
                    granularity.value: number
                    for granularity in Granularity
                    if (number := store.count(record.id, granularities=[granularity]))
                },
                "painted_by": [name or "(nobody named)" for name in project.raster_annotators(record.id)],
            }
            for record in project.slides
        ],
        "runs": [
            {
                "id": run.id,
                "name": run.name,
                "status": run.status,
                "classes": list(run.classes),
                "metrics": dict(run.metrics),
                "created": run.created.isoformat(),
                "parent": run.parent,
            }
            for run in project.runs.list()
        ],
        "predictions": [
            {"id": p.id, "slide": p.slide, "run": p.run, "status": p.status, "path": p.path, "mpp": p.mpp}
            for p in project.predictions.list()
        ],
    }


def _slide_values(record: SlideRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "path": record.path,
        "width": record.width,
        "height": record.height,
        "mpp": record.mpp,
        "patient": record.patient,
        "split": record.split,
    }


def _mpp(record: SlideRecord) -> str:
    return f"{record.mpp:.3f} µm/px" if record.mpp else "pixel size unknown (0.5 µm assumed; say it with --mpp)"


@command("import")
def import_(
    project: ProjectFolder,
    file: Annotated[Path, typer.Argument(help="Annotations of another tool.")],
    slide: SlideOption = None,
    file_format: Annotated[str | None, typer.Option("--format", help="Format, where it is not recognised.")] = None,
) -> None:
    """Add another tool's annotations to a slide."""
    from napari_histoanno.session import Session, SessionError

    session = Session()
    opened = session.open_project(project)
    problems: list[str] = []
    session.status.connect(problems.append)
    try:
        if opened is not None and slide is None and len(opened.slides) > 1:
            raise SessionError(
                "The project has several slides. Say with --slide which one these annotations belong to: "
                + ", ".join(record.name for record in opened.slides)
            )
        added = session.import_annotations(file, slide=slide, format=file_format) or ()
        output.result({"imported": len(added), "message": problems[-1]}, problems[-1])
    finally:
        session.close()


@command("convert")
def convert(
    project: ProjectFolder,
    to: Annotated[Granularity, typer.Option(help="pixel, ellipse, box or point.")],
    source: Annotated[Granularity, typer.Option("--from", help="What to convert.")],
    slide: SlideOption = None,
    method: Annotated[
        str, typer.Option(help="How clicks become masks: network, contour, watershed or grabcut.")
    ] = "network",
) -> None:
    """Derive annotations of another granularity; the originals stay."""
    from napari_histoanno.annotation.clicks import ClickMethod
    from napari_histoanno.session import Session, SessionError

    session = Session()
    session.open_project(project)
    made: dict[str, int] = {}
    try:
        if method not in list(ClickMethod):
            raise SessionError(f"There is no method {method!r}. Choose {', '.join(ClickMethod)}.")
        opened = session.writable_project()
        for record in [opened.find_slide(slide)] if slide else opened.slides:
            if opened.annotations.count(record.id, granularities=[source]):
                session.set_slide(record.id)
                made[record.name] = len(session.convert(source, to, method=method) or ())
        if not made:
            raise SessionError(f"No {source.value} annotation was found to convert.")
        output.result({"converted": made}, *(f"{name}: {number} made" for name, number in made.items()))
    finally:
        session.close()
