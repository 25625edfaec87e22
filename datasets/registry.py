"""Datasets by name: `dota`, `hrsc` or `path/to/file.py:ClassName`."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path

from datasets.base import BaseDataset
from datasets.dataset_dota import DOTA
from datasets.dataset_hrsc import HRSC
from datasets.folder import FolderDataset
from datasets.lists import find_list
from datasets.options import DataOptions, override_default_options
from datasets.user_file import import_file
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_kinds import folder_hint
from structures.boxes import STRIDE

logger = logging.getLogger(__name__)

DATASETS: dict[str, type[BaseDataset]] = {"dota": DOTA, "hrsc": HRSC}


def find_dataset(spec: str) -> type[BaseDataset]:
    """Find a dataset class.

    Args:
        spec: A name in `DATASETS`, or `path/to/file.py:ClassName` for a user-defined class.

    Raises:
        InputError: The name is unknown, the file is missing or cannot be imported, or the class is
            missing or not a subclass of `BaseDataset`.
    """
    if spec.lower() in DATASETS:
        return DATASETS[spec.lower()]
    file, colon, name = spec.rpartition(":")
    if not colon or not file.endswith(".py"):
        raise InputError(
            f"dataset {spec} is unknown: choose from {', '.join(DATASETS)}, or name your own class "
            "as path/to/file.py:ClassName"
        )
    module = import_file(file)
    found = getattr(module, name, None)
    if not inspect.isclass(found):
        classes = [
            key
            for key, value in vars(module).items()
            if inspect.isclass(value) and value.__module__ == module.__name__
        ]
        raise InputError(
            f"dataset {spec}: {file} has no class {name!r}; its classes are "
            f"{', '.join(classes) or 'none'}"
        )
    if not issubclass(found, BaseDataset):
        raise InputError(f"dataset {spec}: {name} is not a subclass of datasets.base.BaseDataset")
    return found


def open_dataset(
    spec: str,
    data_dir: Path | str,
    phase: str,
    input_hw: tuple[int, int],
    options: DataOptions | None = None,
) -> BaseDataset | None:
    """Open the dataset of a phase.

    Args:
        spec: As for `find_dataset`. A user-defined class only needs the constructor of the
            original.
        data_dir: The data folder.
        phase: 'train', 'val' or 'test'.
        input_hw: Height and width of the network's input.
        options: Further settings.

    Returns:
        The dataset, or None for phase 'val' if there is no validation list.

    Raises:
        InputError: The data cannot be used.
    """
    cls = find_dataset(spec)
    options = options or DataOptions()
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise InputError(f"{data_dir}: no such data folder{folder_hint(data_dir)}")
    if issubclass(cls, FolderDataset):
        if phase == "val" and find_list(data_dir, "val", options) is None:
            return None
    elif getattr(options, f"{phase}_list", None) is not None:
        logger.warning("%s reads its own lists: %s_list has no effect", spec, phase)
    try:
        with override_default_options(options):
            dataset = cls(str(data_dir), phase, *input_hw, STRIDE)
    except (
        AssertionError,
        FileNotFoundError,
    ) as error:  # as the original reports it
        if phase == "val":
            logger.info("no validation list: %s", error)
            return None
        raise InputError(f"{cls.__name__}: {error or type(error).__name__}") from error
    _complete(dataset)
    return dataset


def _complete(dataset: BaseDataset) -> None:
    """Check what the constructor of a user-defined class has set, and add what it may omit."""
    name = type(dataset).__name__
    if not dataset.img_ids:
        raise InputError(f"{name} lists no images for phase {dataset.phase!r}")
    if not dataset.num_classes:
        raise InputError(f"{name} does not set num_classes")
    if dataset.category is None:
        dataset.category = [str(index) for index in range(dataset.num_classes)]
    if len(dataset.category) != dataset.num_classes:
        raise InputError(
            f"{name}: num_classes is {dataset.num_classes}, but category names "
            f"{len(dataset.category)}"
        )
