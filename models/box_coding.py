"""How the channels of the head `wh` represent a box: as vectors, or as a symmetric matrix.

The vectors from the center to the edges, as the original trains them, change places where a box
rotates past an axis. Near that angle, a network that minimizes an error predicts their mean: a
skewed diamond. The symmetric matrix

    S = p * e eT + q * f fT        (e, f the unit vectors along the sides, p, q half their lengths)

of a box is unique and changes smoothly with size and angle, and any symmetric matrix is that of a
rectangle again: its eigenvectors are the directions of the sides, its eigenvalues half of their
lengths. The columns of S take the places of the vectors r and b, and those of -S of l and t, which
for an upright box is the same.

The matrix of a square does not determine its angle. So the two channels of the upright size hold
cos 4a and sin 4a of the angle a of a side, which are the same for all four sides. They decide the
direction of boxes that are nearly square, and hardly that of others.

A matrix represents upright boxes as well, so they need not be distinguished from rotated ones.
Instead, the head `cls_theta` learns how well the box of a cell fits, which is part of the score.

The 3x3 cells around a center all learn its box, and their errors differ. So a box is the mean of
those of the 3x3 cells around its own, as far as they agree with it (`agreeing_mean`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structures.boxes import WH

_STEEP = 6e4
"""Slope of each part of a step from 0 to 1; float16 goes up to 65504."""


def symmetric_matrix(vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Average the vectors of a head into a symmetric matrix.

    Args:
        vectors: [N, 8 or more, ...], t, r, b, l as (x, y) in the first channels.

    Returns:
        The entries xx, xy and yy of the matrix, [N, ...] each.
    """
    (tx, ty), (rx, ry), (bx, by), (lx, ly) = (
        vectors[:, WH[name]].unbind(1) for name in ("t", "r", "b", "l")
    )
    return (rx - lx) / 2, (ry - ly + bx - tx) / 4, (by - ty) / 2


def rectangle_vectors(wh: Tensor) -> Tensor:
    """Convert the output of a head that was trained with rectangles to vectors.

    These are plain arithmetic operations, which every runtime has. A cell without an object may
    give a rectangle of any size.

    Args:
        wh: [N, 10, ...], the channels of `structures.boxes.WH`: the vectors as in
            `symmetric_matrix`, and in place of the size cos 4a and sin 4a.

    Returns:
        [N, 10, ...]: the vectors t, r, b, l to the midpoints of the edges, in the order of
        `structures.boxes.corners_to_vectors`, and the size of the enclosing upright rectangle.
    """
    return vectors_of_parts(box_parts(wh))


def box_parts(wh: Tensor) -> Tensor:
    """Return the parameters of the boxes in the output of the head, without those of the center.

    Args:
        wh: [N, 10, ...], as for `rectangle_vectors`.

    Returns:
        [N, 5, ...]: the entries xx, xy, yy of the matrix, cos 4a and sin 4a. They are a linear
        function of `wh`.
    """
    return torch.stack([*symmetric_matrix(wh), *wh[:, WH["size"]].unbind(1)], dim=1)


def vectors_of_parts(parts: Tensor) -> Tensor:
    """Convert boxes to vectors, as `rectangle_vectors` does.

    Args:
        parts: [N, 5 or more, ...], xx, xy and yy of the matrix, cos 4a and sin 4a.

    Returns:
        [N, 10, ...].
    """
    xx, xy, yy, cos4, sin4 = parts[:, :5].unbind(1)
    middle, half = (xx + yy) / 2, (xx - yy) / 2
    # (half, xy) is the direction of a side at the double angle, as long as p and q differ. The
    # halves of the angle of (cos4, sin4) are another such direction, and its opposite.
    length4 = torch.sqrt(cos4 * cos4 + sin4 * sin4)
    larger, flat = length4 + cos4.abs() + TINY, 1 - _positive(-cos4)
    x, y = sin4 + flat * (larger - sin4), larger + flat * (sin4 - larger)
    scale = SQUARE_WEIGHT * middle.abs() * length4 / torch.sqrt(x * x + y * y)
    scale = scale * (1 - 2 * _positive(-(half * x + xy * y)))
    double_x, double_y = half + scale * x, xy + scale * y

    double = torch.sqrt(double_x * double_x + double_y * double_y) + TINY
    difference = (half * double_x + xy * double_y) / double
    # +1 if the side near the x axis is that direction, -1 if it is the other side.
    sign = 1 - 2 * _positive(-double_x)
    x, y = double + double_x.abs(), double_y * sign
    length = torch.sqrt(x * x + y * y)
    x, y = x / length, y / length
    along = torch.clamp(middle + sign * difference, min=LEAST_HALF_SIDE)
    across = torch.clamp(middle - sign * difference, min=LEAST_HALF_SIDE)
    rx, ry, bx, by = along * x, along * y, -across * y, across * x
    # In the order of the original, r does not point down: else each takes the next one's place.
    down = _positive(ry)
    rx, bx = rx - down * (rx + bx), bx + down * (rx - bx)
    ry, by = ry - down * (ry + by), by + down * (ry - by)
    width, height = 2 * (rx.abs() + bx.abs()), 2 * (ry.abs() + by.abs())
    return torch.stack([-bx, -by, rx, ry, bx, by, -rx, -ry, width, height], dim=1)


def code_rectangles(vectors: Tensor) -> Tensor:
    """Convert the vectors of rectangles to the output of a head, as `rectangle_vectors` reads it.

    Args:
        vectors: [N, 8 or more, ...], t, r, b, l as (x, y) in the first channels.

    Returns:
        [N, 10, ...].
    """
    r, b = vectors[:, WH["r"]], vectors[:, WH["b"]]
    (rx, ry), (bx, by) = r.unbind(1), b.unbind(1)
    p, q = (torch.sqrt((side * side).sum(dim=1)) + TINY for side in (r, b))
    xx, xy, yy = rx * rx / p + bx * bx / q, rx * ry / p + bx * by / q, ry * ry / p + by * by / q
    cos, sin = rx / p, ry / p
    cos2, sin2 = cos * cos - sin * sin, 2 * cos * sin
    cos4, sin4 = cos2 * cos2 - sin2 * sin2, 2 * cos2 * sin2
    return torch.stack([-xy, -yy, xx, xy, xy, yy, -xx, -xy, cos4, sin4], dim=1)


def fourfold_angle(axes: Tensor) -> Tensor:
    """Compute cos 4a and sin 4a, [M, 2], of the angle of unit vectors [M, 2]."""
    x, y = axes.unbind(1)
    cos2, sin2 = x * x - y * y, 2 * x * y
    return torch.stack([cos2 * cos2 - sin2 * sin2, 2 * cos2 * sin2], dim=1)


def _positive(values: Tensor) -> Tensor:
    """Return 1 where values are above 0, else 0, without a comparison (up to 2e-24)."""
    for _ in range(5):
        values = torch.clamp(values * _STEEP, 0, 1)
    return values


LEAST_HALF_SIDE = 1 / 8
"""Least half side of a rectangle, in cells: half a pixel of the input."""

TINY = 1e-6
"""Added to lengths that are divided by, so that a box without a direction gets that of x."""

SQUARE_WEIGHT = 0.2
"""Weight of cos 4a and sin 4a beside the difference of the sides, relative to their mean."""

AGREEMENT = 0.2
"""Squared difference of two boxes, relative to the square of their half sides' mean, from which on
one says nothing about the other: centers that are 0.45 mean half sides apart, for example."""


NEIGHBORS = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))
"""The 3x3 cells around a cell, row by row: y and x relative to it."""


def agreeing_mean(cells: Sequence[Tensor]) -> Tensor:
    """Average the boxes of the 3x3 cells around a cell, weighted by their agreement with its own.

    Cells that see the same object err differently, so the mean fits better than each of them. The
    weight of a box falls from 1, if it equals that of the cell in the middle, to 0 where the
    squared distance of the centers plus half of the squared distance of the matrices (in their
    Frobenius norm) is `AGREEMENT` times the square of the mean half side. So the boxes of other
    objects and of the background do not count. Neither does a matrix of zeros, which stands for a
    cell beyond the border: half of its squared distance is at least the square of the mean half
    side.

    Args:
        cells: A tensor [N, 7, ...] for each of the `NEIGHBORS`: the entries xx, xy, yy of the
            matrix, cos 4a and sin 4a, and x and y of the center relative to that cell.

    Returns:
        [N, 7, ...], the center relative to the cell in the middle.
    """
    steps = [[0.0] * 5 + [float(x), float(y)] for y, x in NEIGHBORS]
    channels = [-1, *[1] * (cells[0].ndim - 2)]
    boxes = [
        cell + cell.new_tensor(step).reshape(channels)
        for cell, step in zip(cells, steps, strict=True)
    ]
    own = boxes.pop(4)
    side = (own[:, 0:1] + own[:, 2:3]) / 2
    scale = 1 / (AGREEMENT * torch.clamp(side * side, min=LEAST_HALF_SIDE * LEAST_HALF_SIDE))
    total, mean = 1.0, own
    for other in boxes:
        error = other - own
        # Single channels are added, as importers of other runtimes get sums over channels wrong.
        xx, xy, yy, _, _, x, y = (error * error).split(1, dim=1)
        error = (xx + yy) / 2 + xy + x + y
        weight = torch.clamp(1 - error * scale, min=0)
        total, mean = total + weight, torch.addcmul(mean, weight, other)
    return mean / total


def decoded_maps(maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert head maps of rectangles to those of the original, by name.

    Args:
        maps: `hm` (if it is there) and `cls_theta` after the sigmoid, and the other heads.
    """
    parts = torch.cat([box_parts(maps["wh"]), maps["reg"]], dim=1)
    height, width = parts.shape[2:]
    padded = F.pad(parts, (1, 1, 1, 1))
    boxes = agreeing_mean([
        padded[:, :, 1 + y : 1 + y + height, 1 + x : 1 + x + width] for y, x in NEIGHBORS
    ])  # fmt: skip
    found = {
        **maps,
        "wh": vectors_of_parts(boxes),
        "reg": boxes[:, 5:],
        # 1, and not a constant, which importers of other runtimes drop.
        "cls_theta": torch.clamp(maps["cls_theta"] + 1, max=1),
    }
    if "hm" in maps:
        found["hm"] = fitting_score(maps["hm"], maps["cls_theta"])
    return found


def fitting_score(heatmap: Tensor, fit: Tensor) -> Tensor:
    """Return scores [N, C, H, W] that include how well boxes fit.

    They rank as the probability of an object times the square of the expected overlap. The power
    of 3/4 of that brings them into the range of the usual thresholds: of the networks that were
    measured, F1 is highest at scores of 0.16 to 0.35, and `test` and `predict` show those above
    0.18.

    Args:
        heatmap: [N, C, H, W] probability of an object.
        fit: [N, 1, H, W] expected overlap of its box with the object.
    """
    # Of equal shapes: the new engine of OpenCV 5 gets products of different ones wrong.
    root = torch.sqrt(heatmap) * fit.expand(-1, heatmap.shape[1], -1, -1)
    return root * torch.sqrt(root)


def start_as_rectangles(wh: nn.Conv2d, reg: nn.Conv2d) -> None:
    """Let the output convolutions of new heads begin with a square in the middle of its cell.

    Its half sides are 2 cells, a usual object: from 0 on, where a box has no area, the first steps
    would go into any direction.
    """
    with torch.no_grad():
        for name, values in (("t", (0, -2)), ("r", (2, 0)), ("b", (0, 2)), ("l", (-2, 0))):
            wh.bias[WH[name]] = torch.tensor(values, dtype=wh.bias.dtype)
        reg.bias.fill_(0.5)
