"""Pages show the session as it is, offer what can be done, and do what is asked."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QInputDialog, QPushButton, QWidget

from napari_histoanno.annotation import Box, Ellipse, Granularity, Point, Source
from napari_histoanno.annotation.tools import Tool
from napari_histoanno.datasets import SplitBy
from napari_histoanno.datasets.export import ExportKind
from napari_histoanno.project import Project
from napari_histoanno.session import Session
from tests.jobs.tissue import STROMA, TUMOUR, write_picture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gui.widgets.conftest import Screen

pytestmark = pytest.mark.gui

LEFT = Qt.MouseButton.LeftButton


def buttons(page: QWidget) -> dict[str, QPushButton]:
    return {button.text(): button for button in page.findChildren(QPushButton)}


# ---- nothing is open


def test_before_a_project_is_open_only_opening_one_is_offered(blank: Screen) -> None:
    offered = {text for text, button in buttons(blank.slides).items() if button.isEnabled()}
    assert offered == {"New…", "Open…", "Sample"}
    for page in (blank.annotate, blank.train, blank.export):
        assert not any(button.isEnabled() for button in buttons(page).values())
    assert "page 1" in blank.header.next.text()
    assert blank.header.slide.text() == "no project"


def test_a_folder_without_a_project_is_refused_in_the_header(
    blank: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, **__: str(tmp_path))
    buttons(blank.slides)["Open…"].click()
    assert "no project" in blank.header.message.text()
    assert blank.header.message.isVisible()
    assert blank.session.project is None


def test_a_new_project_is_made_where_the_user_says_and_knows_who_annotates(
    blank: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, **__: str(tmp_path))
    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: (" kidney ", True))
    buttons(blank.slides)["New…"].click()
    assert blank.session.project is not None
    assert blank.session.project.path == tmp_path / "kidney"
    assert blank.session.project.annotator
    blank.settle()
    assert "Add slides" in blank.header.next.text()
    buttons(blank.slides)["New…"].click()
    assert "already" in blank.header.message.text()


# ---- every signal is seen


def test_pages_follow_the_project(screen: Screen, tmp_path: Path) -> None:
    assert screen.header.slide.text() == "slide"
    assert screen.header.class_name.text() == "Tumour"
    assert screen.header.saved.text().endswith("all saved")
    assert list(screen.annotate.classes._buttons) == [1, 2, 3]
    assert "8 outlines" in screen.annotate.count.text()
    assert screen.train.train_button.isEnabled()
    assert screen.export.export_button.isEnabled()
    assert "Train" in screen.header.next.text()
    screen.session.close_project()
    screen.settle()
    assert screen.header.slide.text() == "no project"
    assert screen.annotate.classes._buttons == {}
    assert screen.slides._table.rowCount() == 0
    assert not screen.train.train_button.isEnabled()


def test_pages_follow_slides(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    other = write_picture(tmp_path / "two" / "other.png")
    other.write_bytes(other.read_bytes() + b"different")
    screen.session.add_slides([other])
    assert screen.header.slide.text() == "other"
    names = [screen.slides._table.item(row, 0).text() for row in range(2)]
    assert names == ["slide", "other"]
    assert screen.slides._table.currentRow() == 1
    screen.settle()
    assert screen.annotate.count.text() == "Nothing is annotated yet."
    screen.slides._table.setCurrentCell(0, 0)
    assert screen.header.slide.text() == "slide"
    screen.session.update_slide("other", name="third", patient="P7", split="test")
    assert [screen.slides._table.item(1, column).text() for column in range(2)] == ["third", "P7"]
    assert screen.slides._table.cellWidget(1, 3).currentText() == "test"
    screen.slides._table.setCurrentCell(1, 0)
    screen.slides.remove_button.click()
    assert screen.slides._table.rowCount() == 1
    screen.session.undo()
    assert screen.slides._table.rowCount() == 2


def test_pages_follow_the_scheme(screen: Screen) -> None:
    scheme = screen.session.project.scheme
    screen.session.set_scheme(scheme.with_class("Fat").with_changed(TUMOUR, name="Cancer"))
    texts = [button.text().split()[0] for button in screen.annotate.classes._buttons.values()]
    assert texts == ["Cancer", "Stroma", "Background", "Fat"]
    assert screen.header.class_name.text() == "Cancer"
    assert screen.slides._scheme.value() == screen.session.project.scheme
    for box in (screen.train.shown, screen.train.editable_class):
        assert [box.itemText(i) for i in range(1, box.count())] == ["Cancer", "Stroma", "Background", "Fat"]
    assert screen.export.unlabelled.findData("Fat") > 0
    assert [item.text() for item in screen.export._items()] == ["Cancer", "Stroma", "Background", "Fat"]
    screen.session.undo()
    assert screen.header.class_name.text() == "Tumour"


def test_header_and_tools_follow_class_tool_brush_and_saving(screen: Screen) -> None:
    screen.session.set_class(STROMA)
    screen.session.set_tool(Tool.ELLIPSE)
    screen.session.set_brush_size(77)
    screen.session.set_saving(True)
    assert (screen.header.class_name.text(), screen.header.tool.text()) == ("Stroma", "Ellipse")
    assert screen.header.saved.text().endswith("saving…")
    assert screen.annotate.tools.button(Tool.ELLIPSE).isChecked()
    assert screen.annotate.classes._buttons[STROMA].isChecked()
    assert screen.annotate.brush.value() == 77
    screen.session.set_class(TUMOUR)
    assert screen.header.saved.text().endswith("saving…")
    screen.session.set_saving(False)
    assert screen.header.saved.text().endswith("all saved")


def test_counts_and_history_follow_what_is_drawn(screen: Screen) -> None:
    page = screen.annotate
    screen.session.add_annotation(Ellipse(50, 50, 9, 6), Granularity.ELLIPSE)
    screen.session.add_annotation(Box(50, 50, 9, 6), Granularity.BOX)
    screen.settle()
    assert page.count.text() == "1 box, 1 ellipse, 8 outlines"
    assert page.undo.isEnabled()
    assert not page.redo.isEnabled()
    page.undo.click()
    assert page.redo.isEnabled()
    screen.settle()
    assert page.count.text() == "1 ellipse, 8 outlines"
    page.redo.click()
    assert not page.redo.isEnabled()


def test_status_and_errors_are_told_in_full_and_long_ones_on_hover(screen: Screen) -> None:
    screen.session.status.emit("Done")
    assert screen.header.message.text() == "Done"
    screen.session.error.emit("x" * 2000)
    assert len(screen.header.message.text()) < 400
    assert screen.header.message.toolTip() == "x" * 2000
    assert "bold" in screen.header.message.styleSheet()
    screen.session.status.emit("Better")
    assert "bold" not in screen.header.message.styleSheet()


def test_the_next_step_is_told(screen: Screen) -> None:
    session = screen.session
    everything = [record.id for record in session.project.annotations.query()]
    session.delete_annotations(everything)
    screen.settle()
    assert "page 2" in screen.header.next.text()
    assert not screen.train.train_button.isEnabled()
    assert "Annotate something" in screen.train.train_button.toolTip()
    session.add_annotation(Box(40, 40, 60, 60), Granularity.PIXEL)
    screen.settle()
    assert screen.header.next.text().startswith("→ Only Tumour is annotated")
    session.add_annotation(Box(400, 40, 60, 60), Granularity.PIXEL, class_id=STROMA)
    screen.settle()
    assert "page 3" in screen.header.next.text()


# ---- what the user does


def test_cells_of_the_slide_table_change_the_slide(screen: Screen) -> None:
    table = screen.slides._table
    table.item(0, 0).setText("biopsy")
    table.item(0, 1).setText("P1")
    table.item(0, 2).setText("0,25")
    (record,) = screen.session.project.slides
    assert (record.name, record.patient, record.mpp) == ("biopsy", "P1", 0.25)
    for nonsense in ("-1", "wide", ""):
        table.item(0, 2).setText(nonsense)
        assert "positive number" in screen.header.message.text()
        assert screen.session.project.slides[0].mpp == 0.25
        assert table.item(0, 2).text() == "0.25"
    box = table.cellWidget(0, 3)
    screen.qtbot.keyClick(box, Qt.Key.Key_End)
    assert screen.session.project.slides[0].split == "test"


def test_a_cell_edited_with_the_keyboard_survives_the_refresh(screen: Screen) -> None:
    table = screen.slides._table
    table.setCurrentCell(0, 1)
    table.editItem(table.item(0, 1))
    editor = table.findChildren(QWidget, "qt_spinbox_lineedit") or table.viewport().findChildren(QWidget)
    line = next(widget for widget in editor if widget.metaObject().className() == "QExpandingLineEdit")
    screen.qtbot.keyClicks(line, "P9")
    screen.qtbot.keyClick(line, Qt.Key.Key_Return)
    screen.qtbot.wait(20)
    assert screen.session.project.slides[0].patient == "P9"


def test_the_scheme_editor_shows_what_the_project_accepted(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    before = screen.session.project.scheme
    monkeypatch.setattr(Project, "read_only", property(lambda _: True))
    screen.slides._scheme.valueChanged.emit(before.with_class("Fat"))
    assert "reading only" in screen.header.message.text()
    assert screen.slides._scheme.value() == before


def test_tools_and_classes_are_chosen_by_a_click(screen: Screen) -> None:
    screen.qtbot.mouseClick(screen.annotate.tools.button(Tool.SCRIBBLE), LEFT)
    screen.qtbot.mouseClick(screen.annotate.classes._buttons[STROMA], LEFT)
    assert (screen.session.tool, screen.session.class_id) == (Tool.SCRIBBLE, STROMA)
    screen.qtbot.mouseClick(screen.annotate.tools.button(Tool.IMAGE), LEFT)
    (label,) = screen.session.project.annotations.query(granularities=[Granularity.IMAGE])
    assert label.class_id == STROMA
    assert screen.session.tool is Tool.SCRIBBLE
    assert screen.annotate.tools.button(Tool.SCRIBBLE).isChecked()


def test_conversion_is_offered_where_it_makes_sense(screen: Screen) -> None:
    page, session = screen.annotate, screen.session
    assert not page.convert_button.isEnabled(), "nothing is selected"
    point = session.add_annotation(Point(60, 60), Granularity.POINT)
    session.set_selection([point.id])
    assert page.convert_button.isEnabled()
    assert page.method.isEnabled()
    page.convert_button.click()
    screen.until(lambda: session.project.annotations.count(sources=[Source.CONVERTED]) == 1)
    screen.until(lambda: not page._background.busy)
    session.set_selection([])
    assert not page.convert_button.isEnabled()
    page.convert_from.setCurrentText("all boxes")
    page.convert_to.setCurrentText("boxes")
    assert not page.convert_button.isEnabled()
    page.convert_from.setCurrentText("all ellipses")
    assert page.convert_button.isEnabled()
    assert not page.method.isEnabled()
    page.convert_button.click()
    screen.until(lambda: "nothing to convert" in screen.header.message.text())


def test_annotations_go_out_to_a_file_and_come_back(
    screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, out = screen.session.project.annotations, str(tmp_path / "out.geojson")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (out, ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (out, ""))
    screen.annotate.export_button.click()
    screen.until(lambda: "Wrote 8" in screen.header.message.text())
    screen.annotate.import_button.click()
    screen.until(lambda: "8 were here already, 0 of them different" in screen.header.message.text())
    store.delete([record.id for record in store.query(limit=3)])
    screen.until(lambda: not screen.annotate._background.busy)
    screen.annotate.import_button.click()
    screen.until(lambda: store.count() == 8)
    (tmp_path / "out.geojson").write_text("not a file of annotations")
    screen.until(lambda: not screen.annotate._background.busy)
    screen.annotate.import_button.click()
    screen.until(lambda: "out.geojson" in screen.header.message.text() and screen.header._failed)


# ---- files that are not there


def test_a_broken_slide_is_refused_with_its_reason(
    screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.svs").write_bytes(b"no slide")
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_, **__: ([str(tmp_path / "broken.svs")], ""))
    screen.slides.add_button.click()
    assert "broken.svs" in screen.header.message.text()
    assert screen.slides._table.rowCount() == 1


def test_a_moved_slide_is_located(screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "slide.png", tmp_path / "elsewhere" / "slide.png")
    other = write_picture(tmp_path / "other.png")
    other.write_bytes(other.read_bytes() + b"different")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (str(other), ""))
    screen.slides.locate_button.click()
    assert screen.header._failed
    assert "other.png" in screen.header.message.text()
    found = str(tmp_path / "elsewhere" / "slide.png")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (found, ""))
    screen.slides.locate_button.click()
    assert screen.session.project.slide_path(screen.session.slide_id) == tmp_path / "elsewhere" / "slide.png"


# ---- read-only


def test_a_project_in_use_elsewhere_can_be_looked_at_only(blank: Screen, project_path: Path) -> None:
    with Project.open(project_path):
        other = Session()
        blank.session.open_project(project_path, read_only=True)
        blank.settle()
        assert blank.header.saved.text() == "read only"
        assert "Read only" in blank.slides._path.text()
        assert not blank.slides.add_button.isEnabled()
        assert not blank.slides._scheme.isEnabled()
        assert not blank.slides._annotator.isEnabled()
        assert not blank.slides._table.item(0, 0).flags() & Qt.ItemFlag.ItemIsEditable
        assert blank.slides._table.isEnabled()
        assert not blank.annotate.tools.isEnabled()
        assert not blank.annotate.undo.isEnabled()
        assert not blank.annotate.import_button.isEnabled()
        assert blank.annotate.export_button.isEnabled()
        for button in (blank.train.train_button, blank.train.retrain_button, blank.train.editable_button):
            assert not button.isEnabled()
        assert "looked at" in blank.header.next.text()
        blank.session.undo()
        assert "reading only" in blank.header.message.text()
        other.close()
        blank.session.close_project()


# ---- exports


def test_the_export_form_says_what_is_asked(screen: Screen) -> None:
    page = screen.export
    page.kind.setCurrentText("COCO")
    page.mpp.setValue(1.0)
    page.size.setValue(128)
    page.stride.setValue(64)
    page.annotated.setValue(25)
    page.split.setCurrentText("within slides, with a gap")
    page._items()[2].setCheckState(Qt.CheckState.Unchecked)
    page.unlabelled.setCurrentText("becomes Stroma")
    spec = page.spec()
    assert (spec.kind, spec.mpp, spec.patch_size, spec.stride) == (ExportKind.COCO, 1.0, 128, 64)
    assert (spec.min_annotated, spec.split.by, spec.classes) == (0.25, SplitBy.BLOCK, ("Tumour", "Stroma"))
    assert spec.unlabelled == "Stroma"
    page.kind.setCurrentText("QuPath GeoJSON")
    assert page.spec().split.by is SplitBy.NONE
    assert not page.size.isEnabled()


def test_an_export_that_makes_no_sense_is_refused_in_the_header(screen: Screen) -> None:
    for item in screen.export._items():
        item.setCheckState(Qt.CheckState.Unchecked)
    screen.export.export_button.click()
    assert "at least one class" in screen.header.message.text()
    assert screen.session.jobs == ()


def test_an_export_is_written_and_its_failure_told(screen: Screen, tmp_path: Path) -> None:
    page = screen.export
    page.folder.setText(str(tmp_path / "out"))
    page.size.setValue(48)
    page.split.setCurrentText("no split")
    page.export_button.click()
    screen.until(lambda: "Written to" in page.result.text(), 30)
    assert (tmp_path / "out" / "manifest.json").exists()
    assert page.open_button.isVisible()
    (tmp_path / "file").write_text("in the way")
    page.folder.setText(str(tmp_path / "file"))
    page.export_button.click()
    screen.until(lambda: screen.header._failed, 30)
    assert "export" in screen.header.message.text().lower()
    screen.until(page.export_button.isEnabled)
