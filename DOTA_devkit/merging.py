"""Merge the detections of patches into detections of whole images.

A detection in patch ``NAME__RATE__X___Y`` lies at (x + X) / RATE, (y + Y) / RATE of image NAME.
Where patches overlap an object is found several times: greedy non-maximum suppression keeps the
best. Images come out in the order of their first appearance, their detections by falling score
(equal ones in the order of input), numbers as Python writes a float.

An id without patch part is taken for a whole image, so that several results, merged or not, can
be joined into one (an ensemble).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.formats import ResultBlock, Task1, iter_results, result_coordinates
from DOTA_devkit.patches import parse_patch_id
from DOTA_devkit.polygon import bounding_rectangles, polygon_nms, rectangle_nms
from DOTA_devkit.progress import progress
from DOTA_devkit.text_table import TextCodes, float_texts, joined_lines

logger = logging.getLogger(__name__)

IOU_THRESHOLD = 0.1
KINDS = ("polygon", "rectangle")
Suppression = Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]

# Detections held in memory; more are kept in a temporary file until their image's turn comes.
ROWS_IN_MEMORY = 1_000_000
LINES_AT_ONCE = 1 << 16


def merge_results(
    source_dirs: Path | str | Sequence[Path | str],
    target_dir: Path | str,
    iou_threshold: float | Mapping[str, float] = IOU_THRESHOLD,
    kind: str | Suppression = "polygon",
    *,
    patches: bool = True,
    workers: int = 1,
    rows_in_memory: int = ROWS_IN_MEMORY,
) -> dict[str, tuple[int, int]]:
    """Merge all result files of a folder, or of several that are joined.

    Args:
        source_dirs: folders of result files (``Task1_ship.txt``, ...), Task1 or Task2. Files of
            one name are joined, in the order of the folders.
        target_dir: made if missing; gets files of the same names.
        iou_threshold: for all classes, or class name -> threshold; classes that are not named
            take the one of "default", or else 0.1.
        kind: "polygon", or "rectangle" to compare the axis-aligned rectangles around the
            detections, far border included, as the original does for Task2. A function of one's
            own gets (images ``[N]``, scores, corners, threshold) and gives the rows that stay,
            image after image.
        patches: read the ids as those of patches; False: take each as it is.
        workers: processes; each merges one file at a time.
        rows_in_memory: detections that each process may hold.

    Returns:
        file name -> (detections read, detections kept).

    Raises:
        InputError: nothing to merge, a line that can't be understood, a threshold outside
            [0, 1] or of a class without file, or a target that is a source.
    """
    if isinstance(source_dirs, (str, Path)):
        source_dirs = [source_dirs]
    sources = [Path(folder) for folder in source_dirs]
    target_dir = Path(target_dir)
    if not callable(kind) and kind not in KINDS:
        raise InputError(f"kind of overlap {kind!r} is not one of {', '.join(KINDS)}")
    jobs = [
        _Job(*job, kind, patches, rows_in_memory)
        for job in _files_and_thresholds(sources, target_dir, iou_threshold)
    ]
    target_dir.mkdir(parents=True, exist_ok=True)
    counts = {}
    if workers > 1 and len(jobs) > 1:
        with ProcessPoolExecutor(min(workers, len(jobs))) as pool:
            done = pool.map(_run, jobs)
            for job, count in zip(progress(jobs, "merging"), done, strict=True):
                counts[job.target.name] = count
    else:
        for job in progress(jobs, "merging"):
            counts[job.target.name] = _run(job)
    return counts


def merge_file(
    sources: Sequence[Path | str],
    target: Path | str,
    iou_threshold: float = IOU_THRESHOLD,
    kind: str | Suppression = "polygon",
    *,
    patches: bool = True,
    rows_in_memory: int = ROWS_IN_MEMORY,
) -> tuple[int, int]:
    """Merge the result files of one class into one; see `merge_results`.

    Returns:
        (detections read, detections kept).
    """
    coordinates = _coordinates(sources)
    ids = TextCodes()
    blocks = (block for path in sources for block in iter_results(path, ids, coordinates))
    read = kept = 0
    with replacing(target) as file:
        for part in _whole_images(blocks, ids.texts, patches, rows_in_memory):
            read += len(part.scores)
            part = part.rows(_suppress(part, iou_threshold, kind))
            kept += len(part.scores)
            file.writelines(_lines(part, coordinates))
    return read, kept


def merge_detections(
    detections: Task1,
    iou_threshold: float = IOU_THRESHOLD,
    kind: str | Suppression = "polygon",
    *,
    patches: bool = True,
) -> Task1:
    """Merge the detections of one class in memory; see `merge_results`."""
    if not len(detections):
        return detections
    number: dict[str, int] = {}
    images = [number.setdefault(image_id, len(number)) for image_id in detections.image_ids]
    block = ResultBlock(np.array(images), detections.scores, detections.corners)
    parts = list(_whole_images([block], list(number), patches, len(detections)))
    part = parts[0].rows(_suppress(parts[0], iou_threshold, kind))
    image_ids = [part.names[image] for image in part.images.tolist()]
    return Task1(image_ids, part.scores, part.corners)


def has_patch_ids(detections: Task1 | Iterable[str]) -> bool:
    """Whether any of the ids is that of a patch, so that the results are not merged yet."""
    image_ids = detections.image_ids if isinstance(detections, Task1) else detections
    return any(parse_patch_id(image_id) is not None for image_id in set(image_ids))


@dataclass(frozen=True)
class _Job:
    sources: tuple[Path, ...]
    target: Path
    iou_threshold: float
    kind: str | Suppression
    patches: bool
    rows_in_memory: int


def _run(job: _Job) -> tuple[int, int]:
    return merge_file(
        job.sources,
        job.target,
        job.iou_threshold,
        job.kind,
        patches=job.patches,
        rows_in_memory=job.rows_in_memory,
    )


def _files_and_thresholds(
    sources: Sequence[Path], target_dir: Path, iou_threshold: float | Mapping[str, float]
) -> list[tuple[tuple[Path, ...], Path, float]]:
    """(sources, target, threshold) of each file name, once nothing is wrong with them."""
    files: dict[str, list[Path]] = {}
    for folder in sources:
        if not folder.is_dir():
            raise InputError(f"{folder}: expected a folder of result files, found none")
        if target_dir.exists() and folder.samefile(target_dir):
            raise InputError(f"{folder}: source and target must be different folders")
        for path in sorted(folder.glob("*.txt")):
            files.setdefault(path.name, []).append(path)
    if not files:
        raise InputError(f"no result files (*.txt) in {', '.join(map(str, sources))}")
    thresholds = iou_threshold if isinstance(iou_threshold, Mapping) else {"default": iou_threshold}
    classes = {name: class_of(name) for name in files}
    unknown = sorted(set(thresholds) - set(classes.values()) - {"default"})
    if unknown:
        raise InputError(
            f"threshold for {', '.join(unknown)}, but there are result files of "
            f"{', '.join(classes.values())} only"
        )
    for name, threshold in thresholds.items():
        if not 0 <= threshold <= 1:
            raise InputError(f"IoU threshold {threshold} of {name} is not in [0, 1]")
    default = thresholds.get("default", IOU_THRESHOLD)
    return [
        (tuple(paths), target_dir / name, thresholds.get(classes[name], default))
        for name, paths in files.items()
    ]


def class_of(result_file: Path | str) -> str:
    """Class name of a result file: ``Task1_small-vehicle.txt`` -> ``small-vehicle``."""
    stem = Path(result_file).stem
    return stem.removeprefix("Task1_").removeprefix("Task2_")


def _coordinates(sources: Sequence[Path | str]) -> int:
    """Coordinates a line, the same in all files: 8 or 4."""
    found = {path: result_coordinates(path) for path in sources}
    known = {path: count for path, count in found.items() if count is not None}
    if len(set(known.values())) > 1:
        text = ", ".join(f"{path} {count}" for path, count in known.items())
        raise InputError(f"files to join hold different numbers of coordinates: {text}")
    return next(iter(known.values()), 8)


@dataclass(frozen=True)
class _Part:
    """Detections of whole images, in the order of input.

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

    def rows(self, rows: np.ndarray) -> _Part:
        return _Part(self.names, self.images[rows], self.scores[rows], self.corners[rows])


def _whole_images(
    blocks: Iterable[ResultBlock], image_ids: list[str], patches: bool, rows_in_memory: int
) -> Iterator[_Part]:
    """Detections moved to their whole images, all of an image in the same part.

    ``image_ids`` are what the blocks' numbers stand for; the list may grow while they come.

    Images come in the order of their first appearance. Up to ``rows_in_memory`` detections are
    gathered; if there are more they go to a temporary file, and come back some images at a time.
    """
    places = _Places(image_ids, patches)
    gathered: list[np.ndarray] = []
    images: list[np.ndarray] = []
    rows = 0
    with tempfile.TemporaryFile() as spill:
        for block in blocks:
            image, moved = places.move(block)
            images.append(image)
            gathered.append(moved)
            rows += len(moved)
            if rows > rows_in_memory:
                for values in gathered:
                    values.tofile(spill)
                gathered.clear()
        if not rows:
            return
        images = np.concatenate(images)
        if rows <= rows_in_memory:
            yield _part(places.names, images, np.concatenate(gathered))
            return
        spill.flush()
        values = np.memmap(spill, np.float64, "r", shape=(rows, 9))
        order = np.argsort(images, kind="stable")
        count = np.bincount(images, minlength=len(places.names))
        for start, stop in _batches(count, rows_in_memory):
            batch = order[start:stop]
            yield _part(places.names, images[batch], values[batch])


def _part(names: list[str], images: np.ndarray, values: np.ndarray) -> _Part:
    return _Part(names, images, values[:, 0], values[:, 1:].reshape(-1, 4, 2))


def _batches(count: np.ndarray, limit: int) -> Iterator[tuple[int, int]]:
    """Cut a row of images into runs of about ``limit`` detections, never within an image."""
    ends = np.cumsum(count)
    done = 0
    while done < ends[-1]:
        fitting = ends[np.searchsorted(ends, done + limit, "right") - 1]
        # An image that is larger than the limit comes alone.
        stop = int(fitting if fitting > done else ends[np.searchsorted(ends, done, "right")])
        yield done, stop
        done = stop


class _Places:
    """Where patches lie, read from each different id once."""

    def __init__(self, image_ids: list[str], patches: bool) -> None:
        self._image_ids, self._patches = image_ids, patches
        self.names: list[str] = []
        self._image: dict[str, int] = {}
        # [P, 4] for each patch: number of its image, rate, x, y.
        self._table = np.zeros((0, 4))

    def move(self, block: ResultBlock) -> tuple[np.ndarray, np.ndarray]:
        """Image numbers ``[N]`` and rows ``[N, 9]``: score and corners in the whole image."""
        new = [self._place(image_id) for image_id in self._image_ids[len(self._table) :]]
        if new:
            self._table = np.concatenate([self._table, new])
        image, rate, x, y = self._table[block.images].T
        rows = np.empty((len(image), 9))
        rows[:, 0] = block.scores
        rows[:, 1::2] = (block.corners[:, :, 0] + x[:, None]) / rate[:, None]
        rows[:, 2::2] = (block.corners[:, :, 1] + y[:, None]) / rate[:, None]
        return image.astype(np.int32), rows

    def _place(self, image_id: str) -> tuple[int, float, int, int]:
        patch = parse_patch_id(image_id) if self._patches else None
        name = image_id if patch is None else patch.name
        image = self._image.setdefault(name, len(self.names))
        if image == len(self.names):
            self.names.append(name)
        return (image, 1.0, 0, 0) if patch is None else (image, patch.rate, patch.x, patch.y)


def _suppress(part: _Part, iou_threshold: float, kind: str | Suppression) -> np.ndarray:
    """Rows that stay, image after image, by falling score."""
    if callable(kind):
        return kind(part.images, part.scores, part.corners, iou_threshold)
    if kind == "polygon":
        keep = polygon_nms(part.corners, part.scores, iou_threshold, part.images)
    else:
        rectangles = bounding_rectangles(part.corners)
        keep = rectangle_nms(rectangles, part.scores, iou_threshold, part.images, inclusive=True)
    return keep[np.argsort(part.images[keep], kind="stable")]


def _lines(part: _Part, coordinates: int) -> Iterator[str]:
    """The text of a result file, some thousand lines at a time."""
    names = np.array([*part.names, ""], object)[:-1]
    for start in range(0, len(part.scores), LINES_AT_ONCE):
        rows = slice(start, start + LINES_AT_ONCE)
        corners = part.corners[rows].reshape(-1, 8)
        if coordinates == 4:
            corners = corners[:, [0, 1, 4, 5]]
        texts = np.empty((len(corners), 2 + coordinates), object)
        texts[:, 0] = names[part.images[rows]]
        texts[:, 1:] = float_texts(np.column_stack([part.scores[rows], corners]))
        yield joined_lines(texts)
