"""Labels that are most likely mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from DOTA_devkit.polygon import grouped_iou, polygon_area
from DOTA_devkit.stats.label_set import LabelSet

OUTSIDE_TOLERANCE_PX = 2.0
"""Pixels by which a corner may exceed the border before its label counts as reaching outside."""

DUPLICATE_IOU = 0.95
"""IoU above which two objects of one class count as one object that is labeled twice."""


def find_problems(data: LabelSet, classes: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Look for labels that are most likely mistakes.

    Args:
        data: the labels.
        classes: the allowed class names; without it all are allowed.

    Returns:
        Description of the problem -> ``file name:line`` of the objects, or the image ids. Problems
        that were looked for but not found have an empty list.
    """
    problems = _outside_problems(data)
    problems[f"labeled twice (same class, IoU above {DUPLICATE_IOU:g})"] = data.where(
        labeled_twice(data)
    )
    problems["corners in an order that crosses"] = data.where(data.crossing)
    problems["boxes without area"] = data.where(polygon_area(data.corners) == 0)
    if classes is not None:
        known = set(classes)
        for name, rows in data.rows_by_class().items():
            if name not in known:
                problems[f"class {name!r} is not in the list, objects"] = data.where(rows)
    if np.isfinite(data.sizes_wh).any():
        missing = ~np.isfinite(data.sizes_wh[:, 0])
        problems["label files without an image"] = [
            data.image_ids[index] for index in np.flatnonzero(missing)
        ]
    problems["images without a label file"] = [
        image_id
        for image_id, path in zip(data.image_ids, data.label_paths, strict=True)
        if path is None
    ]
    return problems


def _outside_problems(data: LabelSet) -> dict[str, list[str]]:
    """Find labels outside the image; return nothing if no sizes are known."""
    if not np.isfinite(data.sizes_wh).any():
        return {}
    reaching, center_out, entirely = outside_masks(data)
    return {
        f"reaching outside the image by more than {OUTSIDE_TOLERANCE_PX:g} pixels": data.where(
            reaching
        ),
        "center outside the image": data.where(center_out & ~entirely),
        "entirely outside the image": data.where(entirely),
    }


def outside_masks(data: LabelSet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which objects lie outside their image, as masks ``[N]``; none where no size is known.

    Returns:
        Those that reach outside by more than `OUTSIDE_TOLERANCE_PX`, those with their center
        outside, and those that are entirely outside.
    """
    size = data.sizes_wh[data.image_index][:, None]  # nan compares as inside
    excess = np.maximum(-data.corners, data.corners - size)  # [N, 4, 2]
    reaching = (excess > OUTSIDE_TOLERANCE_PX).any(axis=(1, 2))
    entirely = ((data.corners < 0).all(axis=1) | (data.corners > size).all(axis=1)).any(axis=1)
    center = data.corners.mean(axis=1, keepdims=True)
    return reaching, ((center < 0) | (center > size)).any(axis=(1, 2)), entirely


def labeled_twice(data: LabelSet, across_classes: bool = False) -> np.ndarray:
    """Find every object that nearly coincides with an earlier one of its image.

    Equal objects are compared as one, as there may be thousands: a click on "paste", or a file that
    was appended to itself again and again.

    Args:
        data: the labels.
        across_classes: look for an earlier one of another class, else for one of the same.

    Returns:
        Indices of the objects, ascending.
    """
    classes = data.rows_by_class()
    numbers = np.zeros(len(data.names), np.int64)
    for number, rows in enumerate(classes.values()):
        numbers[rows] = number
    of_class = data.image_index * max(len(classes), 1) + numbers
    described = np.column_stack([of_class, data.corners.reshape(-1, 8)])
    # The index of the first of each set of equal objects, and the set of each object.
    _, first, member = np.unique(described, axis=0, return_index=True, return_inverse=True)
    groups = (data.image_index if across_classes else of_class)[first]
    corners = data.corners[first]
    later, earlier, overlap = grouped_iou(corners, corners, groups, groups)
    found = overlap > DUPLICATE_IOU  # also of equal objects, unless they have no area
    if across_classes:
        found &= numbers[first][earlier] != numbers[first][later]
    earliest = np.full(len(first), len(data.names))
    np.minimum.at(earliest, later[found], first[earlier[found]])
    return np.flatnonzero(earliest[member.reshape(-1)] < np.arange(len(data.names)))
