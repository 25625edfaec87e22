"""Progress bars of long loops, which also notice a Ctrl-C that a library swallowed.

This module owns both jobs, so that no loop needs a hook of its own: each item, or each call of
`ProgressBar.update`, ends with `interrupts.stop_if_pressed`. Bars go to stderr. If that is not a
terminal, or tqdm is not installed, a loop that takes longer is logged every `LINE_SECONDS` instead.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from DOTA_devkit.interrupts import stop_if_pressed

if TYPE_CHECKING:
    from tqdm import tqdm

Item = TypeVar("Item")

logger = logging.getLogger(__name__)

LINE_SECONDS = 20.0
"""Seconds between the log lines that show the progress of a loop if no bar is shown."""

_last_line = {"at": time.monotonic()}
_bars = {"shown": True}


def line_shown() -> None:
    """Note that the user has just seen a line, so that the next one of a loop can wait."""
    _last_line["at"] = time.monotonic()


def hide_bars() -> None:
    """Show no bars in this process, as another one shows them; there are still lines of the log."""
    _bars["shown"] = False


class _Lines:
    """Logs how far a loop is, from a thread of its own: a single step may take minutes.

    Attributes:
        done: units that are done.
        values: values to be shown, by name.
    """

    def __init__(self, title: str, total: int | None, unit: str, initial: int) -> None:
        self.done = initial
        self.values: Mapping[str, object] = {}
        self._title, self._total, self._unit, self._initial = title, total, unit, initial
        self._begin = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Log nothing any more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(max(self._due() - time.monotonic(), 0.001)):
            if time.monotonic() >= self._due():
                line_shown()
                logger.info("%s", self._line())

    def _due(self) -> float:
        """Return when the next line is due; a loop that is over soon needs none."""
        return max(_last_line["at"] + LINE_SECONDS, self._begin + LINE_SECONDS / 4)

    def _line(self) -> str:
        """Format `epoch 1/80: 120/500 batch, 2.1 batch/s, 3 min left, hm 0.912`."""
        done, seconds = self.done, time.monotonic() - self._begin
        parts = [f"{done}" if self._total is None else f"{done}/{self._total}"]
        if done > self._initial:
            rate = (done - self._initial) / seconds
            parts.append(f"{rate:.3g} {self._unit}/s")
            if self._total is not None:
                left = (self._total - done) / rate
                parts.append(f"{left / 60:.0f} min left" if left >= 90 else f"{left:.0f} s left")
        parts += [f"{name} {value}" for name, value in self.values.items()]
        parts[0] += f" {self._unit}"
        return f"{self._title}: {', '.join(parts)}"


class ProgressBar:
    """The handle that `progress_bar` gives to a loop that advances the bar itself."""

    def __init__(self, bar: tqdm | None, lines: _Lines | None = None) -> None:
        self._bar = bar
        self._lines = lines

    def update(self, count: int = 1) -> None:
        """Advance by `count` units.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed, see `DOTA_devkit.interrupts.stop_if_pressed`.
        """
        if self._bar is not None:
            self._bar.update(count)
        if self._lines is not None:
            self._lines.done += count
        stop_if_pressed()

    def set_postfix(self, values: Mapping[str, object]) -> None:
        """Show `values` (name -> value, such as a running loss) behind the bar."""
        if self._bar is not None:
            self._bar.set_postfix(values)
        if self._lines is not None:
            self._lines.values = values


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
        with _logged(title, total, unit, initial) as lines:
            yield ProgressBar(None, lines)
        return
    with tqdm(
        desc=title, total=total, unit=unit, initial=initial, leave=leave,
        disable=None if _bars["shown"] else True,
    ) as bar:  # fmt: skip
        if not bar.disable:
            yield ProgressBar(bar)
            return
        with _logged(title, total, unit, initial) as lines:
            yield ProgressBar(None, lines)


@contextmanager
def _logged(title: str, total: int | None, unit: str, initial: int) -> Iterator[_Lines]:
    lines = _Lines(title, total, unit, initial)
    try:
        yield lines
    finally:
        lines.stop()
