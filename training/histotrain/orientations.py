"""Averaging what a network says over the eight orientations of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    UInt8 = NDArray[np.uint8]
    Floats = NDArray[np.float32]


def averaged(call: Callable[[UInt8], Floats], images: UInt8, vectors: Sequence[int] = ()) -> Floats:
    """Mean of a result over the eight flips and quarter turns.

    Parameters
    ----------
    call : callable
        Images to maps float32 (N, H, W, K).
    images : uint8, shape (N, H, W, 3) or (N, M, H, W, 3)
        Square.
    vectors : sequence of int
        First channel of each pair that is a vector (x, y): it turns with the image.

    Returns
    -------
    float32, shape (N, H, W, K)
    """
    total: Floats | None = None
    for turns in range(4):
        for flip in (False, True):
            turned = np.rot90(images[..., ::-1, :] if flip else images, turns, axes=(-3, -2))
            back = np.rot90(call(np.ascontiguousarray(turned)), -turns, axes=(1, 2))
            upright = _turned_back(back[:, :, ::-1] if flip else back, vectors, turns, flip=flip)
            total = upright if total is None else total + upright
    assert total is not None
    return np.asarray(total / 8, np.float32)


def _turned_back(maps: Floats, vectors: Sequence[int], turns: int, *, flip: bool) -> Floats:
    if not vectors:
        return maps
    maps = maps.copy()
    for channel in vectors:
        x, y = maps[..., channel].copy(), maps[..., channel + 1].copy()
        for _ in range(turns):  # a quarter turn to the left takes +x to -y and +y to +x
            x, y = -y, x
        maps[..., channel], maps[..., channel + 1] = -x if flip else x, y
    return maps
