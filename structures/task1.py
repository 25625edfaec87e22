"""Conversion of detections to Task1 tables, one per class, and to the files of DOTA's Task1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from DOTA_devkit.file_names import result_name
from DOTA_devkit.formats import Task1, write_task1
from structures.detections import Detections


def to_task1(found: Iterable[tuple[str, Detections]], names: Sequence[str]) -> dict[str, Task1]:
    """Sort the detections of images into one table per class.

    Args:
        found: (image id, detections in pixels of that image), one pair per image.
        names: Class names in the order of the labels.

    Returns:
        Class name -> table, in which the images keep their order.
    """
    images = list(found)
    tables = {}
    for label, name in enumerate(names):
        rows = [(image_id, d[d.labels == label]) for image_id, d in images]
        tables[name] = Task1(
            image_ids=[image_id for image_id, d in rows for _ in range(len(d))],
            scores=np.concatenate([np.zeros(0), *(d.scores for _, d in rows)]),
            corners=np.concatenate([np.zeros((0, 4, 2)), *(d.corners for _, d in rows)]),
        )
    return tables


def write_results(tables: dict[str, Task1], result_dir: Path) -> None:
    """Write Task1_<class>.txt for each class, an empty file if there are no detections."""
    result_dir.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        path = result_dir / result_name(name)
        write_task1(path, table.image_ids, table.scores, table.corners)
