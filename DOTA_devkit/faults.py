"""Collecting the errors of many files, so that a user sees all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import Labels, read_label_files, read_labels
from DOTA_devkit.progress import progress

MAX_SHOWN_FAULTS = 20
"""Faults that a message lists, enough to see a pattern on one screen; the others are counted."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def shorten_faults(faults: Sequence[str], limit: int = MAX_SHOWN_FAULTS) -> list[str]:
    """Return the first `limit` faults and, if there are more, a last line "and N more"."""
    shown = list(faults[:limit])
    if len(faults) > limit:
        shown.append(f"and {len(faults) - limit} more")
    return shown


def shorten_list(items: Sequence[object], limit: int = 5) -> str:
    """Return the first `limit` items with commas between them, and ", ..." if there are more."""
    return ", ".join(map(str, items[:limit])) + (", ..." if len(items) > limit else "")


def map_collecting(
    function: Callable[[Item], Result], items: Iterable[Item], what: str = "files"
) -> list[Result]:
    """Apply `function` to every item, continuing after an InputError.

    Args:
        function: called with one item, usually a file to read.
        items: the items.
        what: what the items are, for the message.

    Returns:
        The results in the order of the items.

    Raises:
        InputError: `function` raised it for at least one item; the message lists the first
            `MAX_SHOWN_FAULTS` of them.
    """
    results, faults = [], []
    for item in items:
        try:
            results.append(function(item))
        except InputError as error:
            faults.append(str(error))
    if len(faults) == 1:
        raise InputError(faults[0])
    if faults:
        header = f"{len(faults)} {what} cannot be used:"
        raise InputError("\n  ".join([header, *shorten_faults(faults)]))
    return results


def read_all_labels(paths: Sequence[Path], title: str = "labels") -> list[Labels]:
    """Read DOTA label files under a progress bar.

    Args:
        paths: the label files.
        title: text in front of the bar.

    Returns:
        The labels of each file, in the order of `paths`.

    Raises:
        InputError: files that cannot be used, all of them in one message.
    """
    try:
        return list(progress(read_label_files(paths), title, total=len(paths)))
    except InputError:  # the fast reader stops at the first bad file
        return map_collecting(read_labels, progress(paths, title))
