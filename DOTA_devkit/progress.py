"""Progress bars of long loops, which also notice a Ctrl-C that a library swallowed.

This module owns both jobs, so that no loop needs a hook of its own: each item, or each call of
`ProgressBar.update`, ends with `interrupts.stop_if_pressed`. Bars go to stderr; there are none if
that is not a terminal or tqdm is not installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from DOTA_devkit.interrupts import stop_if_pressed

if TYPE_CHECKING:
    from tqdm import tqdm

Item = TypeVar("Item")


class ProgressBar:
    """The handle that `progress_bar` gives to a loop that advances the bar itself."""

    def __init__(self, bar: tqdm | None) -> None:
        self._bar = bar

    def update(self, count: int = 1) -> None:
        """Advance by `count` units.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed, see `DOTA_devkit.interrupts.stop_if_pressed`.
        """
        if self._bar is not None:
            self._bar.update(count)
        stop_if_pressed()

    def set_postfix(self, values: Mapping[str, object]) -> None:
        """Show `values` (name -> value, such as a running loss) behind the bar."""
        if self._bar is not None:
            self._bar.set_postfix(values)


def progress(
    items: Iterable[Item],
    title: str,
    total: int | None = None,
    *,
    unit: str = "it",
    initial: int = 0,
    leave: bool = False,
) -> Iterator[Item]:
    """Yield `items` under a progress bar, and stop after an item if Ctrl-C was pressed.

    Args:
        items: what to iterate over.
        title: text in front of the bar.
        total: number of items; by default ``len(items)`` if `items` has a length.
        unit: what an item is, for the rate ("12 image/s").
        initial: items that an earlier run finished; they count as done but not into the rate.
        leave: keep the finished bar on the screen.

    Yields:
        The items, unchanged.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, see `DOTA_devkit.interrupts.stop_if_pressed`.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)
    with progress_bar(title, total, unit=unit, initial=initial, leave=leave) as bar:
        for item in items:
            yield item
            bar.update()


@contextmanager
def progress_bar(
    title: str,
    total: int | None = None,
    *,
    unit: str = "it",
    initial: int = 0,
    leave: bool = False,
) -> Iterator[ProgressBar]:
    """Show a bar for a loop that advances by several units at a time or displays values.

    Args:
        title: text in front of the bar.
        total: units of the whole work, including `initial`.
        unit: what is counted.
        initial: units that an earlier run finished.
        leave: keep the finished bar on the screen.

    Yields:
        The bar; call its `update` after each step.
    """
    try:
        from tqdm import tqdm
    except ImportError:  # only the display is missing
        yield ProgressBar(None)
        return
    with tqdm(
        desc=title, total=total, unit=unit, initial=initial, leave=leave, disable=None
    ) as bar:
        yield ProgressBar(bar)
