"""Training targets: rectangles on the head maps' grid -> heat map, vectors, offsets and masks."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from structures import boxes

GAUSSIAN_OVERLAP = 0.7
"""A centre within the Gaussian's radius still gives a box of this overlap with the true one."""

AXIS_ALIGNED_SHARE = 0.95
"""Boxes that fill less of the axis-aligned rectangle around them count as turned."""


def encode(
    rectangles: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    size_hw: tuple[int, int],
    max_objs: int = 500,
    left_out: np.ndarray | None = None,
    left_out_labels: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Targets of one image.

    Args:
        rectangles: [N, 5] centre x and y, width, height and degrees on the grid (input pixels /
            stride). The convention of the angle does not matter.
        labels: [N] class indices.
        num_classes: C.
        size_hw: H and W of the grid.
        max_objs: K; the objects beyond it are left out.
        left_out: [M, 4, 2] rectangles of objects that are left out for other reasons.
        left_out_labels: [M] their class indices.

    Returns:
        hm [C, H, W] float32: a Gaussian at each centre, the greater where two meet;
        hm_weight [C, H, W] float32: 0 where an object that is left out lies, in its class;
        wh [K, 10] float32 (channels: `boxes.WH`), reg [K, 2] float32 (centre minus its cell),
        cls_theta [K, 1] float32 (1: turned), ind [K] int64 (y * W + x of the centre's cell),
        reg_mask [K] uint8 (1: an object); all 0 behind the last object.
    """
    height, width = size_hw
    rectangles = np.asarray(rectangles, np.float32).reshape(-1, 5)
    labels = np.asarray(labels).reshape(-1).astype(np.int64)
    count = min(len(rectangles), max_objs)
    corners = boxes.rectangles_to_corners(rectangles)
    centers = rectangles[:count, :2]
    # Truncated; a centre on the far border belongs to the last cell.
    cells = np.clip(centers.astype(np.int64), 0, (width - 1, height - 1))
    _, vectors, sizes = boxes.corners_to_vectors(corners[:count])

    targets = {
        "hm": np.zeros((num_classes, height, width), np.float32),
        "reg_mask": np.zeros(max_objs, np.uint8),
        "ind": np.zeros(max_objs, np.int64),
        "wh": np.zeros((max_objs, 10), np.float32),
        "reg": np.zeros((max_objs, 2), np.float32),
        "cls_theta": np.zeros((max_objs, 1), np.float32),
        "hm_weight": np.ones((num_classes, height, width), np.float32),
    }
    targets["reg_mask"][:count] = 1
    targets["ind"][:count] = cells[:, 1] * width + cells[:, 0]
    targets["wh"][:count] = np.concatenate([vectors, sizes], axis=1)
    targets["reg"][:count] = centers - cells
    targets["cls_theta"][:count, 0] = is_turned(corners[:count])
    radii = gaussian_radius(np.ceil(rectangles[:count, 2:4]))
    stamp_gaussians(targets["hm"], labels[:count], cells, radii)

    blanks, blank_labels = corners[count:], labels[count:]
    if left_out is not None and len(left_out):
        blanks = np.concatenate([blanks, left_out])
        blank_labels = np.concatenate([blank_labels, left_out_labels])
    if len(blanks):
        blank_out(targets["hm_weight"], blanks, blank_labels)
        restore_centers(targets["hm_weight"], labels[:count], cells)
    return targets


def gaussian_radius(side_wh: np.ndarray, overlap: float = GAUSSIAN_OVERLAP) -> np.ndarray:
    """Radius [N] int64 in cells of the Gaussians for boxes of sides [N, 2].

    The smallest of three radii by which both corners of a box may move and keep the overlap: one
    inwards and one outwards, both inwards, both outwards (CornerNet, section 3.3). CenterNet's
    form is kept, which halves the sum of -b and the root whatever the leading coefficient; the
    published weights have learned heat maps of that size.
    """
    total, product = np.asarray(side_wh).sum(axis=-1), np.prod(side_wh, axis=-1)

    def root(a: float, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        return (b + np.sqrt(b * b - 4 * a * c)) / 2

    one_each = root(1, total, product * (1 - overlap) / (1 + overlap))
    inwards = root(4, 2 * total, (1 - overlap) * product)
    outwards = root(4 * overlap, -2 * overlap * total, (overlap - 1) * product)
    return np.minimum(np.minimum(one_each, inwards), outwards).clip(0).astype(np.int64)


# Small Gaussians are raised together, large ones one by one: a cell costs more than in a slice,
# but a call of NumPy costs as much as hundreds of cells.
_STAMP_TOGETHER = 8


@lru_cache(maxsize=512)
def _gaussian(radius: int) -> np.ndarray:
    """Gaussian [2 r + 1, 2 r + 1] float32 of height 1, sigma a sixth of its diameter."""
    sigma = (2 * radius + 1) / 6
    axis = np.arange(-radius, radius + 1)
    bell = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * sigma * sigma))
    bell[bell < np.finfo(bell.dtype).eps * bell.max()] = 0
    bell = bell.astype(np.float32)
    bell.setflags(write=False)
    return bell


def stamp_gaussians(
    heatmap: np.ndarray, labels: np.ndarray, cells: np.ndarray, radii: np.ndarray
) -> None:
    """Raise `heatmap` [C, H, W] in place to a Gaussian around each cell [N, 2] (x, y)."""
    height, width = heatmap.shape[1:]
    flat = heatmap.reshape(-1)
    for radius in np.unique(radii).tolist():
        chosen = radii == radius
        bell = _gaussian(radius)
        if radius > _STAMP_TOGETHER:
            for label, (x, y) in zip(labels[chosen].tolist(), cells[chosen].tolist(), strict=True):
                left, top = max(x - radius, 0), max(y - radius, 0)
                area = heatmap[label, top : y + radius + 1, left : x + radius + 1]
                row, column = top - y + radius, left - x + radius
                part = bell[row : row + area.shape[0], column : column + area.shape[1]]
                np.maximum(area, part, out=area)
            continue
        offsets = np.arange(-radius, radius + 1)
        x = cells[chosen, 0, None, None] + offsets
        y = cells[chosen, 1, None, None] + offsets[:, None]
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        index = (labels[chosen, None, None] * height + y) * width + x
        np.maximum.at(flat, index[inside], np.broadcast_to(bell, index.shape)[inside])


def is_turned(corners: np.ndarray) -> np.ndarray:
    """Whether rectangles [N, 4, 2] fill less than 95 % of the cells of the rectangle around.

    As the published weights learned it: the corners minus their minimum are truncated to whole
    cells, and the outline is filled, its border cells included.
    """
    corners = np.asarray(corners)
    relative = corners - corners.min(axis=1, keepdims=True)
    cells = np.maximum(np.ceil(relative.max(axis=1)), 1).prod(axis=1)
    outlines = relative.astype(np.int32)
    # Most turned boxes show it without counting. A filled cell's unit square lies in the outline
    # grown by 1 on every side, whose area is the outline's + 2 (width + height) + 4.
    (ax, ay), (bx, by) = (outlines[:, 2] - outlines[:, 0]).T, (outlines[:, 3] - outlines[:, 1]).T
    most = np.abs(ax * by - bx * ay) / 2 + 2 * outlines.max(axis=1).sum(axis=1) + 4
    turned = most < AXIS_ALIGNED_SHARE * cells
    unclear = ~turned
    filled = _count_filled(relative[unclear])
    turned[unclear] = filled / (cells[unclear] + 1e-4) < AXIS_ALIGNED_SHARE
    return turned


def _count_filled(relative: np.ndarray) -> np.ndarray:
    """Cells [N] that outlines [N, 4, 2], with their minimum at 0, fill of the rectangle around.

    What `cv2.fillPoly` fills of a convex outline, for all of them at once: in each row the cells
    between the outermost cells of the edges, which are Bresenham lines drawn from left to right.
    """
    if len(relative) == 0:
        return np.zeros(0)
    size_wh = np.maximum(np.ceil(relative.max(axis=1)), 1).astype(np.int32)
    start = relative.astype(np.int32)
    end = start[:, (1, 2, 3, 0)]
    backwards = (start[..., 0] > end[..., 0])[..., None]
    start, end = np.where(backwards, end, start), np.where(backwards, start, end)
    start, delta = start.reshape(-1, 2), (end - start).reshape(-1, 2)

    # All cells of all edges in one row of numbers: `edge` says whose, `step` how far along it.
    longer, shorter = np.abs(delta).max(axis=1), np.abs(delta).min(axis=1)
    count = longer + 1
    edge = np.repeat(np.arange(len(delta), dtype=np.int32), count)
    step = np.arange(len(edge), dtype=np.int32) - (np.cumsum(count, dtype=np.int32) - count)[edge]
    major = np.maximum(longer, 1)
    aside = (2 * shorter[edge] * step + (major - 1)[edge]) // (2 * major)[edge]
    steep = (np.abs(delta[:, 1]) > delta[:, 0])[edge]
    x = start[edge, 0] + np.where(steep, aside, step)
    y = start[edge, 1] + np.sign(delta[:, 1])[edge] * np.where(steep, step, aside)

    # A corner at a whole number lies one row behind the last: an extra row, for nothing.
    rows = size_wh[:, 1] + 1
    first_row = np.cumsum(rows) - rows
    row = np.repeat(first_row, 4)[edge] + y
    columns = np.repeat(size_wh[:, 0], rows)
    columns[first_row + size_wh[:, 1]] = 0
    left, right = columns.copy(), np.full_like(columns, -1)
    np.minimum.at(left, row, x)
    np.maximum.at(right, row, x)
    widths = np.maximum(np.minimum(right, columns - 1) - left + 1, 0)
    return np.add.reduceat(widths, first_row)


def blank_out(weight: np.ndarray, rectangles: np.ndarray, labels: np.ndarray) -> None:
    """Set `weight` [C, H, W] to 0 inside rectangles [M, 4, 2], each in its class's map."""
    for corners, label in zip(np.floor(rectangles).astype(np.int32), labels, strict=True):
        cv2.fillConvexPoly(weight[int(label)], corners, 0.0)


def restore_centers(weight: np.ndarray, labels: np.ndarray, cells: np.ndarray) -> None:
    """Set `weight` back to 1 on the 3 x 3 cells around the centres of taught objects.

    The decoder takes a cell as a peak when it is the highest of its 3 x 3 neighbours. So all nine
    are needed to teach that peak, even where an object that is left out overlaps it; and no more
    are, as further out the heat map would teach the other object's centre as background.
    """
    height, width = weight.shape[1:]
    offsets = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), axis=-1).reshape(1, 9, 2)
    near = np.clip(cells[:, None] + offsets, 0, (width - 1, height - 1))
    weight[labels[:, None], near[..., 1], near[..., 0]] = 1.0
