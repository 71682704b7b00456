"""The main job from end to end: with a display it opens the dock, without one it runs the whole loop by itself."""

from napari_histoanno.widgets.demo.run import run_demo

__all__ = ["run_demo"]
