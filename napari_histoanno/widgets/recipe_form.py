"""The recipe of the next training: chosen by name, with the values that a user may want to change."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QStandardItem, QStandardItemModel
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QLabel, QSpinBox, QVBoxLayout, QWidget

from histotrain import Recipe, list_recipes
from histotrain.models.catalogue import list_models
from histotrain.recipes import SamplingSettings, SupervisionSettings, recipe_groups
from napari_histoanno.widgets.fields import Editor, editor
from napari_histoanno.widgets.form import Fold, form, group
from napari_histoanno.widgets.needs import demand

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

_RECIPE = ("model", "encoder_weights", "stain", "loss", "class_weights", "balancing")
_SAMPLING = ("places", "stride", "window", "min_annotated", "patch_label", "whole_object")
_WEIGHTS = ("", "imagenet")


class RecipeForm(QWidget):
    """Name, size and length at once; network, loss, patches and terms behind “More”.

    Attributes
    ----------
    changed : Signal()
        Another recipe or value was chosen.
    """

    changed = Signal()

    def __init__(self, pace: Callable[[Recipe], float] | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pace = pace
        self._loading = False
        self._editors: dict[str, Editor] = {}
        self._loaded: dict[str, Any] = {}
        self.recipe = _recipe_box()
        self.demand = QLabel()
        self.demand.setWordWrap(True)
        self._make_first_rows()
        self.more = Fold(
            "More…", self._make_details(), "Network, loss, patches, and how much each kind of annotation counts"
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(
            form(
                ("Recipe", self.recipe),
                ("Resolution", self.mpp),
                ("Steps", self.steps),
                ("Patch", self.patch),
                ("Batch", self.batch),
            )
        )
        layout.addWidget(self.demand)
        layout.addWidget(self.more)
        self.recipe.currentTextChanged.connect(self._load)
        self._load(self.recipe.currentText())

    def _make_first_rows(self) -> None:
        self.mpp, self.steps, self.patch, self.batch = QDoubleSpinBox(), QSpinBox(), QSpinBox(), QSpinBox()
        self.mpp.setRange(0.1, 20)
        self.mpp.setDecimals(3)
        self.mpp.setSingleStep(0.25)
        self.mpp.setSuffix(" µm/px")
        self.mpp.setToolTip("Resolution the model sees: 0.25 or 0.5 for nuclei, 1 to 4 for tissue regions")
        self.steps.setRange(1, 1_000_000)
        self.steps.setToolTip("Training steps at most; stop whenever the preview is good enough")
        self.patch.setRange(32, 2048)
        self.patch.setSingleStep(32)
        self.patch.setToolTip("Side of a training patch in pixels")
        self.batch.setRange(1, 256)
        self.batch.setToolTip("Patches in one step")
        for name, box in (
            ("mpp", self.mpp),
            ("steps", self.steps),
            ("patch_size", self.patch),
            ("batch_size", self.batch),
        ):
            self._take(name, Editor(box, box.value, box.setValue, box.valueChanged))

    def _make_details(self) -> QWidget:
        choices = {"model": tuple(list_models()), "encoder_weights": _WEIGHTS[1:]}
        network = [self._row(Recipe, name, choices=choices.get(name, ())) for name in _RECIPE]
        patches = [self._row(SamplingSettings, name, "sampling.") for name in _SAMPLING]
        self.terms = QCheckBox("A loss term for each kind of annotation")
        self.terms.setToolTip("Each kind counts as much as is said here, however many pixels it has")
        weights = [self._row(SupervisionSettings, name, "supervision.") for name in SupervisionSettings.model_fields]
        for _, widget in weights:
            self.terms.toggled.connect(widget.setEnabled)
            widget.setEnabled(False)
        self.terms.toggled.connect(self._on_edit)
        details = QWidget()
        layout = QVBoxLayout(details)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(group("Network and loss", form(*network)))
        layout.addWidget(group("Patches", form(*patches)))
        layout.addWidget(group("Kinds of annotation", self.terms, form(*weights)))
        return details

    def _row(
        self, model: type[BaseModel], name: str, part: str = "", choices: tuple[str, ...] = ()
    ) -> tuple[str, QWidget]:
        made = editor(model, name, choices)
        self._take(part + name, made)
        return name.replace("_", " ").capitalize(), made.widget

    def _take(self, path: str, made: Editor) -> None:
        self._editors[path] = made
        made.changed.connect(self._on_edit)

    def _on_edit(self, *_: object) -> None:
        if not self._loading:
            self._tell()

    def _load(self, name: str) -> None:
        """Show a recipe's own values."""
        recipe = Recipe.named(name)
        self._loading = True
        self.recipe.setToolTip(list_recipes()[name])
        self.terms.setChecked(recipe.supervision is not None)
        for path, made in self._editors.items():
            made.set(_value_of(recipe, path))
            self._loaded[path] = made.get()
        self._loading = False
        self._tell()

    def _tell(self) -> None:
        recipe = self.value()
        self.demand.setText(demand(recipe, self._pace(recipe) if self._pace is not None else math.nan))
        self.changed.emit()

    def value(self) -> Recipe:
        """The recipe as it is now; what was not touched is exactly the named recipe's."""
        recipe = Recipe.named(self.recipe.currentText())
        values = {path: made.get() for path, made in self._editors.items()}
        changes = {path: value for path, value in values.items() if value != self._loaded[path]}
        if not self.terms.isChecked():
            changes = {path: value for path, value in changes.items() if not path.startswith("supervision.")}
            return recipe.with_changes(**changes, supervision=None)
        return recipe.with_changes(supervision=recipe.supervision or SupervisionSettings()).with_changes(**changes)


def _value_of(recipe: Recipe, path: str) -> Any:
    part, dot, name = path.partition(".")
    if not dot:
        return getattr(recipe, part)
    inner = getattr(recipe, part)
    return getattr(SupervisionSettings() if inner is None else inner, name)


def _recipe_box() -> QComboBox:
    """All recipes below their headings, which cannot be chosen."""
    box, lines = QComboBox(), list_recipes()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    model = QStandardItemModel(box)
    for title, names in recipe_groups().items():
        heading = QStandardItem(title)
        heading.setFlags(Qt.ItemFlag.NoItemFlags)
        font = heading.font()
        font.setBold(True)
        heading.setFont(font)
        model.appendRow(heading)
        for name in names:
            entry = QStandardItem(name)
            entry.setToolTip(lines[name])
            model.appendRow(entry)
    box.setModel(model)
    box.setMaxVisibleItems(model.rowCount())
    box.setCurrentText(next(iter(lines)))
    return box
