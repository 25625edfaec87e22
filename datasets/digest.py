"""Digest of an image list and its labels, by which a resumed run recognizes its data."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from datasets.base import BaseDataset
from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import shorten_list


def digest_dataset(dataset: BaseDataset) -> dict[str, Tensor]:
    """Compute the digest of a dataset whose labels have been checked.

    Returns:
        `ids` and `labels`, [N] int64: a number for the id of each image, in the order of the list,
        and one for its boxes, classes and difficulties. Equal content gives equal numbers on any
        machine.
    """
    labels = [_label_number(dataset.load_annotation(index)) for index in range(len(dataset))]
    ids = [_number(str(image_id).encode()) for image_id in dataset.img_ids]
    return {
        "ids": torch.tensor(ids, dtype=torch.int64),
        "labels": torch.tensor(labels, dtype=torch.int64),
    }


def changes(before: Mapping[str, Tensor], dataset: BaseDataset) -> list[str]:
    """Say how a dataset differs from that of a digest, a line for each kind of change.

    Raises:
        InputError: The digest is damaged.
    """
    old_ids, old_labels = (_numbers(before.get(name)) for name in ("ids", "labels"))
    if len(old_ids) != len(old_labels):
        raise InputError("the digest of the data in the checkpoint is damaged")
    now = digest_dataset(dataset)
    ids, labels = now["ids"].tolist(), now["labels"].tolist()
    found = []
    old, new = set(old_ids), set(ids)
    if added := [dataset.img_ids[i] for i, number in enumerate(ids) if number not in old]:
        found.append(f"{_images(added)} added to its list: {shorten_list(added)}")
    if gone := [i for i, number in enumerate(old_ids, 1) if number not in new]:
        found.append(f"{_images(gone)} removed from its list, at position {shorten_list(gone)}")
    if not found and old_ids != ids:
        found.append("its list has another order, or other repetitions")
    label_of = dict(zip(old_ids, old_labels, strict=True))
    changed = [
        _label_path(dataset, dataset.img_ids[i])
        for i, (number, label) in enumerate(zip(ids, labels, strict=True))
        if label_of.get(number, label) != label
    ]
    if changed := list(dict.fromkeys(changed)):
        found.append(f"{_images(changed)} labeled anew: {shorten_list(changed)}")
    return found


def _label_number(annotation: Mapping[str, np.ndarray]) -> int:
    parts = []
    for name, dtype in (("pts", "<f8"), ("cat", "<i8"), ("dif", "<i8")):
        values = annotation.get(name)
        parts.append(b"" if values is None else np.ascontiguousarray(values, dtype).tobytes())
    return _number(b"|".join(parts))


def _number(content: bytes) -> int:
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _numbers(value: object) -> list[int]:
    if not isinstance(value, Tensor) or value.dtype is not torch.int64 or value.dim() != 1:
        raise InputError("the digest of the data in the checkpoint is damaged")
    return value.tolist()


def _label_path(dataset: BaseDataset, image_id: str) -> str:
    path = dataset.load_annoFolder(image_id)
    return image_id if path is None else os.fspath(path)


def _images(items: Sequence[object]) -> str:
    return "1 image was" if len(items) == 1 else f"{len(items)} images were"
