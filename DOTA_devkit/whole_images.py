"""Move detections of patches to their whole images, with bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import ResultBlock
from DOTA_devkit.number_ranges import COORDINATE
from DOTA_devkit.patches import parse_patch_id


@dataclass(frozen=True)
class DetectionGroup:
    """Detections of some whole images, in input order.

    Attributes:
        names: image ids.
        images: ``[N]`` index into ``names``.
        scores: ``[N]``.
        corners: ``[N, 4, 2]``, pixels of the whole image.
    """

    names: list[str]
    images: np.ndarray
    scores: np.ndarray
    corners: np.ndarray

    def select(self, rows: np.ndarray) -> DetectionGroup:
        """Take some rows, in the given order."""
        return DetectionGroup(self.names, self.images[rows], self.scores[rows], self.corners[rows])


def assemble_images(
    blocks: Iterable[ResultBlock], image_ids: list[str], patches: bool, rows_in_memory: int
) -> Iterator[DetectionGroup]:
    """Move detections to their whole images and group them by image.

    Up to ``rows_in_memory`` detections are held in memory. If there are more, they are written to
    a temporary file and read back some images at a time.

    Args:
        blocks: detections.
        image_ids: the ids that the image numbers of the blocks refer to; the list may grow while
            blocks are read.
        patches: interpret ids as those of patches; False: use them as they are.
        rows_in_memory: number of detections to hold.

    Yields:
        Parts that contain all detections of their images, in the order of the first appearance
        of the images.
    """
    origins = _PatchOrigins(image_ids, patches)
    in_memory: list[np.ndarray] = []
    images: list[np.ndarray] = []
    rows = 0
    with tempfile.TemporaryFile() as spill:
        for block in blocks:
            image, moved = origins.to_image(block)
            images.append(image)
            in_memory.append(moved)
            rows += len(moved)
            if rows > rows_in_memory:
                for values in in_memory:
                    values.tofile(spill)
                in_memory.clear()
        if not rows:
            return
        images = np.concatenate(images)
        if rows <= rows_in_memory:
            yield _part(origins.names, images, np.concatenate(in_memory))
            return
        spill.flush()
        values = np.memmap(spill, np.float64, "r", shape=(rows, 9))
        order = np.argsort(images, kind="stable")
        count = np.bincount(images, minlength=len(origins.names))
        for start, stop in _batches(count, rows_in_memory):
            batch = order[start:stop]
            yield _part(origins.names, images[batch], values[batch])


def _part(names: list[str], images: np.ndarray, values: np.ndarray) -> DetectionGroup:
    return DetectionGroup(names, images, values[:, 0], values[:, 1:].reshape(-1, 4, 2))


def _batches(count: np.ndarray, limit: int) -> Iterator[tuple[int, int]]:
    """Divide consecutive images into batches of about ``limit`` detections, keeping each whole."""
    ends = np.cumsum(count)
    done = 0
    while done < ends[-1]:
        fitting = ends[np.searchsorted(ends, done + limit, "right") - 1]
        # An image with more detections than the limit is a batch of its own.
        stop = int(fitting if fitting > done else ends[np.searchsorted(ends, done, "right")])
        yield done, stop
        done = stop


class _PatchOrigins:
    """The positions of patches in their images, parsed once per id.

    Attributes:
        names: ids of the whole images, in the order of their first appearance.
    """

    def __init__(self, image_ids: list[str], patches: bool) -> None:
        self._image_ids, self._patches = image_ids, patches
        self.names: list[str] = []
        self._image: dict[str, int] = {}
        # [P, 4], for each patch: index of its image, rate, x, y.
        self._table = np.zeros((0, 4))

    def to_image(self, block: ResultBlock) -> tuple[np.ndarray, np.ndarray]:
        """Image index ``[N]`` and rows ``[N, 9]``: the score and the corners in the whole image."""
        new = [self._parse(image_id) for image_id in self._image_ids[len(self._table) :]]
        if new:
            self._table = np.concatenate([self._table, new])
        image, rate, x, y = self._table[block.images].T
        rows = np.empty((len(image), 9))
        rows[:, 0] = block.scores
        rows[:, 1::2] = (block.corners[:, :, 0] + x[:, None]) / rate[:, None]
        rows[:, 2::2] = (block.corners[:, :, 1] + y[:, None]) / rate[:, None]
        if not COORDINATE.holds(rows[:, 1:]).all():
            outside = np.flatnonzero(~COORDINATE.holds(rows[:, 1:]).all(axis=1))[0]
            raise InputError(
                f"{self._image_ids[block.images[outside]]}: a coordinate of a detection in the "
                f"whole image is not {COORDINATE}"
            )
        return image.astype(np.int32), rows

    def _parse(self, image_id: str) -> tuple[int, float, int, int]:
        patch = parse_patch_id(image_id) if self._patches else None
        name = image_id if patch is None else patch.name
        image = self._image.setdefault(name, len(self.names))
        if image == len(self.names):
            self.names.append(name)
        return (image, 1.0, 0, 0) if patch is None else (image, patch.rate, patch.x, patch.y)
