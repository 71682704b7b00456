"""Commands that run jobs: export, train, predict, evaluate."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from napari_histoanno.cli.app import command, output
from napari_histoanno.cli.projects import ProjectFolder  # noqa: TC001 - typer reads the annotations

Scheduler = Annotated[
    str | None,
    typer.Option(
        help="Run on the dask cluster of this scheduler, e.g. tcp://host:8786, instead of in this process.",
        envvar="HISTOANNO_SCHEDULER",
    ),
]
RunOption = Annotated[str | None, typer.Option("--run", help="Id or name of a model run; the newest by default.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Any other value, as name=JSON, e.g. sampling.window=32; repeat for more.", metavar="NAME=VALUE"
    ),
]


class On(StrEnum):
    """Where a model is measured."""

    VALIDATION = "validation"
    TEST = "test"
    ALL = "all"


class Unsure(StrEnum):
    """How uncertainty is measured."""

    NONE = "none"
    ENTROPY = "entropy"
    MARGIN = "margin"
    MC_DROPOUT = "mc-dropout"
    ENSEMBLE = "ensemble"


class Kind(StrEnum):
    """What is exported."""

    PNG = "png"
    COCO = "coco"
    PATCHSET = "patchset"
    LABEL_PNG = "label-png"
    LABEL_OME_TIFF = "label-ome-tiff"
    GEOJSON = "geojson"


def _show_recipes(wanted: bool) -> None:  # typer calls it with the option's value
    """List recipes by heading, each with what must be annotated for it, and exit."""
    if not wanted:
        return
    from histotrain.recipes import Recipe, list_recipes, recipe_groups, requirements_of

    lines = list_recipes()
    needs = {name: [str(need) for need in requirements_of(Recipe.named(name))] for name in lines}
    shown: list[str] = []
    for title, names in recipe_groups().items():
        shown.append(f"\n{title}")
        for name in names:
            shown += [f"  {name}", f"      {lines[name]}", f"      needs {', and '.join(needs[name])}"]
    output.result({"recipes": lines, "groups": recipe_groups(), "needs": needs}, *shown)
    raise typer.Exit


@command("train")
def train(  # noqa: PLR0913 - a command's options
    project: ProjectFolder,
    recipe: Annotated[str | None, typer.Option(help="Name of a recipe; see --list.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the whole training.")] = None,
    mpp: Annotated[float | None, typer.Option(help="µm per pixel the network sees.")] = None,
    model: Annotated[str | None, typer.Option(help="Network, e.g. unet/resnet18; see `histoanno models`.")] = None,
    stain: Annotated[str | None, typer.Option(help="Stain normalisation: none, macenko, reinhard, …")] = None,
    name: Annotated[str, typer.Option(help="Name of the model run.")] = "",
    continue_from: Annotated[
        str | None, typer.Option("--continue", help="Model run whose weights to start from.")
    ] = None,
    resume: Annotated[str | None, typer.Option(help="Interrupted model run to go on with.")] = None,
    overrides: Overrides = None,
    list_them: Annotated[
        bool, typer.Option("--list", callback=_show_recipes, is_eager=True, help="List the recipes and exit.")
    ] = False,
    scheduler: Scheduler = None,
) -> None:
    """Train a model on everything annotated. Ctrl-C stops and keeps the best model."""
    from histotrain.recipes import Recipe
    from napari_histoanno.cli.following import exit_if_cancelled, find_run, follow, session_for_jobs

    with session_for_jobs(project, scheduler) as session:
        if resume is not None:
            job = session.resume_training(find_run(session, resume) or "")
        else:
            parent = find_run(session, continue_from)
            runs = {run.id: run for run in session.runs()}
            base = (
                Recipe.named(recipe or "default")
                if recipe or parent is None
                else Recipe.model_validate(runs[parent].recipe)
            )
            given = {"steps": steps, "mpp": mpp, "model": model, "stain": stain}
            changes = {key: value for key, value in given.items() if value is not None} | _parsed(overrides)
            job = session.start_training(base.with_changes(**changes), continue_from=parent, name=name)
        run = (
            session.runs()[-1]
            if resume is None
            else session.open_project_or_fail().runs.get(find_run(session, resume) or "")
        )
        status = follow(job, "training")
        run = session.open_project_or_fail().runs.get(run.id)
        output.result(
            {
                "run": run.id,
                "name": run.name,
                "status": run.status,
                "step": status.step,
                "best_step": status.best_step,
                "path": status.path,
                "metrics": _numbers(status.metrics),
            },
            f"{run.name} {run.status} after {status.step} steps; best at {status.best_step}, "
            f"mean IoU {_shown(status.metrics.get('mean_iou', math.nan))}",
            f"Model: {status.path}",
        )
        exit_if_cancelled(job)


@command("models")
def models() -> None:
    """List the networks that can be trained, with what each is for."""
    from histotrain.models import list_models

    table = Table("network", "what it is", box=None)
    for name, line in list_models().items():
        table.add_row(name, line)
    output.result({"models": list_models()}, table)


@command("predict")
def predict(  # noqa: PLR0913 - a command's options
    project: ProjectFolder,
    slides: Annotated[list[str] | None, typer.Option("--slide", help="Slide; repeat for more; all by default.")] = None,
    run: RunOption = None,
    region: Annotated[str | None, typer.Option(help="Only this level-0 box: x0,y0,x1,y1.")] = None,
    everywhere: Annotated[bool, typer.Option("--everywhere", help="Predict glass, too.")] = False,
    tta: Annotated[bool, typer.Option("--tta", help="Average over the eight orientations.")] = False,
    uncertainty: Annotated[Unsure, typer.Option(help="What to keep of how unsure the model is.")] = Unsure.NONE,
    others: Annotated[
        list[str] | None, typer.Option("--with", help="Model run of the ensemble; repeat for more.")
    ] = None,
    scheduler: Scheduler = None,
) -> None:
    """Predict slides with a trained model. Ctrl-C stops and keeps what is done."""
    from napari_histoanno.cli.following import exit_if_cancelled, find_run, follow, session_for_jobs

    box = _box(region)
    with session_for_jobs(project, scheduler) as session:
        opened = session.open_project_or_fail()
        chosen = [opened.find_slide(key) for key in slides] if slides else list(opened.slides)
        model = find_run(session, run)
        together = [find_run(session, other) or "" for other in others or []]
        choices: dict[str, Any] = {"tissue_only": not everywhere, "tta": tta, "uncertainty": uncertainty.value}
        made: list[dict[str, Any]] = []
        job = None
        for record in chosen:
            job = session.predict_slide(model, slide=record.id, region=box, ensemble=together, **choices)
            follow(job, record.name)
            prediction = session.predictions(record.id)[-1]
            made.append(
                {
                    "id": prediction.id,
                    "slide": record.name,
                    "status": prediction.status,
                    "path": str(opened.path / prediction.path),
                }
            )
            if prediction.status != "completed":
                break
        output.result({"predictions": made}, *(f"{p['slide']}: {p['status']}, {p['path']}" for p in made))
        exit_if_cancelled(job)


@command("evaluate")
def evaluate(
    project: ProjectFolder,
    run: RunOption = None,
    on: Annotated[On, typer.Option(help="Which annotated places.")] = On.VALIDATION,
    slides: Annotated[list[str] | None, typer.Option("--slide", help="These slides instead.")] = None,
    scheduler: Scheduler = None,
) -> None:
    """Measure a model on annotated places it was not trained on, and write a report with pictures."""
    from napari_histoanno.cli.following import exit_if_cancelled, find_run, follow, session_for_jobs

    with session_for_jobs(project, scheduler) as session:
        job = session.evaluate(find_run(session, run), on=on.value, slides=tuple(slides) if slides else None)
        status = follow(job, "evaluation")
        exit_if_cancelled(job)
        report = json.loads(Path(status.path or "").read_text(encoding="utf-8"))
        page = Path(status.path or "").with_suffix(".html")
        output.result({**report, "path": status.path, "page": str(page)}, _scores(report), f"Report: {page}")


def _scores(report: dict[str, Any]) -> Table:
    """Each class below the means of all."""
    columns = list(dict.fromkeys(key for row in report["classes"].values() for key in row))
    table = Table("class", *columns, title=f"{report['patches']} patches")
    for name, scores in report["classes"].items():
        table.add_row(name, *(_shown(scores.get(key)) for key in columns))
    table.add_row(
        "mean", *(_shown(report["metrics"].get(f"mean_{key}", report["metrics"].get(key))) for key in columns)
    )
    return table


@command("export")
def export(  # noqa: PLR0913 - a command's options
    project: ProjectFolder,
    folder: Annotated[Path, typer.Argument(help="Folder of the dataset.")],
    kind: Annotated[Kind, typer.Option(help="What to write.")] = Kind.PNG,
    mpp: Annotated[float | None, typer.Option(help="µm per pixel.")] = None,
    patch_size: Annotated[int | None, typer.Option(help="Side of a patch, pixels.")] = None,
    stride: Annotated[str | None, typer.Option(help="full, half, or pixels.")] = None,
    min_annotated: Annotated[float | None, typer.Option(help="Share of labelled pixels that a patch needs.")] = None,
    split: Annotated[str | None, typer.Option(help="none, slide, patient or block.")] = None,
    classes: Annotated[list[str] | None, typer.Option("--class", help="Only this class; repeat for more.")] = None,
    slides: Annotated[list[str] | None, typer.Option("--slide", help="Only this slide; repeat for more.")] = None,
    unlabelled: Annotated[str | None, typer.Option(help="Class that unlabelled pixels become.")] = None,
    overrides: Overrides = None,
    scheduler: Scheduler = None,
) -> None:
    """Write a dataset with a manifest; equal byte for byte when repeated."""
    from napari_histoanno.cli.following import exit_if_cancelled, follow, session_for_jobs
    from napari_histoanno.datasets.export import ExportSpec

    given = {
        "mpp": mpp,
        "patch_size": patch_size,
        "stride": int(stride) if stride is not None and stride.isdigit() else stride,
        "min_annotated": min_annotated,
        "split": split,
        "classes": tuple(classes) if classes else None,
        "slides": tuple(slides) if slides else None,
        "unlabelled": unlabelled,
    }
    values = {key: value for key, value in given.items() if value is not None} | _parsed(overrides)
    spec = ExportSpec.model_validate({"kind": kind.value, **values})
    with session_for_jobs(project, scheduler) as session:
        job = session.export(spec, folder.absolute())
        status = follow(job, f"{kind.value} export")
        exit_if_cancelled(job)
        output.result({"path": status.path, "message": status.message}, status.message)


def _parsed(overrides: list[str] | None) -> dict[str, Any]:
    """``name=JSON`` options as values; what is no JSON is taken as text."""
    values: dict[str, Any] = {}
    for override in overrides or []:
        key, separator, text = override.partition("=")
        if not separator:
            raise typer.BadParameter(f"--set takes NAME=VALUE, not {override!r}")
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text
    return values


def _box(text: str | None) -> tuple[float, float, float, float] | None:
    if text is None:
        return None
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"--region takes x0,y0,x1,y1, not {text!r}") from None
    if not (x0 < x1 and y0 < y1):
        raise typer.BadParameter("--region needs x0 < x1 and y0 < y1")
    return x0, y0, x1, y1


def _numbers(metrics: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in metrics.items()}


def _shown(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"
