"""From what a user names, `dota`, `hrsc` or `path/to/file.py:ClassName`, to a data set."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import sys
from pathlib import Path

from boxes import STRIDE
from datasets.base import BaseDataset
from datasets.dataset_dota import DOTA
from datasets.dataset_hrsc import HRSC
from datasets.folder import FolderDataset
from datasets.lists import find_list
from datasets.options import DataOptions
from DOTA_devkit.errors import InputError

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
    path = Path(file)
    if not path.is_file():
        raise InputError(f"--dataset {spec}: there is no file {path}")
    module = _import_file(path)
    found = getattr(module, name, None)
    if not inspect.isclass(found):
        classes = [
            key
            for key, value in vars(module).items()
            if inspect.isclass(value) and value.__module__ == module.__name__
        ]
        raise InputError(
            f"--dataset {spec}: {path} has no class {name!r}; it has "
            f"{', '.join(classes) or 'no class at all'}"
        )
    if not issubclass(found, BaseDataset):
        raise InputError(
            f"--dataset {spec}: {name} is no subclass of datasets.base.BaseDataset"
        )
    return found


def _import_file(path: Path):
    """The module of a file, under a name by which worker processes find its classes again."""
    name = f"user_dataset_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(
            f"{path}: cannot be imported: {type(error).__name__}: {error}"
        ) from error
    return module


def open_dataset(
    spec: str,
    data_dir: Path | str,
    phase: str,
    input_hw: tuple[int, int],
    options: DataOptions | None = None,
) -> BaseDataset | None:
    """The data set `spec` of a phase ('train', 'val' or 'test') at an input size.

    None for phase 'val' where there is no validation list. A class of a user's own with the
    original's constructor gets the options as its attribute. InputError where the data cannot be
    used.
    """
    cls = find_dataset(spec)
    options = options or DataOptions()
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise InputError(f"{data_dir}: no such data folder")
    listed = issubclass(cls, FolderDataset)
    if phase == "val" and listed and find_list(data_dir, "val", options) is None:
        return None
    arguments = (str(data_dir), phase, *input_hw, STRIDE)
    if _takes_options(cls):
        return cls(*arguments, options=options)
    try:
        dataset = cls(*arguments)
    except (AssertionError, FileNotFoundError, InputError) as error:
        if phase == "val":
            logger.info("no validation list: %s", error)
            return None
        raise InputError(f"{cls.__name__}: {error or type(error).__name__}") from error
    _apply_options(dataset, options)
    return dataset


def _takes_options(cls: type[BaseDataset]) -> bool:
    parameters = inspect.signature(cls.__init__).parameters.values()
    return any(p.name == "options" or p.kind is p.VAR_KEYWORD for p in parameters)


def _apply_options(dataset: BaseDataset, options: DataOptions) -> None:
    """Options for a data set whose constructor knows of none; what it chose itself stays."""
    if not dataset.img_ids:
        raise InputError(f"{type(dataset).__name__}: it lists no images for {dataset.phase!r}")
    if not dataset.num_classes:
        raise InputError(f"{type(dataset).__name__}: it sets no num_classes")
    if dataset.category is None:
        dataset.category = [str(index) for index in range(dataset.num_classes)]
    dataset.options = options
    if options.max_objs != DataOptions.max_objs:
        dataset.max_objs = options.max_objs
