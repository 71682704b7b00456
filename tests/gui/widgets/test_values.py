"""Each small widget edits one value: what is set is shown, what the user does is told once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QInputDialog, QMessageBox

from napari_histoanno.annotation import LabelScheme
from napari_histoanno.annotation.tools import TOOLS, Tool
from napari_histoanno.widgets.curves import CurvesPlot
from napari_histoanno.widgets.icons import tool_icon
from napari_histoanno.widgets.job_progress import duration
from napari_histoanno.widgets.pickers import ClassPicker, ToolPicker
from napari_histoanno.widgets.quality import judged_by, quality_line, title_of
from napari_histoanno.widgets.scheme_editor import SchemeEditor

if TYPE_CHECKING:
    from qtpy.QtWidgets import QTreeWidgetItem

pytestmark = pytest.mark.gui


@pytest.fixture
def scheme() -> LabelScheme:
    return LabelScheme.from_names(["tumour", "stroma", "glass"], background="glass").with_changed(2, parent=1)


@pytest.fixture
def editor(qtbot: Any, scheme: LabelScheme) -> SchemeEditor:
    editor = SchemeEditor()
    qtbot.addWidget(editor)
    editor.setValue(scheme)
    return editor


def item_of(editor: SchemeEditor, name: str) -> QTreeWidgetItem:
    found = editor.tree.findItems(name, Qt.MatchFlag.MatchExactly | Qt.MatchFlag.MatchRecursive, 0)
    assert len(found) == 1
    return found[0]


def test_children_are_drawn_below_the_class_they_refine(editor: SchemeEditor) -> None:
    assert item_of(editor, "stroma").parent() is item_of(editor, "tumour")


@pytest.mark.parametrize(
    ("column", "text", "field", "expected"), [(0, "cancer", "name", "cancer"), (2, "7", "grade", 7)]
)
def test_editing_a_cell_changes_the_class(
    editor: SchemeEditor, qtbot: Any, column: int, text: str, field: str, expected: object
) -> None:
    with qtbot.waitSignal(editor.valueChanged):
        item_of(editor, "tumour").setText(column, text)
    assert getattr(editor.value()[1], field) == expected


def test_a_hotkey_moves_to_the_class_that_takes_it(editor: SchemeEditor) -> None:
    item_of(editor, "glass").setText(1, "1")
    assert [(c.name, c.hotkey) for c in editor.value()] == [("tumour", None), ("stroma", "2"), ("glass", "1")]


@pytest.mark.parametrize(("column", "text"), [(0, "stroma"), (1, "x"), (2, "bad")])
def test_nonsense_is_refused_and_the_scheme_kept(
    editor: SchemeEditor, scheme: LabelScheme, monkeypatch: pytest.MonkeyPatch, column: int, text: str
) -> None:
    said: list[str] = []
    monkeypatch.setattr(QMessageBox, "warning", lambda *args: said.append(args[-1]))
    item_of(editor, "tumour").setText(column, text)
    assert len(said) == 1
    assert editor.value() == scheme
    assert item_of(editor, "tumour").text(0) == "tumour"


def test_adding_and_removing_a_class(editor: SchemeEditor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: ("fat", True))
    editor._add()
    assert [c.name for c in editor.value()] == ["tumour", "stroma", "glass", "fat"]
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    editor.tree.setCurrentItem(item_of(editor, "tumour"))
    editor._remove()
    assert [(c.name, c.parent) for c in editor.value()] == [("stroma", None), ("glass", None), ("fat", None)]


def test_every_tool_has_an_icon_and_a_button(qtbot: Any) -> None:
    picker = ToolPicker()
    qtbot.addWidget(picker)
    for tool in TOOLS:
        assert not picker.button(tool).icon().isNull()
        with qtbot.waitSignal(picker.valueChanged) as told:
            picker.button(tool).click()
        assert told.args == [tool]
        assert picker.value() is tool
    with pytest.raises(KeyError):
        tool_icon("no such tool", picker.palette().windowText().color())


def test_only_one_class_is_chosen(qtbot: Any, scheme: LabelScheme) -> None:
    picker = ClassPicker()
    qtbot.addWidget(picker)
    picker.set_scheme(scheme)
    picker.setValue(2)
    assert [button.isChecked() for button in picker._buttons.values()] == [False, True, False]
    with qtbot.waitSignal(picker.valueChanged) as told:
        picker._buttons[3].click()
    assert told.args == [3]
    picker.set_scheme(scheme.without(3))
    assert list(picker._buttons) == [1, 2]


def test_curves_leave_out_what_is_not_a_number(qtbot: Any) -> None:
    plot = CurvesPlot()
    qtbot.addWidget(plot)
    plot.set_curves([(1, 0.5), (2, float("nan")), (3, 0.25)], [(3, 0.5)])
    assert plot._loss.getData()[0].tolist() == [1, 3]
    plot.clear()
    assert plot._loss.getData()[0] is None or len(plot._loss.getData()[0]) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5.2, "5 s"), (600, "10 min"), (3 * 3600, "3 h 0 min"), (float("nan"), ""), (float("inf"), "")],
)
def test_durations_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_tools_have_distinct_shortcuts() -> None:
    shortcuts = [info.shortcut for info in TOOLS.values()]
    assert len(set(shortcuts)) == len(shortcuts) == len(Tool)


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({}, ""),
        ({"mean_iou": float("nan")}, ""),
        ({"mean_iou": 0.5, "iou/a": 0.25, "iou/b": float("nan")}, "<b>Mean IoU 0.50</b> · a 0.25<br>Not measured"),
        ({"mpq": 0.4, "mean_iou": 0.9, "pq/a": 0.3, "iou/a": 0.8}, "<b>mPQ 0.40</b> · a 0.30"),
        ({"mpq": float("nan"), "mean_iou": 0.9}, "<b>Mean IoU 0.90</b>"),
        ({"detection_f1": 0.7, "f1/a": 0.6}, "<b>Detection F1 0.70</b> · a 0.60"),
        ({"accuracy": 0.9, "macro_f1": 0.8, "f1/a": 0.7}, "<b>Macro F1 0.80</b> · a 0.70"),
        ({"iou": 0.6, "dice": 0.7}, "<b>IoU of clicked objects 0.60</b>"),
    ],
)
def test_quality_is_told_by_what_the_network_is_for(metrics: dict[str, float], said: str) -> None:
    assert quality_line(metrics).startswith(said)
    assert bool(quality_line(metrics)) == bool(said)
    assert title_of(judged_by(metrics)) in quality_line(metrics) or not said
