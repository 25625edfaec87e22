"""The order of classes, for formats that store their numbers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from DOTA_devkit.class_lists import read_class_file
from DOTA_devkit.converters.datasets import Source
from DOTA_devkit.converters.hrsc import hrsc_classes
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import DOTA_CLASSES


def complete_class_list(
    names: Iterable[str], source: Source, class_file: Path | None = None
) -> tuple[str, ...]:
    """Find the class list, in order, for a format that stores class numbers.

    Sorting the names that occur would not do, as a val set that lacks a class of the train set
    would number the others differently. So the list comes from `class_file`, else from the level of
    HRSC, else from the first release of DOTA that has all the names.

    Args:
        names: the class names that occur.
        source: where they were read from.
        class_file: file with one class name per line.

    Returns:
        All class names in the order of their numbers.

    Raises:
        InputError: no list has all the names.
    """
    names = set(names)
    if class_file is not None:
        candidates = [read_class_file(class_file)]
    elif source.format == "hrsc":
        candidates = [hrsc_classes(source.hrsc_level)]
    else:
        candidates = list(DOTA_CLASSES.values())
    for candidate in candidates:
        if names <= set(candidate):
            return tuple(candidate)
    raise InputError(
        f"{source.path}: the order of the classes {', '.join(sorted(names))} is unknown; give it "
        "with `classes` (names, or a file with one per line)"
        + (f"; {class_file} does not have all of them" if class_file else "")
    )
