"""Single objects of a prediction become records of their own: outlines or points, unreviewed, in one action."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from histotrain.objects import PredictedObject
from napari_histoanno.annotation import Granularity, Review, Source
from napari_histoanno.jobs import PredictionStore
from napari_histoanno.session import Session, SessionError
from tests.jobs.tissue import STROMA, TUMOUR

DISC = ((np.arange(20) - 9.5) ** 2)[:, None] + (np.arange(20) - 9.5) ** 2 <= 100


def give_objects(session: Session, objects: list[PredictedObject]) -> str:
    """As if the model of the newest prediction had found them."""
    prediction = session.predictions()[-1].id
    store = session.open_prediction(prediction)
    store.objects.create()
    store.objects.add(objects, store.downsample)
    return prediction


def nuclei(count: int) -> list[PredictedObject]:
    """Discs in rows, of both classes, the later the surer."""
    made = []
    for number in range(count):
        left, top = 10 + 24 * (number % 20), 10 + 24 * (number // 20)
        class_id = TUMOUR if number % 2 else STROMA
        made.append(PredictedObject(left + 10, top + 10, class_id, (number + 0.5) / count, left, top, DISC))
    return made


def test_objects_become_outlines_of_their_own(after_prediction: Session) -> None:
    project = after_prediction.open_project_or_fail()
    before, entries = len(project.annotations.query()), len(project.history.entries())
    prediction = give_objects(after_prediction, nuclei(60))
    made = after_prediction.make_editable(prediction, as_="polygon", simplify=0)
    assert made is not None
    assert made.outlines == 60
    records = project.annotations.query(sources=[Source.PREDICTED])
    assert len(records) == 60
    assert {record.granularity for record in records} == {Granularity.PIXEL}
    assert {record.review for record in records} == {Review.UNREVIEWED}
    assert {record.properties["prediction"] for record in records} == {prediction}
    assert {record.annotator for record in records} == {project.runs.list()[-1].name}
    assert sorted(record.confidence for record in records) == pytest.approx((np.arange(60) + 0.5) / 60)
    assert {shapely.area(record.geometry.shape) for record in records} == {float(DISC.sum())}
    assert len(project.history.entries()) == entries + 1
    after_prediction.undo()
    assert len(project.annotations.query()) == before


def test_only_what_is_wanted_is_taken(after_prediction: Session) -> None:
    prediction = give_objects(after_prediction, nuclei(60))
    made = after_prediction.make_editable(
        prediction, as_="polygon", bounds=(0, 0, 250, 35), classes=[TUMOUR], min_confidence=0.05
    )
    assert made is not None
    assert made.outlines == 4
    with pytest.raises(SessionError, match="nothing to take over"):
        after_prediction.make_editable(prediction, as_="polygon", min_area=1000)


def test_simpler_outlines_are_nearly_the_same(after_prediction: Session) -> None:
    prediction = give_objects(after_prediction, nuclei(8))
    after_prediction.make_editable(prediction, as_="polygon")
    records = after_prediction.open_project_or_fail().annotations.query(sources=[Source.PREDICTED])
    for record in records:
        assert shapely.get_num_coordinates(record.geometry.shape) < 40
        assert shapely.area(record.geometry.shape) == pytest.approx(DISC.sum(), rel=0.1)


def test_points_stay_points(after_prediction: Session) -> None:
    prediction = give_objects(after_prediction, [PredictedObject(10.5 + i, 20.5, TUMOUR, 0.5) for i in range(5)])
    made = after_prediction.make_editable(prediction, as_="polygon")
    assert made is not None
    assert made.outlines == 5
    records = after_prediction.open_project_or_fail().annotations.query(sources=[Source.PREDICTED])
    assert {record.granularity for record in records} == {Granularity.POINT}
    assert sorted(record.bounds[0] for record in records) == [10.5, 11.5, 12.5, 13.5, 14.5]


def test_objects_are_accepted_and_rejected_like_other_outlines(after_prediction: Session) -> None:
    prediction = give_objects(after_prediction, nuclei(40))
    after_prediction.make_editable(prediction, as_="polygon")
    done = after_prediction.accept_predictions(classes=[TUMOUR])
    assert done is not None
    assert done.outlines == 20
    rest = after_prediction.reject_predictions()
    assert rest is not None
    assert rest.outlines == 20


def test_uncertainty_is_predicted_when_asked_for(after_prediction: Session) -> None:
    job = after_prediction.predict_slide(region=(0, 0, 100, 100), uncertainty="entropy", tissue_only=False)
    assert job is not None
    assert job.wait(60).phase == "completed"
    store = after_prediction.open_prediction(after_prediction.predictions()[-1].id)
    assert isinstance(store, PredictionStore)
    assert np.asarray(store.uncertainty[0][:100, :100]).any()
