"""Compiled loops over runs: label maps as horizontal runs of one value, and what follows from them.

A label map of cells has a thousand times fewer runs than pixels, so one pass over the pixels finds the runs and
everything else (components, outlines, moments) works on those. As in :mod:`.kernels`, each loop has a plain numpy twin
in the tests.

Outlines follow the cracks between pixels with the component on the right. Where two pixels of one component touch only
at a corner, the walk turns left, around the pocket between them: the component, 4-connected, closes a loop around
exactly one of the two pockets, so this is what keeps shells and holes apart and every polygon valid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

Ints: TypeAlias = "NDArray[np.int64]"
Floats: TypeAlias = "NDArray[np.float64]"

UP, DOWN = 0, 1


@njit(cache=True, nogil=True)
def _run_end(line: NDArray[Any], x: int) -> int:
    """Column after the run that starts at x; on its own because LLVM then keeps the loop tight (30 times faster)."""
    value, width = line[x], len(line)
    x += 1
    while x < width and line[x] == value:
        x += 1
    return x


@njit(cache=True, nogil=True)
def find_runs(labels: NDArray[Any]) -> tuple[Ints, Ints, Ints]:
    """Maximal horizontal runs of equal non-zero labels, in scan order.

    Parameters
    ----------
    labels : ndarray of int, shape (height, width)
        Class map or instance map.

    Returns
    -------
    runs : ndarray, int64, shape (N, 3)
        Row, first column, column after the last.
    values : ndarray, int64, shape (N,)
    rows : ndarray, int64, shape (height + 1,)
        The runs of row y are ``rows[y] ... rows[y + 1] - 1``.
    """
    height, width = labels.shape
    runs = np.empty((1024, 3), np.int64)
    values = np.empty(1024, np.int64)
    rows = np.zeros(height + 1, np.int64)
    count = 0
    for y in range(height):
        line = labels[y]
        x = 0
        while x < width:
            start = x
            x = _run_end(line, start)
            if line[start] == 0:
                continue
            if count == len(runs):
                runs = np.concatenate((runs, np.empty_like(runs)))
                values = np.concatenate((values, np.empty_like(values)))
            runs[count, 0], runs[count, 1], runs[count, 2] = y, start, x
            values[count] = line[start]
            count += 1
        rows[y + 1] = count
    return runs[:count].copy(), values[:count].copy(), rows


@njit(cache=True, nogil=True)
def _root(parent: Ints, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def find_components(runs: Ints, values: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """4-connected component of each run (int64, numbered by first run) and the pixel count of each component."""
    count = len(runs)
    parent = np.arange(count)
    for y in range(1, len(rows) - 1):
        above = rows[y - 1]
        for i in range(rows[y], rows[y + 1]):
            while above < rows[y] and runs[above, 2] <= runs[i, 1]:
                above += 1
            j = above
            while j < rows[y] and runs[j, 1] < runs[i, 2]:
                if values[j] == values[i]:
                    a, b = _root(parent, i), _root(parent, j)
                    parent[max(a, b)] = min(a, b)
                j += 1
    component = np.empty(count, np.int64)
    areas = np.zeros(count, np.int64)
    found = 0
    for i in range(count):
        root = _root(parent, i)
        if root == i:
            component[i] = found
            found += 1
        else:
            component[i] = component[root]
        areas[component[i]] += runs[i, 2] - runs[i, 1]
    return component, areas[:found].copy()


@njit(cache=True, nogil=True)
def _first_ending_from(runs: Ints, low: int, high: int, x: int) -> int:
    """First of the runs low ... high - 1 of one row whose end is >= x."""
    while low < high:
        middle = (low + high) // 2
        if runs[middle, 2] < x:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _last_starting_to(runs: Ints, low: int, high: int, x: int) -> int:
    """Last of the runs low ... high - 1 of one row whose start is <= x; low - 1 if there is none."""
    first = low
    while low < high:
        middle = (low + high) // 2
        if runs[middle, 1] <= x:
            low = middle + 1
        else:
            high = middle
    return max(first - 1, low - 1)


@njit(cache=True, nogil=True)
def _step_down(runs: Ints, rows: Ints, component: Ints, r: int) -> tuple[int, int, int]:
    """From the foot of the right edge of run r: next direction, next run and the column where it starts.

    A start column of -1 means straight on: no corner.
    """
    y, start, x = runs[r]
    own = component[r]
    if y + 2 < len(rows):
        low, high = rows[y + 1], rows[y + 2]
    else:
        low, high = rows[-1], rows[-1]
    below = _first_ending_from(runs, low, high, x)
    ahead = below if below < high and runs[below, 1] < x and component[below] == own else -1
    left = -1
    if below < high and runs[below, 1] <= x < runs[below, 2] and component[below] == own:
        left = below
    elif below + 1 < high and runs[below, 2] == x and runs[below + 1, 1] == x and component[below + 1] == own:
        left = below + 1
    if left >= 0:
        j = r + 1
        while j < rows[y + 1] and runs[j, 1] <= runs[left, 2]:
            if component[j] == own:
                return UP, j, runs[j, 1]
            j += 1
        return DOWN, left, runs[left, 2]
    if ahead >= 0:
        return DOWN, ahead, -1
    j = below - 1
    while j >= low and runs[j, 2] >= start:
        if component[j] == own:
            return DOWN, j, runs[j, 2]
        j -= 1
    return UP, r, start


@njit(cache=True, nogil=True)
def _step_up(runs: Ints, rows: Ints, component: Ints, r: int) -> tuple[int, int, int]:
    """From the head of the left edge of run r: the half turn of :func:`_step_down`."""
    y, x, stop = runs[r]
    own = component[r]
    low, high = (rows[y - 1], rows[y]) if y > 0 else (0, 0)
    above = _last_starting_to(runs, low, high, x)
    ahead = above if above >= low and runs[above, 2] > x and component[above] == own else -1
    left = -1
    if above >= low and runs[above, 1] < x <= runs[above, 2] and component[above] == own:
        left = above
    elif above - 1 >= low and runs[above, 1] == x and runs[above - 1, 2] == x and component[above - 1] == own:
        left = above - 1
    if left >= 0:
        j = r - 1
        while j >= rows[y] and runs[j, 2] >= runs[left, 1]:
            if component[j] == own:
                return DOWN, j, runs[j, 2]
            j -= 1
        return UP, left, runs[left, 1]
    if ahead >= 0:
        return UP, ahead, -1
    j = above + 1
    while j < high and runs[j, 1] <= stop:
        if component[j] == own:
            return UP, j, runs[j, 1]
        j += 1
    return DOWN, r, stop


@njit(cache=True, nogil=True)
def trace_outlines(runs: Ints, rows: Ints, component: Ints) -> tuple[Ints, Ints, Ints]:
    """Closed rings around every component, corners only.

    Returns
    -------
    xy : ndarray, int64, shape (V, 2)
        Corners on the pixel lattice; each ring ends with its first corner.
    stops : ndarray, int64, shape (R,)
        End of each ring in ``xy``.
    owner : ndarray, int64, shape (R,)
        Component of each ring; the first ring of a component is its shell, the others are its holes.
    """
    count = len(runs)
    seen = np.zeros(count, np.bool_)
    xy = np.empty((max(4 * count, 8), 2), np.int64)
    stops, owner = np.empty(count, np.int64), np.empty(count, np.int64)
    used = rings = 0
    for first in range(count):
        if seen[first]:
            continue
        begin = used
        direction, run = UP, first
        while True:
            if direction == UP:
                seen[run] = True
                corner_x, corner_y = runs[run, 1], runs[run, 0]
                direction, run, x = _step_up(runs, rows, component, run)
            else:
                corner_x, corner_y = runs[run, 2], runs[run, 0] + 1
                direction, run, x = _step_down(runs, rows, component, run)
            if x >= 0:
                if used + 3 > len(xy):
                    xy = np.concatenate((xy, np.empty_like(xy)))
                xy[used, 0], xy[used, 1] = corner_x, corner_y
                xy[used + 1, 0], xy[used + 1, 1] = x, corner_y
                used += 2
            if direction == UP and run == first:
                break
        xy[used] = xy[begin]
        used += 1
        stops[rings], owner[rings] = used, component[first]
        rings += 1
    return xy[:used].copy(), stops[:rings].copy(), owner[:rings].copy()


@njit(cache=True, nogil=True)
def measure(runs: Ints, index: Ints, count: int) -> tuple[Ints, Floats]:
    """Boxes and moments of ``count`` instances; run i belongs to instance ``index[i]``.

    Returns
    -------
    boxes : ndarray, int64, shape (count, 4)
        x0, y0, x1, y1.
    moments : ndarray, float64, shape (count, 6)
        Area, centre x, centre y and the central second moments xx, yy, xy per area, of the pixels as unit squares.
    """
    boxes = np.empty((count, 4), np.int64)
    sums = np.zeros((count, 6))
    for i in range(len(runs)):
        y, start, stop = runs[i]
        k = index[i]
        if sums[k, 0] == 0:
            boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3] = start, y, stop, y + 1
            sums[k, 1], sums[k, 2] = start, y
        boxes[k, 0], boxes[k, 2], boxes[k, 3] = min(boxes[k, 0], start), max(boxes[k, 2], stop), y + 1
        sums[k, 0] += stop - start
    # Moments about a corner of the instance's own box: nothing cancels, however far the instance is from the origin.
    moments = np.zeros((count, 6))
    moments[:, 0] = sums[:, 0]
    for i in range(len(runs)):
        y, start, stop = runs[i]
        k = index[i]
        length, a, b, v = stop - start, start - boxes[k, 0], stop - boxes[k, 0], y - boxes[k, 1] + 0.5
        linear = 0.5 * (b * b - a * a)
        moments[k, 1] += linear
        moments[k, 2] += length * v
        moments[k, 3] += (b * b * b - a * a * a) / 3.0
        moments[k, 4] += length * (v * v + 1.0 / 12.0)
        moments[k, 5] += linear * v
    for k in range(count):
        area = moments[k, 0]
        u, v = moments[k, 1] / area, moments[k, 2] / area
        moments[k, 3] = moments[k, 3] / area - u * u
        moments[k, 4] = moments[k, 4] / area - v * v
        moments[k, 5] = moments[k, 5] / area - u * v
        moments[k, 1], moments[k, 2] = u + boxes[k, 0], v + boxes[k, 1]
    return boxes, moments


@njit(cache=True, nogil=True)
def _deepest(inside: Ints, cx: float, cy: float) -> tuple[int, int]:
    """Pixel of a padded mask farthest from its outside (3-4 chamfer distance), the one nearest (cx, cy) among equals.

    ``inside`` is int64, 0 outside and large inside, framed by zeros; it becomes the distance map.
    """
    height, width = inside.shape
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            if inside[y, x]:
                near = min(inside[y, x - 1] + 3, inside[y - 1, x] + 3)
                inside[y, x] = min(near, inside[y - 1, x - 1] + 4, inside[y - 1, x + 1] + 4)
    best_x, best_y, best, best_off = -1, -1, -1, 0.0
    for y in range(height - 2, 0, -1):
        for x in range(width - 2, 0, -1):
            if inside[y, x]:
                near = min(inside[y, x + 1] + 3, inside[y + 1, x] + 3, inside[y, x])
                depth = min(near, inside[y + 1, x + 1] + 4, inside[y + 1, x - 1] + 4)
                inside[y, x] = depth
                off = (x - cx) ** 2 + (y - cy) ** 2
                if depth > best or (depth == best and off < best_off):
                    best_x, best_y, best, best_off = x, y, depth, off
    return best_x, best_y


@njit(cache=True, nogil=True)
def deepest_pixels(runs: Ints, order: Ints, offsets: Ints, boxes: Ints, moments: Floats) -> Ints:
    """Column and row (int64, shape (N, 2)) of the innermost pixel of each instance.

    The runs of instance k are ``order[offsets[k] : offsets[k + 1]]``.
    """
    count = len(boxes)
    pixels = np.empty((count, 2), np.int64)
    for k in range(count):
        x0, y0 = boxes[k, 0] - 1, boxes[k, 1] - 1
        inside = np.zeros((boxes[k, 3] - y0 + 1, boxes[k, 2] - x0 + 1), np.int64)
        for i in range(offsets[k], offsets[k + 1]):
            y, start, stop = runs[order[i]]
            inside[y - y0, start - x0 : stop - x0] = 1 << 40
        x, y = _deepest(inside, moments[k, 1] - 0.5 - x0, moments[k, 2] - 0.5 - y0)
        pixels[k, 0], pixels[k, 1] = x + x0, y + y0
    return pixels
