"""Whether a model's probabilities can be believed: of all pixels that it is 80 % sure of, are 80 % right?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

_SLACK = 0.02  # by which probabilities may miss a sum of 1: they may have been stored as bytes


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Sums over labelled pixels, by how sure the prediction was; they add up over images.

    Parameters
    ----------
    counts, hits, confidences : float64, shape (B,)
        Pixels, rightly predicted pixels and the sum of confidences in each of B bins of equal width: bin b holds
        confidences in (b / B, (b + 1) / B], the first one also 0.
    squares : float
        Sum of the Brier scores of the pixels.
    """

    counts: Floats
    hits: Floats
    confidences: Floats
    squares: float

    @property
    def accuracy(self) -> Floats:
        """Reliability curve: share predicted rightly in each bin, NaN where it is empty."""
        return _share(self.hits, self.counts)

    @property
    def confidence(self) -> Floats:
        """Mean confidence in each bin, NaN where it is empty; what `accuracy` is drawn over."""
        return _share(self.confidences, self.counts)

    @property
    def ece(self) -> float:
        """Expected calibration error (Guo et al. 2017): mean gap of confidence and accuracy; NaN without pixels."""
        return float(_share(np.abs(self.hits - self.confidences).sum(), self.counts.sum()))

    @property
    def mce(self) -> float:
        """Largest gap of any bin; NaN without pixels."""
        gaps = np.abs(self.accuracy - self.confidence)[self.counts > 0]
        return float(gaps.max()) if gaps.size else float("nan")

    @property
    def brier(self) -> float:
        """Mean over pixels of the squared differences summed over classes, 0 … 2 (Brier 1950); NaN without pixels."""
        return float(_share(self.squares, self.counts.sum()))

    def __add__(self, other: Calibration) -> Calibration:
        if len(self.counts) != len(other.counts):
            raise ValueError(f"{len(self.counts)} and {len(other.counts)} bins do not add up")
        sums = (getattr(self, name) + getattr(other, name) for name in ("counts", "hits", "confidences", "squares"))
        return Calibration(*sums)


def calibration(truth: ArrayLike, probabilities: ArrayLike, *, bins: int = 15) -> Calibration:
    """Compare probabilities with the truth.

    Parameters
    ----------
    truth : integer, shape (…)
        1 … C; 0 is unlabelled and not counted.
    probabilities : float, shape (…, C)
        Of each class, summing to 1; the largest is the confidence, its class the prediction.
    bins : int
        Number of bins B.

    Raises
    ------
    ValueError
        If the shapes do not fit, a label lies outside 0 … C or the probabilities of a labelled pixel do not sum to 1.

    Examples
    --------
    >>> found = calibration([1, 2, 0], [[0.9, 0.1], [0.7, 0.3], [0.5, 0.5]])
    >>> round(found.ece, 3), round(found.brier, 3)
    (0.4, 0.5)
    """
    t, p = np.asarray(truth), np.asarray(probabilities)
    if p.ndim < 1 or t.shape != p.shape[:-1]:
        raise ValueError(f"probabilities of shape {p.shape} do not fit a truth of shape {t.shape}")
    classes = p.shape[-1]
    if t.size and (t.min() < 0 or t.max() > classes):
        raise ValueError(f"the truth holds {t.min()} … {t.max()}, outside 0 … {classes}")
    known = t > 0
    labels, shares = t[known].astype(np.int64) - 1, p[known].astype(np.float64)
    if not ((shares >= 0).all() and (np.abs(shares.sum(-1) - 1) <= _SLACK).all()):
        raise ValueError("the probabilities of a pixel must not be negative and must sum to 1")
    if not len(labels):
        return Calibration(np.zeros(bins), np.zeros(bins), np.zeros(bins), 0.0)
    confidence = shares.max(-1)
    right = shares.argmax(-1) == labels
    edges = np.linspace(0, 1, bins + 1)
    of_bin = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts, hits, confidences = (
        np.bincount(of_bin, weights=values, minlength=bins).astype(np.float64)
        for values in (np.ones(len(labels)), right, confidence)
    )
    # |p - e|² = |p|² - 2 p_true + 1 without building the unit vectors e.
    true_share = np.take_along_axis(shares, labels[:, None], axis=-1)
    squares = float(np.square(shares).sum() - 2 * true_share.sum() + len(labels))
    return Calibration(counts, hits, confidences, squares)


def _share(part: ArrayLike, whole: ArrayLike) -> Floats:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    result = np.full(np.broadcast(part, whole).shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result
