"""How sure a score is: the percentile bootstrap over images (Efron 1979)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Counts = NDArray[np.int64]

DRAWS = 1000


def bootstrap_interval(
    matrices: Counts, score: Callable[[Counts], float], *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """Confidence interval of a score of pooled confusion matrices.

    Images are drawn with replacement, as many as there are, their matrices added up and scored. Images of one slide
    resemble each other, so with few slides the interval is too narrow.

    Parameters
    ----------
    matrices : int64, shape (N, C + 1, C + 1)
        One confusion matrix for each image, see `histotrain.metrics.confusion`.
    score : callable
        From a matrix (C + 1, C + 1) to a number; where it is NaN, the draw is left out.
    level : float
        Share of draws that lie in the interval.
    draws : int
        How many.
    seed : int
        Of the draws.

    Returns
    -------
    tuple of float
        Lower and upper end; NaN with fewer than two images.

    Examples
    --------
    >>> from histotrain.metrics import accuracy
    >>> right = np.array([[[0, 0], [0, 5]]] * 4)
    >>> bootstrap_interval(right, accuracy)
    (1.0, 1.0)
    """
    number = len(matrices)
    if number < 2:
        return float("nan"), float("nan")
    times = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=draws)
    sums = (times @ matrices.reshape(number, -1)).reshape(draws, *matrices.shape[1:])
    scores = np.array([score(matrix) for matrix in sums])
    known = scores[~np.isnan(scores)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
