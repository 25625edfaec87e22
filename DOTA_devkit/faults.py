"""Going on after a bad file, so that a user sees the faults of a whole folder at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import Labels, read_label_files, read_labels
from DOTA_devkit.progress import progress

SHOWN = 20

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_collecting(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """`[function(item) for item in items]`; one InputError at the end tells all that arose."""
    results, faults = [], []
    for item in items:
        try:
            results.append(function(item))
        except InputError as error:
            faults.append(str(error))
    if len(faults) == 1:
        raise InputError(faults[0])
    if faults:
        shown = faults[:SHOWN]
        if len(faults) > SHOWN:
            shown.append(f"and {len(faults) - SHOWN} more")
        raise InputError("\n  ".join([f"{len(faults)} files cannot be used:", *shown]))
    return results


def read_all_labels(paths: Sequence[Path], title: str = "labels") -> list[Labels]:
    """The labels of every file, under a progress bar; one InputError tells all faults."""
    try:
        return list(progress(read_label_files(paths), title, total=len(paths)))
    except InputError:  # it stops at the first fault
        return map_collecting(read_labels, progress(paths, title))
