"""A set is drawn from evenly by whatever is said of its patches."""

import numpy as np
import pytest

from histotrain import PatchSet, TrainingError
from histotrain.data import SampleSource, draw_samples

SIZE = 4


def images(count: int) -> np.ndarray:
    """Patches that show their own number."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, SIZE, SIZE, 3)).copy()


def drawn(patches: PatchSet, size: int = 120, **options: object) -> np.ndarray:
    samples = patches.source(**options).samples(size, np.random.default_rng(0))  # type: ignore[arg-type]
    return np.bincount(samples.images[:, 0, 0, 0], minlength=len(patches))


def test_samples_are_the_batch_with_all_that_is_known() -> None:
    labels = np.repeat(np.arange(1, 4, dtype=np.uint8), SIZE * SIZE).reshape(3, SIZE, SIZE)
    instances = labels.astype(np.int32) * 100
    source = PatchSet(images(3), labels, instances=instances, classes=tuple("abc")).source()
    assert isinstance(source, SampleSource)
    samples = draw_samples(source, 8, np.random.default_rng(1))
    pictures, masks = source.batch(8, np.random.default_rng(1))
    np.testing.assert_array_equal(samples.images, pictures)
    assert samples.labels is not None
    assert samples.instances is not None
    np.testing.assert_array_equal(samples.labels, masks)
    np.testing.assert_array_equal(samples.instances, masks.astype(int) * 100)


def test_a_source_of_images_and_labels_alone() -> None:
    class Plain:
        def batch(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            return images(size), np.ones((size, SIZE, SIZE), np.uint8)

    samples = draw_samples(Plain(), 3, np.random.default_rng(0))
    assert len(samples) == 3
    assert samples.patch_classes is None


def test_balanced_over_patch_classes_without_pixel_labels() -> None:
    classes = np.array([2] + [7] * 8 + [0], np.uint8)
    patches = PatchSet(images(10), patch_classes=classes, classes=("a", "b"), class_ids=(7, 2))
    counts = drawn(patches)
    assert counts[0] == 60
    assert counts[9] == 0
    assert patches.source().class_counts().tolist() == [8, 1]
    assert not patches.source().batch(2, np.random.default_rng(0))[1].any()


def test_balanced_over_the_classes_of_objects_and_patches_without_any() -> None:
    instances = np.zeros((4, SIZE, SIZE), np.int32)
    instances[:3, :2] = 5
    labels = np.where(instances, np.array([1, 1, 2, 0])[:, None, None], 0).astype(np.uint8)
    valid = np.ones(instances.shape, bool)
    patches = PatchSet(images(4), labels, instances=instances, valid=valid, classes=("a", "b"))
    assert drawn(patches, uses=("instances",)).tolist()[2:] == [40, 40]
    assert drawn(patches, uses=("labels",)).tolist()[2:] == [60, 0]
    labels[2] = np.where(instances[2], 0, 2)  # a class of what lies around the object only
    assert drawn(PatchSet(images(4), labels, instances=instances, classes=("a", "b")), uses=("instances",))[3] == 0


def test_pixels_and_patches_share_their_classes() -> None:
    labels = np.zeros((3, SIZE, SIZE), np.uint8)
    labels[0, 0, 0] = 1
    classes = np.array([0, 2, 0], np.uint8)
    patches = PatchSet(images(3), labels, patch_classes=classes, classes=("a", "b"))
    assert drawn(patches, uses=("labels", "patch_classes")).tolist() == [60, 60, 0]
    assert drawn(patches).tolist() == [120, 0, 0]


def test_counts_are_of_pixels_in_the_order_of_the_ids() -> None:
    labels = np.zeros((2, SIZE, SIZE), np.uint8)
    labels[0, 0, :3], labels[1, 1, 1] = 9, 4
    patches = PatchSet(images(2), labels, classes=("a", "b", "c"), class_ids=(4, 9, 1))
    assert patches.source().class_counts().tolist() == [1, 3, 0]
    shares = np.zeros((2, SIZE, SIZE, 2), np.float32)
    shares[0, :, :, 0], shares[1, :, :, 1] = 0.75, 0.5
    soft = PatchSet(images(2), shares=shares, classes=("a", "b"))
    assert soft.source().class_counts().tolist() == [12, 8]


@pytest.mark.parametrize(
    ("uses", "why"),
    [((), "no pixel"), (("patch_classes",), "no patch has a class"), (("instances",), "no patch has objects")],
)
def test_nothing_to_learn_from(uses: tuple[str, ...], why: str) -> None:
    with pytest.raises(TrainingError, match=why):
        PatchSet(images(2), classes=("a",)).source(uses=uses)
