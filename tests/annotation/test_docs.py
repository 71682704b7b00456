"""The examples in the docstrings say what happens."""

import doctest
import importlib
import pkgutil

import pytest

import napari_histoanno.annotation

MODULES = [f"napari_histoanno.annotation.{m.name}" for m in pkgutil.iter_modules(napari_histoanno.annotation.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
