"""Objects that are too large or too small: for their image, their class and the network's input."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from DOTA_devkit.doctor.boxes import found
from DOTA_devkit.doctor.findings import NOTE, WARNING, Finding
from DOTA_devkit.doctor.survey import CELL_PX, Survey
from DOTA_devkit.letterboxing import enlarging_advice
from DOTA_devkit.polygon import polygon_area

_COVERED = 0.8
"""Share of the image that a box covers, from which on it is one around the whole image."""

_MIN_CLASS = 20
"""Minimum number of objects of a class for estimating their usual size."""
_OUTLIER_FACTOR = 6.0
"""Times by which a side differs from the median of the class, at least, for an outlier."""
_OUTLIER_SPREAD = 6.0
"""The same in standard deviations of the logarithm (from the median absolute deviation)."""

_LOST_SHARE = 0.2
"""Share of a class that training ignores, from which on it is a warning."""
_SHARED_CELLS = 0.01
"""Share of a class whose centers share a cell, from which on it is a warning."""


def too_large(survey: Survey) -> Iterator[Finding]:
    """Find boxes as large as their image, and objects far larger or smaller than their class."""
    size = survey.data.sizes_wh[survey.data.image_index]
    with np.errstate(invalid="ignore"):
        covering = polygon_area(survey.data.corners) > _COVERED * size.prod(axis=1)
        covering |= survey.measures.longer > 1.05 * np.hypot(size[:, 0], size[:, 1])
    yield from found(
        survey, "too_large", WARNING, "boxes as large as their image", covering,
        "A box around the whole image instead of an object? Remove it. If the object is that "
        "large, split the images at a lower rate (python -m DOTA_devkit split --rates 0.5).",
    )  # fmt: skip
    outliers = np.zeros(len(survey.data.names), bool)
    for rows in survey.data.rows_by_class().values():
        outliers[rows] = _outliers(survey.measures.longer[rows])
    yield from found(
        survey, "too_large", WARNING,
        f"objects more than {_OUTLIER_FACTOR:g} times as large or small as their class usually is",
        outliers & ~covering,
        "Look at the pictures: a slip of the mouse, a box around a group, or the wrong class?",
    )  # fmt: skip


def _outliers(sides: np.ndarray) -> np.ndarray:
    """Return which sides are far from the median, for the spread of all of them."""
    if len(sides) < _MIN_CLASS:
        return np.zeros(len(sides), bool)
    values = np.log(np.maximum(sides, 0.1))
    away = np.abs(values - np.median(values))
    spread = 1.4826 * np.median(away)
    return away > max(np.log(_OUTLIER_FACTOR), _OUTLIER_SPREAD * spread)


def below_cell(survey: Survey) -> Iterator[Finding]:
    """Find training targets of which the input shows less than a cell of the head maps."""
    with np.errstate(invalid="ignore"):
        small = survey.targets & (survey.longer_cells < 1)
    if small.any():
        height, width = survey.settings.input_hw
        shortest = float(survey.longer_cells[small].min()) * CELL_PX
        counts = ", ".join(f"{name} {n}" for name, n in survey.counts(small).items() if n)
        yield from found(
            survey, "below_cell", WARNING,
            f"objects smaller than a cell of the network's maps in the input of {height}x{width} "
            f"(longer side below {CELL_PX} px there; {counts})",
            small,
            "They are hardly learned. "
            + enlarging_advice(survey.settings.input_hw, shortest, CELL_PX),
        )  # fmt: skip


def min_size(survey: Survey) -> Iterator[Finding]:
    """Find objects that training ignores, because their longer side is below `min_size`."""
    limit = survey.settings.min_size
    small = survey.in_list("train") & (survey.measures.longer < limit)
    if not small.any():
        return
    total = survey.counts(survey.in_list("train"))
    lost = {name: n for name, n in survey.counts(small).items() if n}
    heavy = any(n > _LOST_SHARE * total[name] for name, n in lost.items())
    counts = ", ".join(f"{name} {n} of {total[name]}" for name, n in lost.items())
    yield from found(
        survey, "min_size", WARNING if heavy else NOTE,
        f"objects that training ignores, with a longer side below {limit:g} px ({counts})", small,
        "They are neither targets nor background. Train with a lower `min_size` if they are to be "
        "found, on images that show them larger.",
    )  # fmt: skip


def max_objs(survey: Survey) -> Iterator[Finding]:
    """Find objects beyond the number of an image that training uses."""
    rows = np.flatnonzero(survey.targets)
    images = survey.data.image_index[rows]
    # The rank of an object in its image: objects of an image follow one another.
    rank = np.arange(len(rows)) - np.searchsorted(images, images)
    beyond = rows[rank >= survey.settings.max_objs]
    yield from found(
        survey, "max_objs", WARNING,
        f"objects that training ignores, beyond {survey.settings.max_objs} of an image", beyond,
        "Split the images (python -m DOTA_devkit split), or train with a larger `max_objs`.",
    )  # fmt: skip


def shared_cells(survey: Survey) -> Iterator[Finding]:
    """Find objects whose center lies in a cell that has one of the same class already."""
    rows = np.flatnonzero(survey.targets & np.isfinite(survey.centers).all(axis=1))
    rows = np.setdiff1d(rows, survey.twice)  # which are one object
    if not len(rows):
        return
    numbers = {name: k for k, name in enumerate(survey.data.rows_by_class())}
    label = np.array([numbers[name] for name in survey.data.names[rows]])
    cells = np.floor(survey.centers[rows]).astype(np.int64)
    keys = np.column_stack([survey.data.image_index[rows], label, cells])
    _, first = np.unique(keys, axis=0, return_index=True)
    lost = np.setdiff1d(np.arange(len(rows)), first)
    height, width = survey.settings.input_hw
    yield from found(
        survey, "shared_cells", WARNING if len(lost) > _SHARED_CELLS * len(rows) else NOTE,
        "objects whose center shares a cell of the heat map with another one of their class, in "
        f"the input of {height}x{width}",
        rows[lost],
        "A cell has one peak, so that one of them is never found. Split the images (python -m "
        "DOTA_devkit split), or train with a larger `input_h` and `input_w`.",
    )  # fmt: skip


def cell_table(survey: Survey) -> list[dict[str, object]]:
    """Return how large each class is in the input, in cells of the head maps.

    Returns:
        For each class its name, its number of `objects` in the training set, 5, 50 and 95% of the
        `longer` and of the `shorter` side in cells, and how many are `below_cell`.
    """
    table = []
    known = survey.in_list("train") & np.isfinite(survey.longer_cells)
    for name, rows in survey.data.rows_by_class().items():
        rows = rows[known[rows]]
        if not len(rows):
            continue
        longer, shorter = survey.longer_cells[rows], survey.shorter_cells[rows]
        table.append(
            {
                "class": name,
                "objects": len(rows),
                "longer": [round(float(v), 2) for v in np.percentile(longer, (5, 50, 95))],
                "shorter": [round(float(v), 2) for v in np.percentile(shorter, (5, 50, 95))],
                "below_cell": int((longer < 1).sum()),
            }
        )
    return table
