"""Images and labels -> samples. `open_dataset` is the way in."""

from datasets.base import LEFT_OUT_REASONS, BaseDataset
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
    "LEFT_OUT_REASONS",
    "BaseDataset",
    "DataOptions",
    "FolderDataset",
    "check_overlap",
    "collate",
    "find_dataset",
    "open_dataset",
    "seed_worker",
]
