"""Progress bars for long work: on stderr, silent when that is no terminal or tqdm is not there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def progress(items: Iterable[Item], title: str, total: int | None = None) -> Iterable[Item]:
    """`items`, with a bar called `title` while they are gone through."""
    try:
        from tqdm import tqdm
    except ImportError:  # the bar is the only thing that is lost
        return items
    return tqdm(items, desc=title, total=total, disable=None, leave=False)
