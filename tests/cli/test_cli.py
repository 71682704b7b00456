"""The command line from an empty folder to a measured model, for people and for machines."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from napari_histoanno.annotation import Annotation, Area, Box, Granularity, LabelScheme
from napari_histoanno.cli import main
from napari_histoanno.formats import write_annotations
from napari_histoanno.project import Project
from tests.jobs.tissue import WIDTH, make_project, write_picture

if TYPE_CHECKING:
    from collections.abc import Callable

QUICK = ["--steps", "14", "--mpp", "0.5"]
TINY = [
    f"--set={text}" for text in ("patch_size=32", "batch_size=4", "validate_every=7", "warmup=0", "precision=float32")
]


@pytest.fixture
def histoanno(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Runs a command with --json; gives its exit code and result."""

    def run(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
        with pytest.raises(SystemExit) as end:
            main([*map(str, arguments), "--json"])
        out = capsys.readouterr().out
        return int(end.value.code or 0), json.loads(out) if out.strip() else {}

    return run


def write_geojson(path: Path) -> Path:
    """Boxes of two classes on the picture, as another tool would write them."""
    scheme = LabelScheme.from_names(["Tumour", "Stroma"])
    records = [
        Annotation("", Granularity.PIXEL, Area(Box(x + dx, y, 48, 48).shape), class_id)
        for x, y in ((40, 40), (160, 220), (40, 300), (250, 60))
        for class_id, dx in ((1, 0), (2, WIDTH // 2))
    ]
    write_annotations(path, records, scheme)
    return path


def test_from_an_empty_folder_to_a_measured_model(histoanno: Any, tmp_path: Path) -> None:
    study, slide = tmp_path / "study", write_picture(tmp_path / "slide.png")
    code, made = histoanno("new", study, "--class", "Tumour", "--class", "Stroma", "--annotator", "Ada")
    assert (code, made["classes"]) == (0, ["Tumour", "Stroma", "Background"])
    code, added = histoanno("add", study, slide, "--mpp", "0.5", "--patient", "P1")
    assert (code, added["slides"][0]["mpp"]) == (0, 0.5)
    code, imported = histoanno("import", study, write_geojson(tmp_path / "a.geojson"))
    assert (code, imported["imported"]) == (0, 8)
    code, converted = histoanno("convert", study, "--from", "pixel", "--to", "ellipse")
    assert (code, converted["converted"]) == (0, {"slide": 8})
    code, trained = histoanno("train", study, "--name", "first", *QUICK, *TINY)
    assert (code, trained["status"], trained["step"]) == (0, "completed", 14)
    code, predicted = histoanno("predict", study, "--run", "first", "--region", "0,0,300,200", "--everywhere")
    assert (code, predicted["predictions"][0]["status"]) == (0, "completed")
    code, measured = histoanno("evaluate", study, "--on", "all")
    assert code == 0
    assert set(measured["classes"]) == {"Tumour", "Stroma"}
    assert "<h1>Evaluation" in Path(measured["page"]).read_text(encoding="utf-8")
    code, exported = histoanno("export", study, tmp_path / "out", "--kind", "png", "--mpp", "0.5", "--patch-size", "64")
    assert code == 0
    assert (tmp_path / "out" / "manifest.json").is_file(), exported
    code, info = histoanno("info", study)
    assert code == 0
    assert info["runs"][0]["name"] == "first"
    assert info["slides"][0]["annotations"] == {"ellipse": 8, "pixel": 8}
    assert info["predictions"][0]["status"] == "completed"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["info", "nowhere"], 1, "no project"),
        (["add", "nowhere", "slide.svs"], 1, "no project"),
        (["train", "nowhere", "--set", "steps"], 1, "no project"),
        (["no-such-command"], 2, ""),
        (["info"], 2, ""),
        (["train", "study", "--set", "steps=-1"], 2, "steps"),
        (["train", "study", "--recipe", "no-such"], 1, "Choose one of"),
        (["train", "study", "--set", "sampling.windw=32"], 2, "sampling.windw"),
        (["train", "study", "--stain", "no-such"], 2, "macenko"),
        (["train", "study", "--model", "no-such"], 1, "Try unet"),
        (["predict", "study"], 1, "Train one first"),
        (["predict", "study", "--region", "1,2,3"], 2, ""),
        (["predict", "study", "--run", "no-such"], 1, "There are: none"),
        (["convert", "study", "--from", "point", "--to", "box"], 1, "point"),
        (["import", "study", "absent.geojson"], 1, "absent.geojson"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_says_why_with_an_exit_code(
    histoanno: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, said: str
) -> None:
    make_project(tmp_path).close()
    monkeypatch.chdir(tmp_path)
    got, result = histoanno(*arguments)
    assert got == code
    assert said in result.get("error", "")


def test_an_interrupted_training_keeps_its_model_and_says_so(tmp_path: Path) -> None:
    with make_project(tmp_path) as project:
        study = project.path
    command = [sys.executable, "-c", "from napari_histoanno.cli import main; main()", "--json", "train", str(study)]
    options = ["--steps", "100000", "--mpp", "0.5", *TINY, "--set", "validate_every=3"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not list(study.glob("models/*/model.safetensors")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 3
    assert json.loads(out)["status"] == "stopped"
    with Project.open(study) as project:
        assert project.runs.list()[0].status == "stopped"


def test_text_for_people(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    make_project(tmp_path).close()
    with pytest.raises(SystemExit):
        main(["info", str(tmp_path / "study")])
    shown = capsys.readouterr().out
    assert "slide" in shown
    assert "Tumour" in shown


def test_the_doctor_looks_at_every_part(histoanno: Any, tmp_path: Path) -> None:
    code, report = histoanno("doctor", "--quick", "--folder", tmp_path)
    parts = {finding["part"]: finding for finding in report["findings"]}
    assert code == 0, report
    assert {"Python", "torch", "GPU", "torchvision", "OpenSlide", "image codecs", "free space", "writing"} <= set(parts)
    assert parts["writing"]["state"] == "ok"
    code, report = histoanno("doctor", "--quick", "--folder", tmp_path / "absent")
    assert code == 1
    assert not report["ok"]


def test_recipes_are_listed_without_a_project(histoanno: Any) -> None:
    code, listed = histoanno("train", "--list")
    assert code == 0
    assert "default" in listed["recipes"]
    assert "dmmn-m3" in listed["groups"]["Several magnifications (Ho 2021)"]
    assert listed["needs"]["pannuke-hovernet"] == ["outlines of single nuclei inside an exhaustive region"]


def test_networks_are_listed(histoanno: Any) -> None:
    code, listed = histoanno("models")
    assert code == 0
    assert "patches" in listed["models"]["classify/resnet18"]


def test_one_value_of_a_part_of_a_recipe_is_set(histoanno: Any, tmp_path: Path) -> None:
    make_project(tmp_path).close()
    study = tmp_path / "study"
    changed = ["--stain", "none", "--set", "augment.blur=0.5", "--set", "sampling.min_annotated=0.05"]
    code, _ = histoanno("train", study, *QUICK, *TINY, *changed)
    assert code == 0
    with Project.open(study) as project:
        recipe = project.runs.list()[0].recipe
    assert (recipe["augment"]["blur"], recipe["sampling"]["min_annotated"]) == (0.5, 0.05)


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom napari_histoanno.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'napari', 'distributed'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)
