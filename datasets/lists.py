"""Which images a phase reads: id lists, and the check that training and validation are apart."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from datasets.options import DataOptions
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import read_ids
from DOTA_devkit.patches import source_name

logger = logging.getLogger(__name__)

_SHOWN = 5


def find_list(data_dir: Path | str, phase: str, options: DataOptions) -> Path | None:
    """The id list that a phase reads; None where there is none.

    train: train.txt where there is a val.txt, else trainval.txt, else train.txt. val: val.txt.
    test: test.txt, else val.txt. Any other phase: <phase>.txt. A list in `options` goes first,
    and is an InputError where it is missing.
    """
    data_dir = Path(data_dir)
    chosen = getattr(options, f"{phase}_list", None)
    if chosen is not None:
        path = data_dir / chosen  # an absolute path stays what it is
        if not path.is_file():
            raise InputError(f"--{phase}_list: there is no file {path}")
        return path
    if phase == "train":
        has_val = find_list(data_dir, "val", options) is not None
        names = ["train", "trainval"] if has_val else ["trainval", "train"]
    elif phase == "test":
        names = ["test"]
    else:
        names = [phase]
    for name in names:
        path = data_dir / f"{name}.txt"
        if path.is_file():
            return path
    return find_list(data_dir, "val", options) if phase == "test" else None


def read_list(path: Path) -> list[str]:
    """The entries of an id list. InputError where it has none."""
    entries = read_ids(path)
    if not entries:
        raise InputError(f"{path}: the list is empty, expected one image id a line")
    return entries


def count_overlap(train_ids: Sequence[str], val_ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Ids that are in both lists, and names of source images of which both have patches."""
    ids = sorted(set(train_ids) & set(val_ids))
    sources = {source_name(image_id) for image_id in train_ids}
    sources &= {source_name(image_id) for image_id in val_ids}
    return ids, sorted(sources)


def check_overlap(train_ids: Sequence[str], val_ids: Sequence[str], allow: bool = False) -> None:
    """InputError where training and validation share images, or patches of one image.

    Scores on images that were trained on say nothing of new ones. With `allow` it is a warning.
    """
    ids, sources = count_overlap(train_ids, val_ids)
    if not sources:
        return
    if ids:
        what = f"{len(ids)} of {len(set(val_ids))} validation images are in the training list too"
        shown = ids
    else:
        what = f"patches of {len(sources)} images are in both the training and validation list"
        shown = sources
    what += f" ({', '.join(shown[:_SHOWN])}{', ...' if len(shown) > _SHOWN else ''})"
    if not allow:
        raise InputError(f"{what}; give --allow_overlap where that is meant")
    logger.warning("%s", what)
