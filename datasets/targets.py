"""Training targets: from rectangles in cells to heat map, vectors, offsets and masks."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from structures import boxes

GAUSSIAN_MIN_OVERLAP = 0.7
"""Boxes whose corners are moved by the Gaussian's radius still have this IoU with the true box."""

AXIS_ALIGNED_MIN_FILL = 0.95
"""Boxes that fill a smaller share of the enclosing axis-aligned rectangle count as rotated."""


def encode_targets(
    rectangles: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    size_hw: tuple[int, int],
    max_objs: int = 500,
    ignored: np.ndarray | None = None,
    ignored_labels: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Encode the training targets of one image.

    Args:
        rectangles: [N, 5] center x and y, width, height and degrees, in cells (input pixels /
            stride). Any convention of the angle will do.
        labels: [N] class indices.
        num_classes: Number of classes C.
        size_hw: H and W of the head maps.
        max_objs: Maximum number of targets K; the objects beyond it are ignored.
        ignored: [M, 4, 2] corners of objects that are ignored for other reasons.
        ignored_labels: [M] their class indices.

    Returns:
        hm [C, H, W] float32: a Gaussian at each center, the maximum where they overlap;
        hm_weight [C, H, W] float32: 0 inside ignored objects, in the map of their class;
        wh [K, 10] float32 (channels: `boxes.WH`); reg [K, 2] float32 (center minus its cell);
        cls_theta [K, 1] float32 (1: rotated); ind [K] int64 (y * W + x of the center's cell);
        reg_mask [K] uint8 (1: an object). All are 0 behind the last object.
    """
    height, width = size_hw
    rectangles = np.asarray(rectangles, np.float32).reshape(-1, 5)
    labels = np.asarray(labels).reshape(-1).astype(np.int64)
    count = min(len(rectangles), max_objs)
    corners = boxes.rectangles_to_corners(rectangles)
    centers = rectangles[:count, :2]
    # Truncated; a center on the far border belongs to the last cell.
    cells = np.clip(centers.astype(np.int64), 0, (width - 1, height - 1))
    _, vectors, sizes = boxes.corners_to_vectors(corners[:count])

    targets = _empty_targets((num_classes, height, width), max_objs)
    targets["reg_mask"][:count] = 1
    targets["ind"][:count] = cells[:, 1] * width + cells[:, 0]
    targets["wh"][:count] = np.concatenate([vectors, sizes], axis=1)
    targets["reg"][:count] = centers - cells
    targets["cls_theta"][:count, 0] = is_rotated(corners[:count])
    radii = gaussian_radius(np.ceil(rectangles[:count, 2:4]))
    draw_gaussians(targets["hm"], labels[:count], cells, radii)

    masked, masked_labels = corners[count:], labels[count:]
    if ignored is not None and len(ignored):
        masked = np.concatenate([masked, ignored])
        masked_labels = np.concatenate([masked_labels, ignored_labels])
    if len(masked):
        mask_ignored(targets["hm_weight"], masked, masked_labels)
        unmask_centers(targets["hm_weight"], labels[:count], cells)
    return targets


def _empty_targets(heatmap_shape: tuple[int, int, int], max_objs: int) -> dict[str, np.ndarray]:
    """Allocate the targets of an image without objects."""
    return {
        "hm": np.zeros(heatmap_shape, np.float32),
        "reg_mask": np.zeros(max_objs, np.uint8),
        "ind": np.zeros(max_objs, np.int64),
        "wh": np.zeros((max_objs, 10), np.float32),
        "reg": np.zeros((max_objs, 2), np.float32),
        "cls_theta": np.zeros((max_objs, 1), np.float32),
        "hm_weight": np.ones(heatmap_shape, np.float32),
    }


def gaussian_radius(side_wh: np.ndarray, min_overlap: float = GAUSSIAN_MIN_OVERLAP) -> np.ndarray:
    """Compute the radii of the Gaussians for boxes of given sides.

    The radius is the smallest of three by which both corners of a box may move and keep the
    overlap: one inwards and one outwards, both inwards, both outwards (CornerNet, section 3.3).
    As in CenterNet, the sum of -b and the root is halved whatever the leading coefficient, because
    the published weights learned heat maps of that size.

    Args:
        side_wh: [N, 2] width and height in cells.
        min_overlap: IoU to keep.

    Returns:
        [N] int64 radii in cells.
    """
    total, product = np.asarray(side_wh).sum(axis=-1), np.prod(side_wh, axis=-1)

    def root(a: float, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        return (b + np.sqrt(b * b - 4 * a * c)) / 2

    one_each = root(1, total, product * (1 - min_overlap) / (1 + min_overlap))
    inwards = root(4, 2 * total, (1 - min_overlap) * product)
    outwards = root(4 * min_overlap, -2 * min_overlap * total, (min_overlap - 1) * product)
    return np.minimum(np.minimum(one_each, inwards), outwards).clip(0).astype(np.int64)


# Gaussians up to this radius in cells are drawn together by index, larger ones one by one as
# slices: an indexed cell costs more than one in a slice, but a call of NumPy costs as much as
# hundreds of cells.
_MAX_BATCHED_RADIUS = 8


@lru_cache(maxsize=512)
def _gaussian(radius: int) -> np.ndarray:
    """Return a Gaussian [2 r + 1, 2 r + 1] float32 of height 1 with sigma diameter / 6."""
    sigma = (2 * radius + 1) / 6
    axis = np.arange(-radius, radius + 1)
    bell = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * sigma * sigma))
    bell[bell < np.finfo(bell.dtype).eps * bell.max()] = 0
    bell = bell.astype(np.float32)
    bell.setflags(write=False)
    return bell


def draw_gaussians(
    heatmap: np.ndarray, labels: np.ndarray, cells: np.ndarray, radii: np.ndarray
) -> None:
    """Draw Gaussians into a heat map, in place, taking the maximum where they overlap.

    Args:
        heatmap: [C, H, W] float32.
        labels: [N] class indices.
        cells: [N, 2] centers (x, y).
        radii: [N] radii in cells.
    """
    height, width = heatmap.shape[1:]
    flat = heatmap.reshape(-1)
    for radius in np.unique(radii).tolist():
        chosen = radii == radius
        bell = _gaussian(radius)
        if radius > _MAX_BATCHED_RADIUS:
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


def is_rotated(corners: np.ndarray) -> np.ndarray:
    """Return whether boxes fill less than 95 % of the cells of the enclosing rectangle.

    As the published weights learned it, the corners minus their minimum are truncated to integers,
    and the outline is filled including its border cells.

    Args:
        corners: [N, 4, 2] in cells.

    Returns:
        [N] bool.
    """
    corners = np.asarray(corners)
    relative = corners - corners.min(axis=1, keepdims=True)
    cells = np.maximum(np.ceil(relative.max(axis=1)), 1).prod(axis=1)
    outlines = relative.astype(np.int32)
    # Most rotated boxes are found without counting. The unit squares of the filled cells lie in the
    # outline grown by 1 on every side, whose area is that of the outline + 2 (width + height) + 4.
    (ax, ay), (bx, by) = (outlines[:, 2] - outlines[:, 0]).T, (outlines[:, 3] - outlines[:, 1]).T
    max_filled = np.abs(ax * by - bx * ay) / 2 + 2 * outlines.max(axis=1).sum(axis=1) + 4
    rotated = max_filled < AXIS_ALIGNED_MIN_FILL * cells
    unclear = ~rotated
    filled = _count_filled(relative[unclear])
    rotated[unclear] = filled / (cells[unclear] + 1e-4) < AXIS_ALIGNED_MIN_FILL
    return rotated


def _count_filled(relative: np.ndarray) -> np.ndarray:
    """Count the cells [N] that outlines [N, 4, 2], with their minimum at 0, fill.

    This equals what `cv2.fillPoly` fills of a convex outline, for all outlines at once: in each row
    the cells between the outermost cells of the edges, which are Bresenham lines drawn from left to
    right.
    """
    if len(relative) == 0:
        return np.zeros(0)
    size_wh = np.maximum(np.ceil(relative.max(axis=1)), 1).astype(np.int32)
    start = relative.astype(np.int32)
    end = start[:, (1, 2, 3, 0)]
    backwards = (start[..., 0] > end[..., 0])[..., None]
    start, end = np.where(backwards, end, start), np.where(backwards, start, end)
    start, delta = start.reshape(-1, 2), (end - start).reshape(-1, 2)

    # All cells of all edges in one flat array: `edge` is the edge, `step` the position along it.
    longer, shorter = np.abs(delta).max(axis=1), np.abs(delta).min(axis=1)
    count = longer + 1
    edge = np.repeat(np.arange(len(delta), dtype=np.int32), count)
    step = np.arange(len(edge), dtype=np.int32) - (np.cumsum(count, dtype=np.int32) - count)[edge]
    major = np.maximum(longer, 1)
    aside = (2 * shorter[edge] * step + (major - 1)[edge]) // (2 * major)[edge]
    steep = (np.abs(delta[:, 1]) > delta[:, 0])[edge]
    x = start[edge, 0] + np.where(steep, aside, step)
    y = start[edge, 1] + np.sign(delta[:, 1])[edge] * np.where(steep, step, aside)

    # A corner at an integer lies one row behind the last; that extra row counts for nothing.
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


def mask_ignored(weight: np.ndarray, rectangles: np.ndarray, labels: np.ndarray) -> None:
    """Set `weight` [C, H, W] to 0 inside rectangles [M, 4, 2], each in the map of its class."""
    for corners, label in zip(np.floor(rectangles).astype(np.int32), labels, strict=True):
        cv2.fillConvexPoly(weight[int(label)], corners, 0.0)


def unmask_centers(weight: np.ndarray, labels: np.ndarray, cells: np.ndarray) -> None:
    """Reset `weight` to 1 in the 3 x 3 cells around the centers of training targets.

    For the decoder a cell is a peak if it is the maximum of its 3 x 3 neighborhood. All nine cells
    are therefore needed to learn the peak, even if an ignored object overlaps it. No more cells are
    reset, because further out the heat map would train the ignored object's center as background.
    """
    height, width = weight.shape[1:]
    offsets = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), axis=-1).reshape(1, 9, 2)
    near = np.clip(cells[:, None] + offsets, 0, (width - 1, height - 1))
    weight[labels[:, None], near[..., 1], near[..., 0]] = 1.0
