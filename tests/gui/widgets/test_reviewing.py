"""Accepting and rejecting predictions with the buttons, without the window waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.jobs.tissue import STROMA, TUMOUR

if TYPE_CHECKING:
    from tests.gui.widgets.conftest import Screen

pytestmark = pytest.mark.gui


def test_the_chosen_class_is_accepted_and_the_rest_rejected(screen: Screen) -> None:
    raster = screen.session.project.raster(screen.session.slide_id)
    with raster.edit(predicted=True) as edit:
        edit.write(0, 0, np.full((20, 20), TUMOUR, np.uint8))
        edit.write(0, 20, np.full((20, 20), STROMA, np.uint8))
    screen.train.editable_class.setCurrentIndex(screen.train.editable_class.findData(TUMOUR))
    screen.train.accept_button.click()
    screen.until(lambda: raster.unconfirmed.counts() == {STROMA: 400} and screen.train.reject_button.isEnabled())
    assert raster.confirmed.counts() == {TUMOUR: 400}
    screen.train.editable_class.setCurrentIndex(0)
    screen.train.reject_button.click()
    screen.until(lambda: raster.counts() == {TUMOUR: 400} and screen.train.reject_button.isEnabled())
    screen.train.reject_button.click()
    screen.until(lambda: "nothing to reject" in screen.header.message.text())
