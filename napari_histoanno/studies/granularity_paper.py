"""Tables II and IV of Shi et al. (2019), as printed."""

from __future__ import annotations

from napari_histoanno.studies.grid import PaperNumber, Value

CITATION = (
    'J. Shi et al., "Effects of annotation granularity in deep learning models for histopathological images", 2019: '
    "tables II (classifiers) and IV (segmenters)."
)

_CLASSIFIERS = {
    ("vgg16", 32): ((85.49, 83.47, 0.8485), (88.59, 88.79, 0.8864), (92.04, 92.30, 0.9214)),
    ("vgg16", 64): ((92.08, 92.09, 0.9207), (93.38, 93.40, 0.9338), (94.77, 94.77, 0.9477)),
    ("vgg16", 128): ((79.79, 79.83, 0.7980), (85.09, 85.04, 0.8506), (87.66, 87.65, 0.8765)),
    ("resnet18", 32): ((87.68, 88.05, 0.8779), (89.88, 90.11, 0.8997), (93.55, 93.73, 0.9362)),
    ("resnet18", 64): ((88.03, 88.07, 0.8804), (89.21, 89.24, 0.8920), (92.03, 92.08, 0.9204)),
    ("resnet18", 128): ((74.95, 74.99, 0.7495), (78.22, 78.06, 0.7806), (79.55, 79.63, 0.7956)),
    ("mobilenet", 32): ((87.27, 87.65, 0.8741), (89.47, 89.83, 0.8962), (94.25, 94.40, 0.9432)),
    ("mobilenet", 64): ((83.85, 83.93, 0.8380), (86.96, 87.03, 0.8695), (91.06, 91.13, 0.9106)),
    ("mobilenet", 128): ((77.31, 77.36, 0.7728), (78.84, 78.88, 0.7885), (80.16, 80.20, 0.8016)),
}
"""Precision %, recall % and F1 of box, ellipse and pixel."""

_SEGMENTERS = {
    "unet": ((89.58, 0.86, 94.94, 75.30), (92.44, 0.89, 93.43, 74.54), (95.79, 0.94, 95.45, 75.96)),
    "fpn": ((88.84, 0.85, 93.09, 71.33), (91.58, 0.88, 91.03, 71.21), (95.32, 0.93, 94.33, 74.20)),
    "linknet": ((86.61, 0.80, 92.40, 63.59), (91.08, 0.87, 90.44, 67.74), (94.94, 0.93, 92.24, 69.94)),
}
"""Accuracy %, Dice, nuclei recall % and cancer recall % of box, ellipse and pixel."""

_ORDER = ("box", "ellipse", "pixel")


def paper_numbers() -> tuple[PaperNumber, ...]:
    """All of them, as shares of 1, for the quantities that are measured as the paper measures."""
    numbers = []
    for (network, size), rows in _CLASSIFIERS.items():
        for granularity, (precision, recall, f1) in zip(_ORDER, rows, strict=True):
            where: dict[str, Value] = {
                "task": "classify",
                "network": network,
                "window": size,
                "granularity": granularity,
            }
            for name, value in (("own_precision", precision / 100), ("own_recall", recall / 100), ("own_f1", f1)):
                numbers.append(PaperNumber(name, value, "table II", where))
    for network, rows4 in _SEGMENTERS.items():
        for granularity, (accuracy, dice, nuclei, cancer) in zip(_ORDER, rows4, strict=True):
            where = {"task": "segment", "network": network, "granularity": granularity}
            for name, value in (
                ("own_accuracy", accuracy / 100),
                ("own_dice", dice),
                ("own_nuclei_recall", nuclei / 100),
                ("own_cancer_recall", cancer / 100),
            ):
                numbers.append(PaperNumber(name, value, "table IV", where))
    return tuple(numbers)
