"""The pixels of batches, read by a thread while the network works."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack
from typing import NamedTuple, TypeVar

import numpy as np

from deploy.predict.plan import WindowJob
from deploy.predict.readers import Reader
from deploy.predict.sources import ImageSource
from deploy.predict.windows import Window
from DOTA_devkit.errors import InputError
from structures.letterbox import Letterbox

logger = logging.getLogger(__name__)


Item = TypeVar("Item")


AHEAD = 1
"""Batches that are read while the network works."""


class ReadBatch(NamedTuple):
    """A batch as the network takes it. places, windows, images: of those that hold data."""

    number: int
    places: list[int]
    windows: list[Window]
    images: list[np.ndarray]
    without_data: int
    faults: dict[int, str]


def read_batches(
    sources: Sequence[ImageSource], batches: Sequence[Sequence[WindowJob]], numbers: Iterable[int]
) -> Generator[ReadBatch]:
    """The input images of batches; one source is open at a time."""
    with ExitStack() as stack:
        opened: int | None = None
        reader: Reader | None = None
        broken: dict[int, str] = {}
        for number in numbers:
            places, windows, images, faults, without_data = [], [], [], {}, 0
            for place, (source, window) in enumerate(batches[number]):
                try:
                    if source not in broken and source != opened:
                        stack.close()
                        opened, reader = None, None
                        reader = stack.enter_context(sources[source].open())
                        opened = source
                        if reader.stretch is not None:
                            logger.info("%s: %s", sources[source].path, reader.stretch)
                    image = None if source in broken else read_window(reader, window)
                except InputError as error:
                    broken[source] = str(error)
                    image = None
                if source in broken:
                    faults[source] = broken[source]
                elif image is None:
                    without_data += 1
                else:
                    places.append(place)
                    windows.append(window)
                    images.append(image)
            yield ReadBatch(number, places, windows, images, without_data, faults)


def read_window(reader: Reader, window: Window) -> np.ndarray | None:
    """The input image [H, W, 3] of a window; None where it holds no data."""
    box = window.letterbox
    # Of a window that shrinks a lot, only every n-th pixel is wanted: read the mean of n x n.
    shrink = max(1, int(1 / max(box.scale)))
    part = reader.window(window.left, window.top, box.source_wh, shrink)
    if part is None:
        return None
    if part.shape[1::-1] != box.source_wh:
        box = Letterbox(part.shape[1::-1], box.input_wh, box.inner_wh, box.pad)
    return box.apply(part)


def ahead(items: Generator[Item], count: int) -> Generator[Item]:
    """The same items, made by a thread that is up to `count` of them ahead."""
    ready: queue.Queue = queue.Queue(maxsize=count)
    stopped, end = threading.Event(), object()

    def put(item: object) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
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
            items.close()  # here: what it holds open belongs to this thread
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
