"""Datasets: from image and label files to samples for training and testing.

Reading, augmentation and training targets belong here; the network, losses and decoding do not. Of
this project, it imports only `structures` and `DOTA_devkit`. Start with `open_dataset`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from DOTA_devkit.lazy_names import lazy_names

if TYPE_CHECKING:
    from datasets.base import IGNORE_REASONS, BaseDataset
    from datasets.batching import collate, seed_worker
    from datasets.dataset_dota import DOTA
    from datasets.dataset_hrsc import HRSC
    from datasets.folder import FolderDataset
    from datasets.lists import check_overlap
    from datasets.options import DataOptions
    from datasets.registry import DATASETS, find_dataset, open_dataset

__all__ = [
    "DATASETS",
    "DOTA",
    "HRSC",
    "IGNORE_REASONS",
    "BaseDataset",
    "DataOptions",
    "FolderDataset",
    "check_overlap",
    "collate",
    "find_dataset",
    "open_dataset",
    "seed_worker",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "base": ("IGNORE_REASONS", "BaseDataset"),
        "batching": ("collate", "seed_worker"),
        "dataset_dota": ("DOTA",),
        "dataset_hrsc": ("HRSC",),
        "folder": ("FolderDataset",),
        "lists": ("check_overlap",),
        "options": ("DataOptions",),
        "registry": ("DATASETS", "find_dataset", "open_dataset"),
    },
)
