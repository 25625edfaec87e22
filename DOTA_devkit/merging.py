"""Merge the detections of patches into detections of whole images.

A point (x, y) of patch ``NAME__RATE__X___Y`` is ((x + X) / RATE, (y + Y) / RATE) in image NAME.
Where patches overlap, an object is detected several times: greedy non-maximum suppression keeps
the best detection. Images are written in the order of their first appearance, their detections
by descending score (equal ones in input order), numbers as Python writes a float.

An id that is not one of a patch denotes a whole image, so that several results, merged or not,
can be joined to one (an ensemble).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DOTA_devkit.class_thresholds import Thresholds, thresholds_of_classes
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_names import class_of, find_result_files
from DOTA_devkit.files import replacing
from DOTA_devkit.formats import ResultBlock, Task1, iter_results, result_coordinates
from DOTA_devkit.patches import parse_patch_id
from DOTA_devkit.polygon import bounding_rectangles, polygon_nms, rectangle_nms
from DOTA_devkit.progress import progress
from DOTA_devkit.text_table import TextCodes, float_texts, joined_lines
from DOTA_devkit.whole_images import DetectionGroup, assemble_images

IOU_THRESHOLD = 0.1
"""The default threshold: an IoU above it suppresses the detection with the lower score."""

KINDS = ("polygon", "rectangle")
"""What the IoU is computed of: the oriented boxes or their axis-aligned bounding rectangles."""

Suppression = Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]
"""(image index ``[N]``, scores ``[N]``, corners ``[N, 4, 2]``, IoU threshold) -> ``[M]`` rows to
keep, image by image."""

# Detections held in memory; more are stored in a temporary file until their image is processed.
ROWS_IN_MEMORY = 1_000_000

# Lines formatted at a time.
LINES_PER_STEP = 1 << 16


def merge_results(
    source_dirs: Path | str | Sequence[Path | str],
    target_dir: Path | str,
    iou_threshold: Thresholds = IOU_THRESHOLD,
    kind: str | Suppression = "polygon",
    *,
    patches: bool = True,
    workers: int = 1,
    rows_in_memory: int = ROWS_IN_MEMORY,
) -> dict[str, tuple[int, int]]:
    """Merge all result files of a folder, or join and merge those of several folders.

    Args:
        source_dirs: folders of result files (``Task1_ship.txt``, ...), Task1 or Task2. Files with
            the same name are joined, in the order of the folders.
        target_dir: created if missing; receives files with the same names.
        iou_threshold: for all classes, or class name -> threshold; other classes use the
            threshold of "default", or else 0.1.
        kind: "polygon", or "rectangle" to compare the axis-aligned bounding rectangles of the
            detections, including the far border, as the original does for Task2. May also be a
            `Suppression` function.
        patches: interpret ids as those of patches; False: use them as they are.
        workers: number of processes; each merges one file at a time.
        rows_in_memory: number of detections each process may hold.

    Returns:
        File name -> (detections read, detections kept).

    Raises:
        InputError: there is nothing to merge, a line is malformed, a threshold is outside [0, 1]
            or is given for a class without a file, or the target is one of the sources.
    """
    if isinstance(source_dirs, (str, Path)):
        source_dirs = [source_dirs]
    sources = [Path(folder) for folder in source_dirs]
    target_dir = Path(target_dir)
    if not callable(kind) and kind not in KINDS:
        raise InputError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    jobs = [
        _Job(*job, kind, patches, rows_in_memory)
        for job in _collect_files(sources, target_dir, iou_threshold)
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
    """Merge the result files of one class into one.

    Args:
        sources: result files, all of Task1 or all of Task2.
        target: file to write.
        iou_threshold: an IoU above it suppresses the detection with the lower score.
        kind: see `merge_results`.
        patches: see `merge_results`.
        rows_in_memory: see `merge_results`.

    Returns:
        (detections read, detections kept).

    Raises:
        InputError: a line is malformed, or the files have different numbers of coordinates.
    """
    coordinates = _coordinates_per_line(sources)
    ids = TextCodes()
    blocks = (block for path in sources for block in iter_results(path, ids, coordinates))
    read = kept = 0
    with replacing(target) as file:
        for part in assemble_images(blocks, ids.texts, patches, rows_in_memory):
            read += len(part.scores)
            part = part.select(_suppress(part, iou_threshold, kind))
            kept += len(part.scores)
            file.writelines(_lines(part, coordinates))
    return read, kept


def unlabeled_patches(detections: Mapping[str, Task1], image_ids: Iterable[str]) -> list[str]:
    """Return the ids of patches of labeled images that are not labeled themselves, sorted.

    If there are any, the detections are to be merged before they are scored. Patches of which
    other images are labeled are not: the labels may be those of some patches alone.

    Args:
        detections: class name -> detections.
        image_ids: the labeled images.
    """
    labeled = set(image_ids)
    detected = {image_id for found in detections.values() for image_id in found.image_ids}
    return sorted(
        image_id
        for image_id in detected - labeled
        if (patch := parse_patch_id(image_id)) is not None and patch.name in labeled
    )


def merge_detections(
    detections: Task1,
    iou_threshold: float = IOU_THRESHOLD,
    kind: str | Suppression = "polygon",
    *,
    patches: bool = True,
) -> Task1:
    """Merge the detections of one class in memory.

    Args:
        detections: of patches or of whole images.
        iou_threshold: an IoU above it suppresses the detection with the lower score.
        kind: see `merge_results`.
        patches: see `merge_results`.

    Returns:
        The detections that are kept, in pixels of the whole images.
    """
    if not len(detections):
        return detections
    index: dict[str, int] = {}
    images = [index.setdefault(image_id, len(index)) for image_id in detections.image_ids]
    block = ResultBlock(np.array(images), detections.scores, detections.corners)
    parts = list(assemble_images([block], list(index), patches, len(detections)))
    part = parts[0].select(_suppress(parts[0], iou_threshold, kind))
    image_ids = [part.names[image] for image in part.images.tolist()]
    return Task1(image_ids, part.scores, part.corners)


def has_patch_ids(detections: Task1 | Iterable[str]) -> bool:
    """Whether any of the ids is one of a patch, so that the results are not merged yet."""
    image_ids = detections.image_ids if isinstance(detections, Task1) else detections
    return any(parse_patch_id(image_id) is not None for image_id in set(image_ids))


@dataclass(frozen=True)
class _Job:
    """The arguments of `merge_file` for one file name, to be sent to a process."""

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


def _collect_files(
    sources: Sequence[Path], target_dir: Path, iou_threshold: Thresholds
) -> list[tuple[tuple[Path, ...], Path, float]]:
    """Check the folders and thresholds; list (sources, target, threshold) per file name."""
    files: dict[str, list[Path]] = {}
    for folder in sources:
        if not folder.is_dir():
            raise InputError(
                f"{folder}: expected a folder of result files, but there is no such folder"
            )
        if target_dir.exists() and folder.samefile(target_dir):
            raise InputError(f"{folder}: source and target must be different folders")
        for path in find_result_files(folder):
            files.setdefault(path.name, []).append(path)
    if not files:
        raise InputError(f"no result files (*.txt) in {', '.join(map(str, sources))}")
    classes = {name: class_of(name) for name in files}
    thresholds = thresholds_of_classes(
        iou_threshold, tuple(classes.values()), IOU_THRESHOLD, "iou_threshold"
    )
    return [
        (tuple(paths), target_dir / name, thresholds[classes[name]])
        for name, paths in files.items()
    ]


def _coordinates_per_line(sources: Sequence[Path | str]) -> int:
    """The number of coordinates per line, 8 or 4, which must be the same in all files."""
    counts = {path: result_coordinates(path) for path in sources}
    known = {path: count for path, count in counts.items() if count is not None}
    if len(set(known.values())) > 1:
        text = ", ".join(f"{path} {count}" for path, count in known.items())
        raise InputError(f"files to join have different numbers of coordinates: {text}")
    return next(iter(known.values()), 8)


def _suppress(part: DetectionGroup, iou_threshold: float, kind: str | Suppression) -> np.ndarray:
    """Rows to keep, image by image, by descending score."""
    if callable(kind):
        return kind(part.images, part.scores, part.corners, iou_threshold)
    if kind == "polygon":
        keep = polygon_nms(part.corners, part.scores, iou_threshold, part.images)
    else:
        rectangles = bounding_rectangles(part.corners)
        keep = rectangle_nms(rectangles, part.scores, iou_threshold, part.images, inclusive=True)
    return keep[np.argsort(part.images[keep], kind="stable")]


def _lines(part: DetectionGroup, coordinates: int) -> Iterator[str]:
    """Format a result file, `LINES_PER_STEP` lines at a time."""
    names = np.array([*part.names, ""], object)[:-1]
    for start in range(0, len(part.scores), LINES_PER_STEP):
        rows = slice(start, start + LINES_PER_STEP)
        corners = part.corners[rows].reshape(-1, 8)
        if coordinates == 4:
            corners = corners[:, [0, 1, 4, 5]]
        texts = np.empty((len(corners), 2 + coordinates), object)
        texts[:, 0] = names[part.images[rows]]
        texts[:, 1:] = float_texts(np.column_stack([part.scores[rows], corners]))
        yield joined_lines(texts)
