"""Train, val and test lists of a folder, with all patches of a source image in the same list."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import read_all_labels
from DOTA_devkit.file_names import check_ids
from DOTA_devkit.files import refuse_existing, replacing
from DOTA_devkit.patches import source_name
from DOTA_devkit.tables import format_table


def group_by_source(image_ids: Iterable[str]) -> dict[str, list[str]]:
    """Group image ids by source image: an image and all of its patches form one group.

    Args:
        image_ids: ids of patches or whole images.

    Returns:
        Id of the source image -> its ids, both sorted.
    """
    groups: dict[str, list[str]] = {}
    for image_id in sorted(image_ids):
        groups.setdefault(source_name(image_id), []).append(image_id)
    return dict(sorted(groups.items()))


DEFAULT_LISTS = {"train": ("train", "trainval")}
"""Names of the list of a set, the first that exists; others have the name of the set."""


def count_overlap(train_ids: Sequence[str], val_ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the ids in both lists, and the source images of which both lists have patches."""
    ids = sorted(set(train_ids) & set(val_ids))
    sources = {source_name(image_id) for image_id in train_ids}
    sources &= {source_name(image_id) for image_id in val_ids}
    return ids, sorted(sources)


def split_ids(
    image_ids: Iterable[str], shares: Mapping[str, float], seed: int = 0
) -> dict[str, list[str]]:
    """Divide ids over lists at random without dividing a source image.

    The source images are shuffled; each goes to the list that is furthest below its share of the
    ids, so the shares hold to within one source image. A list with a share is never left empty.

    Args:
        image_ids: ids of patches or whole images.
        shares: list name -> share of the ids; they add up to 1. A share of 0 makes no list.
        seed: the same seed and ids give the same lists, in whatever order the ids come.

    Returns:
        List name -> sorted ids.

    Raises:
        InputError: a share is negative, the shares do not add up to 1, or there are fewer source
            images than lists.
    """
    if any(share < 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        given = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        raise InputError(f"the shares must be 0 or more and add up to 1, got {given}")
    shares = {name: share for name, share in shares.items() if share > 0}
    groups = list(group_by_source(image_ids).values())
    if len(groups) < len(shares):
        raise InputError(
            f"{len(groups)} source images cannot fill {len(shares)} lists ({', '.join(shares)})"
        )
    random.Random(seed).shuffle(groups)

    total = sum(map(len, groups))
    chosen: dict[str, list[list[str]]] = {name: [] for name in shares}
    missing = {name: share * total for name, share in shares.items()}
    for group in groups:
        name = max(missing, key=missing.__getitem__)
        chosen[name].append(group)
        missing[name] -= len(group)
    for name in chosen:
        if not chosen[name]:
            donor = max(chosen.values(), key=len)
            smallest = min(donor, key=len)
            donor.remove(smallest)
            chosen[name].append(smallest)
    return {name: sorted(chain.from_iterable(members)) for name, members in chosen.items()}


def write_lists(lists: Mapping[str, Sequence[str]], folder: Path, overwrite: bool = False) -> None:
    """Write `<name>.txt` for each list, one id per line.

    Args:
        lists: list name -> image ids.
        folder: folder to write into.
        overwrite: replace existing files.

    Raises:
        InputError: a file exists and `overwrite` is false, or an id has a line break or another
            control character.
    """
    check_ids(chain.from_iterable(lists.values()))
    paths = {name: folder / f"{name}.txt" for name in lists}
    refuse_existing(paths.values(), overwrite)
    for name, ids in lists.items():
        with replacing(paths[name]) as file:
            file.writelines(f"{image_id}\n" for image_id in ids)


def count_objects(lists: Mapping[str, Sequence[str]], label_dir: Path) -> dict[str, Counter[str]]:
    """Count the objects of each class in each list.

    Args:
        lists: list name -> image ids.
        label_dir: folder of the label files; ids without one are skipped.

    Returns:
        List name -> number of objects of each class.

    Raises:
        InputError: label files that cannot be used, all of a list in one message.
    """
    objects = {}
    for name, ids in lists.items():
        paths = [path for i in ids if (path := label_dir / f"{i}.txt").is_file()]
        labels = read_all_labels(paths, f"labels of {name}")
        objects[name] = Counter(cls for entry in labels for cls in entry.names)
    return objects


def lists_table(
    lists: Mapping[str, Sequence[str]], objects: Mapping[str, Counter[str]] | None = None
) -> str:
    """Format what is in each list: images, source images and objects of each class.

    Args:
        lists: list name -> image ids.
        objects: list name -> number of objects of each class; without it they are left out.
    """
    objects = objects or {}
    classes = sorted({name for counts in objects.values() for name in counts})
    return format_table(
        [
            ["", *lists],
            ["images", *map(len, lists.values())],
            ["source images", *(len(group_by_source(ids)) for ids in lists.values())],
            *([name, *(objects[column][name] for column in lists)] for name in classes),
        ]
    )
