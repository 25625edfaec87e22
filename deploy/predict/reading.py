"""The pixels of batches, read by a thread while the network works."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from deploy.predict.plan import WindowJob
from deploy.predict.sources import ImageSource
from deploy.predict.windows import Window
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import Reader
from structures.letterbox import Letterbox

logger = logging.getLogger(__name__)

Item = TypeVar("Item")


@dataclass(frozen=True)
class PrefetchOptions:
    """How far the reading thread may get ahead.

    Attributes:
        batches: Batches that are read while the network works.
        poll_s: Seconds after which a full queue looks whether it is still wanted.
    """

    batches: int = 1
    poll_s: float = 0.1


@dataclass
class ReadBatch:
    """A batch as the network takes it.

    Attributes:
        number: Number of the batch.
        positions: Positions in the batch of the windows that hold data.
        windows: Those windows.
        images: Their input images [H, W, 3] uint8.
        without_data: Number of windows that hold no data.
        faults: Source number -> why its image cannot be read.
    """

    number: int
    positions: list[int] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    images: list[np.ndarray] = field(default_factory=list)
    without_data: int = 0
    faults: dict[int, str] = field(default_factory=dict)


class _OpenSource:
    """The one image that is open at a time, and the images that could not be read."""

    def __init__(self, sources: Sequence[ImageSource], stack: ExitStack):
        self.faults: dict[int, str] = {}
        self._sources, self._stack = sources, stack
        self._number: int | None = None
        self._reader: Reader | None = None

    def read(self, job: WindowJob) -> np.ndarray | None:
        """Return the input image of a window; None if it holds no data or is in `faults`."""
        if job.source in self.faults:
            return None
        try:
            return read_window(self._reader_of(job.source), job.window)
        except InputError as error:
            self.faults[job.source] = str(error)
            return None

    def _reader_of(self, number: int) -> Reader:
        if number != self._number:
            self._stack.close()
            self._number, self._reader = None, None
            source = self._sources[number]
            self._reader = self._stack.enter_context(source.open())
            self._number = number
            for note in self._reader.notes():
                logger.info("%s: %s", source.path, note)
        return self._reader


def read_batches(
    sources: Sequence[ImageSource], batches: Sequence[Sequence[WindowJob]], numbers: Iterable[int]
) -> Generator[ReadBatch]:
    """Read the input images of batches, with one source open at a time.

    Args:
        sources: The images of the plan.
        batches: All batches of the plan.
        numbers: Numbers of those to read.
    """
    with ExitStack() as stack:
        opened = _OpenSource(sources, stack)
        for number in numbers:
            batch = ReadBatch(number)
            for position, job in enumerate(batches[number]):
                image = opened.read(job)
                if job.source in opened.faults:
                    batch.faults[job.source] = opened.faults[job.source]
                elif image is None:
                    batch.without_data += 1
                else:
                    batch.positions.append(position)
                    batch.windows.append(job.window)
                    batch.images.append(image)
            yield batch


def read_window(reader: Reader, window: Window) -> np.ndarray | None:
    """Return the input image [H, W, 3] of a window; None if it holds no data."""
    box = window.letterbox
    # A window that is scaled down a lot only needs every n-th pixel: read the mean of n x n.
    shrink = max(1, int(1 / max(box.scale)))
    part = reader.window(window.left, window.top, box.source_wh, shrink)
    if part is None:
        return None
    if part.shape[1::-1] != box.source_wh:
        box = Letterbox(part.shape[1::-1], box.input_wh, box.inner_wh, box.pad)
    return box.apply(part)


def prefetch(items: Generator[Item], options: PrefetchOptions | None = None) -> Generator[Item]:
    """Yield the same items, made by a thread that gets ahead of their use."""
    options = options or PrefetchOptions()
    ready: queue.Queue = queue.Queue(maxsize=options.batches)
    stopped, end = threading.Event(), object()

    def put(item: object) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=options.poll_s)
            except queue.Full:
                continue
            return True
        return False

    def fill() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
        except BaseException as error:  # it is raised where the items are used
            put((None, error))
        finally:
            items.close()  # in this thread, to which the files that it holds open belong
            put((end, None))

    thread = threading.Thread(target=fill, name="reader", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is end:
                return
            yield item
    finally:
        stopped.set()
        thread.join()
