"""Id lists: which one a phase reads, and the check that training and validation are disjoint."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from datasets.options import DataOptions
from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import shorten_list
from DOTA_devkit.formats import read_ids
from DOTA_devkit.lists import DEFAULT_LISTS, count_overlap

logger = logging.getLogger(__name__)


def find_list(data_dir: Path | str, phase: str, options: DataOptions) -> Path | None:
    """Find the id list that a phase reads.

    For train this is train.txt, else trainval.txt; for val it is val.txt; for test it is test.txt,
    else val.txt; for any other phase <phase>.txt. A list in `options` takes precedence.

    Returns:
        The path of the list, or None if there is none.

    Raises:
        InputError: The list in `options` does not exist.
    """
    data_dir = Path(data_dir)
    chosen = getattr(options, f"{phase}_list", None)
    if chosen is not None:
        path = data_dir / chosen  # an absolute path stays as it is
        if not path.is_file():
            raise InputError(f"{phase}_list: there is no file {path}")
        return path
    for name in DEFAULT_LISTS.get(phase, (phase,)):
        path = data_dir / f"{name}.txt"
        if path.is_file():
            return path
    return find_list(data_dir, "val", options) if phase == "test" else None


def read_list(path: Path) -> list[str]:
    """Read the entries of an id list.

    Raises:
        InputError: The list is empty.
    """
    entries = read_ids(path)
    if not entries:
        raise InputError(f"{path}: the list is empty, expected one image id per line")
    return entries


def check_overlap(
    train_ids: Sequence[str],
    other_ids: Sequence[str],
    allow: bool = False,
    name: str = "validation",
) -> None:
    """Check that a list shares no images with training, nor patches of the same image.

    Scores on images of the training set say nothing about new images.

    Args:
        train_ids: Image ids for training.
        other_ids: Image ids for validation or testing.
        allow: Log a warning instead of raising.
        name: What these are for.

    Raises:
        InputError: The lists overlap.
    """
    ids, sources = count_overlap(train_ids, other_ids)
    if not sources:
        return
    if ids:
        what = f"{len(ids)} of {len(set(other_ids))} {name} images are also in the training list"
        shown = ids
    else:
        what = f"patches of {len(sources)} images are in both the training and the {name} list"
        shown = sources
    what += f" ({shorten_list(shown)})"
    if not allow:
        raise InputError(f"{what}; set allow_overlap if that is intended")
    logger.warning("%s: scores on them say nothing about new images", what)
