"""The short check of the labels at the start of a training, see `DOTA_devkit.doctor`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datasets.base import BaseDataset
from datasets.folder import FolderDataset
from DOTA_devkit.class_lists import CLASS_FILE
from DOTA_devkit.doctor import FROM_RELEASE, Finding, IdList, Settings, Survey, examine_labels
from DOTA_devkit.stats import collect_label_set

_MAX_LINES = 6


def finding_lines(train_set: BaseDataset, val_set: BaseDataset | None = None) -> list[str]:
    """Return what is most likely wrong with the labels, in lines for the log.

    Args:
        train_set: the training set.
        val_set: the validation set.

    Returns:
        A line for each finding, and one that names the command that shows all; empty if nothing
        was found, or for a user-defined dataset, whose labels need not be files.
    """
    if not isinstance(train_set, FolderDataset):
        return []
    findings = examine_labels(_survey(train_set, val_set)).findings
    if not findings:
        return []
    lines = [_line(finding) for finding in findings[:_MAX_LINES]]
    if len(findings) > _MAX_LINES:
        lines.append(f"data: {len(findings) - _MAX_LINES} more kinds of findings")
    return [
        *lines,
        "data: pictures and remedies of these and more checks: python -m DOTA_devkit doctor "
        f"{train_set.data_dir}",
    ]


def _line(finding: Finding) -> str:
    more = ", ..." if finding.count > 1 else ""
    return f"data: {finding.title}: {finding.count_text()} ({finding.places[0]}{more})"


def _survey(train_set: FolderDataset, val_set: BaseDataset | None) -> Survey:
    """Put the labels of both sets together, as the checks take them."""
    sets = {"train": train_set}
    if isinstance(val_set, FolderDataset):
        sets["val"] = val_set
    files, labels, images, sizes = {}, {}, {}, {}
    for dataset in sets.values():
        for index, (path, one) in enumerate(dataset.label_files()):
            image_id = dataset.img_ids[index]
            files[image_id], labels[image_id] = path, one
            images[image_id] = dataset.images.path(image_id)
            sizes[image_id] = dataset.source_wh(index) or (np.nan, np.nan)
    ids = sorted(images)
    root = Path(train_set.data_dir)
    named = train_set.options.classes or (root / CLASS_FILE).is_file()
    return Survey(
        root=root,
        data=collect_label_set(
            ids, files, labels, np.array([sizes[i] for i in ids], np.float64).reshape(-1, 2)
        ),
        images=images,
        lists={name: _id_list(dataset) for name, dataset in sets.items()},
        classes=tuple(train_set.category),
        class_source="`classes`" if named else FROM_RELEASE,
        settings=Settings(
            (train_set.input_h, train_set.input_w),
            train_set.options.min_size,
            train_set.max_objs,
            train_set.options.squash,
        ),
    )


def _id_list(dataset: FolderDataset) -> IdList:
    ids = list(dataset.img_ids)
    return IdList(Path(dataset.data_dir) / f"{dataset.phase}.txt", list(enumerate(ids, 1)), ids)
