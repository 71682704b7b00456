"""Editors for the values of a pydantic model, made from its own types, limits and descriptions."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QSpinBox, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

NOTHING = "–"
_LARGEST = 1_000_000
_DECIMALS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Editor:
    """A widget for one value; ``changed`` is its Qt signal."""

    widget: QWidget
    get: Callable[[], Any]
    set: Callable[[Any], object]
    changed: Any


def editor(model: type[BaseModel], name: str, choices: Sequence[str] = ()) -> Editor:
    """Editor of a field, explained by the field's description.

    Parameters
    ----------
    model : type of BaseModel
        Whose field it is.
    name : str
        Of the field: a bool, int, float, str or Literal, or one of them or None.
    choices : sequence of str
        What a text can be; ``-`` stands for None where that is possible.

    Raises
    ------
    TypeError
        If there is no editor for the field's type.
    """
    info = model.model_fields[name]
    kind, optional = _kind(info.annotation)
    made = _made(kind, info, optional=optional, choices=choices)
    made.widget.setToolTip(info.description or "")
    return made


def _kind(annotation: Any) -> tuple[Any, bool]:
    """The type of a value, and whether it can be None."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    kinds = [kind for kind in get_args(annotation) if kind is not types.NoneType]
    return kinds[0], len(kinds) < len(get_args(annotation))


def _made(kind: Any, info: FieldInfo, *, optional: bool, choices: Sequence[str]) -> Editor:
    if kind is bool:
        return _switch()
    if get_origin(kind) is Literal:
        return _choice([str(value) for value in get_args(kind)], optional=optional)
    if kind is str and choices:
        return _choice(list(choices), optional=optional)
    if kind in (int, float):
        return _number(kind, info, optional=optional)
    raise TypeError(f"there is no editor for {kind}")


def _switch() -> Editor:
    box = QCheckBox()
    return Editor(box, box.isChecked, box.setChecked, box.toggled)


def _choice(choices: list[str], *, optional: bool) -> Editor:
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    for text in ([NOTHING] if optional else []) + choices:
        box.addItem(text, None if text == NOTHING else text)

    def put(value: str | None) -> None:
        if box.findData(value) < 0:  # a file of weights, a network that is not listed
            box.addItem(str(value), value)
        box.setCurrentIndex(box.findData(value))

    return Editor(box, box.currentData, put, box.currentIndexChanged)


def _number(kind: type, info: FieldInfo, *, optional: bool) -> Editor:
    box = QSpinBox() if kind is int else QDoubleSpinBox()
    step = 1 if kind is int else 10**-_DECIMALS
    if isinstance(box, QDoubleSpinBox):
        box.setDecimals(_DECIMALS)
        box.setSingleStep(0.05)
    low, high = _limits(info, step)
    if optional:  # one step below the smallest value means None
        low -= step
        box.setSpecialValueText(NOTHING)
    box.setRange(kind(low), kind(high))

    def get() -> float | None:
        return None if optional and box.value() == box.minimum() else box.value()

    def put(value: float | None) -> None:
        box.setValue(box.minimum() if value is None else kind(value))

    return Editor(box, get, put, box.valueChanged)


def _limits(info: FieldInfo, step: float) -> tuple[float, float]:
    low, high = 0.0, float(_LARGEST)
    for limit in info.metadata:
        if isinstance(limit, Ge):
            low = float(limit.ge)  # type: ignore[arg-type]
        elif isinstance(limit, Gt):
            low = float(limit.gt) + step  # type: ignore[arg-type]
        elif isinstance(limit, Le):
            high = float(limit.le)  # type: ignore[arg-type]
        elif isinstance(limit, Lt):
            high = float(limit.lt) - step  # type: ignore[arg-type]
    return low, high
