"""Which magnifications a network looks at, as part of its name; without torch, for those who cut the patches.

``dmmn-m3`` sees the paper's 20x, 10x and 5x. Others are written behind a slash as sizes of a pixel relative to the
target's: ``dmmn-m3/1,2,8``. Behind a second slash stand the channels of the U-Net's first level, of which the paper has
64: ``dmmn-m3//16`` has a quarter of all channels, learns ten times as fast on a processor, and is none of the paper's.
"""

from __future__ import annotations

from itertools import pairwise

from histotrain.errors import TrainingError

PAPER = (1.0, 2.0, 4.0)
"""20x, 10x and 5x of Ho et al. (2021)."""

SINGLE = frozenset({"dmmn-segnet", "dmmn-unet"})

PAPER_WIDTH = 64


def magnifications_of(name: str) -> tuple[float, ...]:
    """Sizes of a pixel in each patch a network takes, relative to the target's, which is 1 and comes first.

    Parameters
    ----------
    name : str
        As for `histotrain.models.build_model`.

    Returns
    -------
    tuple of float
        (1.0,) for networks of a single magnification.

    Raises
    ------
    TrainingError
        If the name has magnifications that cannot be used.

    Examples
    --------
    >>> magnifications_of("dmmn-m3")
    (1.0, 2.0, 4.0)
    >>> magnifications_of("dmmn-s2/1,8")
    (1.0, 8.0)
    >>> magnifications_of("unet/resnet18")
    (1.0,)
    """
    kind, *parts = name.lower().split("/")
    text = parts[0] if parts else ""
    chosen = len(parts) == 1 or text
    if not kind.startswith("dmmn-") or (kind in SINGLE and not chosen):
        return (1.0,)
    if not chosen:
        return PAPER
    try:
        factors = tuple(float(part) for part in text.split(","))
    except ValueError:
        factors = ()
    rising = all(a < b for a, b in pairwise(factors))
    if not factors or factors[0] != 1 or not rising or factors[-1] > 64 or (kind in SINGLE and len(factors) > 1):
        raise TrainingError(
            f"the magnifications of {name!r} cannot be used",
            "they start at 1 and rise, up to 64" if kind not in SINGLE else "it sees one magnification only",
            "Write for example dmmn-m3/1,2,4.",
        )
    return factors


def width_of(name: str) -> int:
    """Channels of the first level of a ``dmmn-…`` network's U-Net, from its name.

    Raises
    ------
    TrainingError
        If the name has a width that cannot be used.

    Examples
    --------
    >>> width_of("dmmn-m3"), width_of("dmmn-m3//16"), width_of("dmmn-s2/1,4/8")
    (64, 16, 8)
    """
    text = "".join(name.split("/")[2:3])
    if not text:
        return PAPER_WIDTH
    if not text.isdecimal() or int(text) % 2 or not 2 <= int(text) <= PAPER_WIDTH:
        raise TrainingError(
            f"the width of {name!r} cannot be used",
            f"it must be even, 2 to {PAPER_WIDTH}",
            "Write for example dmmn-m3//16.",
        )
    return int(text)
