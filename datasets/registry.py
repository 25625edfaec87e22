"""From what a user names, `dota`, `hrsc` or `path/to/file.py:ClassName`, to a data set."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path

from datasets.base import BaseDataset
from datasets.dataset_dota import DOTA
from datasets.dataset_hrsc import HRSC
from datasets.folder import FolderDataset
from datasets.lists import find_list
from datasets.options import DataOptions, as_default
from datasets.user_file import import_file
from DOTA_devkit.errors import InputError
from structures.boxes import STRIDE

logger = logging.getLogger(__name__)

DATASETS: dict[str, type[BaseDataset]] = {"dota": DOTA, "hrsc": HRSC}


def find_dataset(spec: str) -> type[BaseDataset]:
    """The class that `spec` names.

    InputError where the name is unknown, the file is missing or fails when imported, or the class
    is missing or no subclass of `BaseDataset`.
    """
    if spec.lower() in DATASETS:
        return DATASETS[spec.lower()]
    file, colon, name = spec.rpartition(":")
    if not colon or not file.endswith(".py"):
        raise InputError(
            f"--dataset {spec}: unknown; choose from {', '.join(DATASETS)}, or name a class of "
            "your own as path/to/file.py:ClassName"
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
            f"--dataset {spec}: {file} has no class {name!r}; it has "
            f"{', '.join(classes) or 'no class at all'}"
        )
    if not issubclass(found, BaseDataset):
        raise InputError(f"--dataset {spec}: {name} is no subclass of datasets.base.BaseDataset")
    return found


def open_dataset(
    spec: str,
    data_dir: Path | str,
    phase: str,
    input_hw: tuple[int, int],
    options: DataOptions | None = None,
) -> BaseDataset | None:
    """The data set `spec` of a phase ('train', 'val' or 'test') at an input size.

    None for phase 'val' where there is no validation list. A class of a user's own needs the
    original's constructor and no more. InputError where the data cannot be used.
    """
    cls = find_dataset(spec)
    options = options or DataOptions()
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise InputError(f"{data_dir}: no such data folder")
    if issubclass(cls, FolderDataset):
        if phase == "val" and find_list(data_dir, "val", options) is None:
            return None
    elif getattr(options, f"{phase}_list", None) is not None:
        logger.warning("%s reads lists of its own: --%s_list changes nothing", spec, phase)
    try:
        with as_default(options):
            dataset = cls(str(data_dir), phase, *input_hw, STRIDE)
    except (AssertionError, FileNotFoundError) as error:  # how the original says that
        if phase == "val":
            logger.info("no validation list: %s", error)
            return None
        raise InputError(f"{cls.__name__}: {error or type(error).__name__}") from error
    _complete(dataset)
    return dataset


def _complete(dataset: BaseDataset) -> None:
    """Check what the constructor of a user's own class has set, and add what it may leave out."""
    name = type(dataset).__name__
    if not dataset.img_ids:
        raise InputError(f"{name}: it lists no images for {dataset.phase!r}")
    if not dataset.num_classes:
        raise InputError(f"{name}: it sets no num_classes")
    if dataset.category is None:
        dataset.category = [str(index) for index in range(dataset.num_classes)]
    if len(dataset.category) != dataset.num_classes:
        raise InputError(
            f"{name}: num_classes is {dataset.num_classes}, but category names "
            f"{len(dataset.category)}"
        )
