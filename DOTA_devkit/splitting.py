"""Cut large images and their labels into patches ``NAME__RATE__X___Y``.

The rules are those of the DOTA devkit. An image is resized by the rate and cut into windows of
``size`` at a stride of ``size - gap``; the last one of a row is moved back to the border. An
object wholly inside a window stays as it is. Of one that the border cuts, the part inside stays
if it has four corners, or five of which the shortest edge becomes its midpoint; it begins at
the corner that fits the label's order best. Where a share of 0.7 or less is left, its difficulty
becomes 2.

A patch is written beside its place and renamed, its image last. A split that was killed goes on
where it was: what is there is not done again.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
import warnings
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.formats import Labels, read_labels
from DOTA_devkit.images import find_images, image_size_wh, read_image
from DOTA_devkit.patches import PatchId
from DOTA_devkit.polygon import bounding_rectangles
from DOTA_devkit.progress import progress
from DOTA_devkit.text_table import float_texts

log = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

# Left part of an object that counts as cut off, as difficulty.
CUT_OFF = 2

# TIFFs of more pixels than this are read window by window, where rasterio is installed.
LARGE_PIXELS = 50_000_000

# Objects x windows looked at together when labels are cut.
PAIRS_AT_ONCE = 1 << 20

# Remembers how a folder was split, so that another size is not mixed into it.
STATE_FILE = ".split.json"


@dataclass(frozen=True)
class SplitOptions:
    """How to cut.

    Attributes:
        size: side of a patch, pixels.
        gap: overlap of neighbours, pixels.
        rates: factors by which each image is resized before it is cut.
        min_share: an object of which no more than this share is left becomes difficult.
        fit_order: begin a cut object at the corner that fits its label's order best.
        keep_empty: share of the patches without objects that is kept, 0 to 1; which ones is
            settled by their names and the seed.
        seed: another seed keeps other empty patches.
        suffix: one of `SUFFIXES`.
        pad: fill patches of small images up to ``size`` with black, right and below.
        jpeg_quality: 0 to 100.
    """

    size: int = 600
    gap: int = 100
    rates: tuple[float, ...] = (1.0,)
    min_share: float = 0.7
    fit_order: bool = True
    keep_empty: float = 1.0
    seed: int = 0
    suffix: str = ".png"
    pad: bool = False
    jpeg_quality: int = 95

    def at_rates(self, *rates: float) -> SplitOptions:
        """The same at other rates."""
        return replace(self, rates=rates)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"patch size must be 1 or more, came {self.size}")
        if not 0 <= self.gap < self.size:
            raise InputError(f"gap must be in [0, size), here [0, {self.size}), came {self.gap}")
        if not self.rates or not all(0 < rate <= 16 for rate in self.rates):
            raise InputError(f"rates must be above 0 and at most 16, came {self.rates}")
        if not 0 <= self.keep_empty <= 1:
            raise InputError(f"share of empty patches must be in [0, 1], came {self.keep_empty}")
        if self.suffix.lower() not in SUFFIXES:
            raise InputError(f"patches are written as {', '.join(SUFFIXES)}, not {self.suffix!r}")


@dataclass(frozen=True)
class SplitSummary:
    """What a split did.

    Attributes:
        images: source images.
        patch_ids: the patches of the whole split, in the order of the lists.
        written: how many of them were made now.
        present: how many were there from an earlier run.
        empty_dropped: patches without objects that were left out.
        objects: label lines of all patches.
        objects_lost: cut objects whose part inside has too few or too many corners.
    """

    images: int
    patch_ids: tuple[str, ...]
    written: int
    present: int
    empty_dropped: int
    objects: int
    objects_lost: int


def split_folder(
    data_dir: Path | str,
    output_dir: Path | str,
    options: SplitOptions | None = None,
    *,
    list_name: str = "trainval.txt",
    workers: int | None = None,
    overwrite: bool = False,
) -> SplitSummary:
    """Split ``images/`` and ``labelTxt/`` of a folder into those of another, and list them.

    Writes ``list_name`` with the ids of all patches and ``images.txt`` with their file names.

    Args:
        data_dir, output_dir: folders of that layout.
        options: how to cut.
        list_name: name of the list of ids.
        workers: threads; None: one for each core.
        overwrite: make patches that are there again, whatever made them.

    Raises:
        InputError: an image without label file, a label or image that can't be understood, or
            an output folder that holds something else.
    """
    data_dir, output_dir = Path(data_dir), Path(output_dir)
    return split_images(
        find_images(data_dir / "images"),
        output_dir / "images",
        options,
        label_dir=data_dir / "labelTxt",
        output_label_dir=output_dir / "labelTxt",
        list_dir=output_dir,
        list_name=list_name,
        workers=workers,
        overwrite=overwrite,
    )


def split_images(
    images: dict[str, Path],
    output_dir: Path | str,
    options: SplitOptions | None = None,
    *,
    label_dir: Path | str | None = None,
    output_label_dir: Path | str | None = None,
    list_dir: Path | str | None = None,
    list_name: str = "test.txt",
    workers: int | None = None,
    overwrite: bool = False,
    open_image: Callable[[Path], Source] | None = None,
) -> SplitSummary:
    """Split images, with their labels or alone.

    Args:
        images: image id -> file; see `DOTA_devkit.images.find_images`.
        output_dir: folder of the patches' images.
        options: how to cut.
        label_dir: folder of ``ID.txt`` for each image; None: images alone.
        output_label_dir: folder of the patches' labels; needed with ``label_dir``.
        list_dir: where to write ``list_name`` (ids) and ``images.txt`` (file names); None: none.
        list_name: name of the list of ids.
        workers: threads; None: one for each core. They share the patches of one image, so that
            a single large one keeps them all busy.
        overwrite: make patches that are there again, whatever made them.
        open_image: opens an image file; None: `open_source`.

    Raises:
        InputError: see `split_folder`.
    """
    options = options or SplitOptions()
    open_image = open_image or open_source
    output_dir = Path(output_dir)
    if (label_dir is None) != (output_label_dir is None):
        raise ValueError("label_dir and output_label_dir go together")
    labels = None
    if label_dir is not None:
        label_dir, output_label_dir = Path(label_dir), Path(output_label_dir)
        _check_label_files(images, label_dir)
        output_label_dir.mkdir(parents=True, exist_ok=True)
        labels = output_label_dir
    output_dir.mkdir(parents=True, exist_ok=True)
    _claim(output_dir, options, label_dir is not None, overwrite)
    tally = _Tally()
    with _Writer(output_dir, labels, options, workers, overwrite) as writer:
        for image_id, path in progress(images.items(), "splitting"):
            objects = None if label_dir is None else read_labels(label_dir / f"{image_id}.txt")
            with closing(open_image(path)) as source:
                _split_one(image_id, source, objects, options, writer, tally)
                if source.read_late:
                    writer.finish()
    if list_dir is not None:
        _write_lists(Path(list_dir), list_name, tally.patch_ids, options.suffix)
    if tally.lost:
        log.info("%d cut objects have no four corners left and were dropped", tally.lost)
    return SplitSummary(
        images=len(images),
        patch_ids=tuple(tally.patch_ids),
        written=writer.written,
        present=writer.present,
        empty_dropped=tally.empty_dropped,
        objects=tally.objects,
        objects_lost=tally.lost,
    )


def windows(size_wh: tuple[int, int], size: int, gap: int) -> list[tuple[int, int]]:
    """Left upper corners (x, y) of the windows on an image, column by column."""
    columns, rows = (_starts(length, size, size - gap) for length in size_wh)
    return [(x, y) for x in columns for y in rows]


def resized_wh(size_wh: tuple[int, int], rate: float) -> tuple[int, int]:
    """Size of an image resized by a rate: rounded, halves to the even number, at least 1."""
    width, height = size_wh
    return max(round(width * rate), 1), max(round(height * rate), 1)


def _starts(length: int, size: int, stride: int) -> list[int]:
    last = max(length - size, 0)
    return [*range(0, last, stride), last]


@dataclass
class _Tally:
    """Counts that grow with the images."""

    patch_ids: list[str] = field(default_factory=list)
    empty_dropped: int = 0
    objects: int = 0
    lost: int = 0


def _split_one(
    image_id: str,
    source: Source,
    labels: Labels | None,
    options: SplitOptions,
    writer: _Writer,
    tally: _Tally,
) -> None:
    for rate in options.rates:
        rate_wh = resized_wh(source.size_wh, rate)
        cutter = None if labels is None else LabelCutter(labels, rate, rate_wh, options)
        places = windows(rate_wh, options.size, options.gap)
        labelled = [None] * len(places) if cutter is None else cutter.lines(places)
        jobs = []
        for (x, y), lines in zip(places, labelled, strict=True):
            patch_id = str(PatchId(image_id, rate, x, y))
            if lines is not None and not lines and not _keeps_empty(patch_id, options):
                tally.empty_dropped += 1
                continue
            tally.patch_ids.append(patch_id)
            tally.objects += len(lines or ())
            jobs.append((patch_id, x, y, lines))
        if cutter is not None:
            tally.lost += cutter.lost
        writer.write(source, rate, jobs)


def _keeps_empty(patch_id: str, options: SplitOptions) -> bool:
    if options.keep_empty >= 1:
        return True
    draw = zlib.crc32(f"{options.seed} {patch_id}".encode()) / 2**32
    return draw < options.keep_empty


class LabelCutter:
    """The labels of one image, resized, ready to be cut by windows.

    Attributes:
        lost: cut objects dropped so far, as their part inside has no four corners.
    """

    def __init__(
        self, labels: Labels, rate: float, size_wh: tuple[int, int], options: SplitOptions
    ) -> None:
        self._options = options
        self._size_wh = size_wh
        self.lost = 0
        # The original reads whole pixels. No -0.0, which would be written so.
        self._corners = np.trunc(labels.corners) * rate + 0.0
        names, difficult = labels.names, labels.difficult.tolist()
        self._tails = _objects(f" {name} {d}" for name, d in zip(names, difficult, strict=True))
        self._cut_tails = _objects(f" {name} {CUT_OFF}" for name in names)
        self._rectangles = bounding_rectangles(self._corners)
        self._flat = self._areas <= 0

    @cached_property
    def _polygons(self) -> np.ndarray:
        import shapely

        polygons = shapely.polygons(self._corners)
        valid = shapely.is_valid(polygons)
        polygons[~valid] = shapely.make_valid(polygons[~valid])
        return polygons

    @cached_property
    def _areas(self) -> np.ndarray:
        import shapely

        return shapely.area(self._polygons)

    def lines(self, windows: Sequence[tuple[int, int]]) -> list[list[str]]:
        """Label lines of each window (x, y), in the order of the labels."""
        together = max(PAIRS_AT_ONCE // max(len(self._flat), 1), 1)
        return [
            lines
            for start in range(0, len(windows), together)
            for lines in self._lines(np.array(windows[start : start + together]))
        ]

    def _lines(self, windows: np.ndarray) -> list[list[str]]:
        size = self._options.size
        # The far border of the devkit: one short of the image's.
        ends = np.minimum(windows + size, np.array(self._size_wh) - 1)
        low, high = self._rectangles[:, :2], self._rectangles[:, 2:]
        meets = ((high > windows[:, None]) & (low < ends[:, None])).all(axis=2) & ~self._flat
        window, row = np.nonzero(meets)
        start, end = windows[window], ends[window]
        inside = ((low[row] >= start) & (high[row] <= end)).all(axis=1)
        texts = np.full(len(row), None, object)
        whole = np.flatnonzero(inside)
        values = np.trunc(self._corners[row[whole]] - start[whole, None])
        texts[whole] = _texts(values, self._tails[row[whole]])
        cut, corners, share = self._cut(np.flatnonzero(~inside), row, start, end)
        values = np.trunc(corners - start[cut, None]).clip(1, size)
        enough = share > self._options.min_share
        tails = np.where(enough, self._tails[row[cut]], self._cut_tails[row[cut]])
        texts[cut] = _texts(values, tails)
        bounds = np.searchsorted(window, np.arange(len(windows) + 1)).tolist()
        return [
            [text for text in texts[first:last] if text is not None]
            for first, last in pairwise(bounds)
        ]

    def _cut(
        self, which: np.ndarray, row: np.ndarray, start: np.ndarray, end: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cut objects by windows.

        Args:
            which: the pairs of object and window to look at.
            row, start, end: object, first and last corner of the window, of every pair.

        Returns:
            Those of the pairs that stay, corners ``[N, 4, 2]`` and share left of each.
        """
        import shapely

        windows = shapely.box(*start[which].T, *end[which].T)
        parts = shapely.intersection(self._polygons[row[which]], windows)
        share = shapely.area(parts) / self._areas[row[which]]
        some = share > 0
        which, parts, share = which[some], parts[some], share[some]
        count = shapely.get_num_coordinates(parts) - 1
        single = (shapely.get_type_id(parts) == 3) & (shapely.get_num_interior_rings(parts) == 0)
        usable = single & ((count == 4) | (count == 5))
        self.lost += int(np.sum(~usable))
        which, parts, share, count = which[usable], parts[usable], share[usable], count[usable]
        corners = np.empty((len(which), 4, 2))
        for sides in (4, 5):
            these = np.flatnonzero(count == sides)
            rings = shapely.get_coordinates(parts[these]).reshape(-1, sides + 1, 2)
            rings = _counter_clockwise(rings)[:, :-1]
            corners[these] = rings if sides == 4 else _five_to_four(rings)
        if self._options.fit_order:
            corners = _fit_order(corners, self._corners[row[which]])
        return which, corners, share


def _objects(items: Iterable[str]) -> np.ndarray:
    items = list(items)
    array = np.empty(len(items), object)
    array[:] = items
    return array


def _texts(corners: np.ndarray, tails: np.ndarray) -> list[str]:
    rows = float_texts(corners.reshape(-1, 8)).tolist()
    return [" ".join(row) + tail for row, tail in zip(rows, tails.tolist(), strict=True)]


def _counter_clockwise(rings: np.ndarray) -> np.ndarray:
    """Turn closed rings ``[N, V, 2]`` so that their area is positive with y up."""
    x, y = (rings - rings[:, :1]).transpose(2, 0, 1)
    area = (x[:, :-1] * y[:, 1:] - x[:, 1:] * y[:, :-1]).sum(axis=1)
    return np.where((area < 0)[:, None, None], rings[:, ::-1], rings)


def _five_to_four(corners: np.ndarray) -> np.ndarray:
    """Replace the shortest edge of pentagons ``[N, 5, 2]`` by its midpoint."""
    following = np.roll(corners, -1, axis=1)
    shortest = np.hypot(*(following - corners).transpose(2, 0, 1)).argmin(axis=1)
    merged = corners.copy()
    row = np.arange(len(corners))
    merged[row, shortest] = (corners[row, shortest] + following[row, shortest]) / 2
    stays = np.ones(corners.shape[:2], bool)
    stays[row, (shortest + 1) % 5] = False
    return merged[stays].reshape(-1, 4, 2)


def _fit_order(corners: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Begin each polygon ``[N, 4, 2]`` so that its corners lie nearest to the target's."""
    turned = np.stack([np.roll(corners, -k, axis=1) for k in range(4)])
    distance = ((turned - target) ** 2).sum(axis=(2, 3))
    return turned[distance.argmin(axis=0), np.arange(len(corners))]


class Source(Protocol):
    """An image that patches are read from.

    Attributes:
        size_wh: width and height, pixels.
        read_late: patches are read from the file, which must stay open until they are.
    """

    size_wh: tuple[int, int]
    read_late: bool

    def reader(self, rate: float) -> PatchReader:
        """What reads patches of the image resized by the rate, from any thread."""

    def close(self) -> None:
        """Let go of the file."""


PatchReader = Callable[[int, int, int], np.ndarray]
"""(x, y, size) -> patch ``[h, w, 3]``, BGR, 8 bits; smaller than ``size`` at the border."""


def open_source(path: Path | str) -> Source:
    """An image to be cut; a large TIFF is read by windows where rasterio is installed."""
    path = Path(path)
    if path.suffix.lower() in (".tif", ".tiff"):
        try:
            return WindowedTiff(path)
        except ImportError:
            log.debug("rasterio is not installed: %s is read as a whole", path)
        except _NotWindowed as reason:
            log.debug("%s is read as a whole: %s", path, reason)
    return WholeImage(path)


class WholeImage:
    """An image that is decoded as a whole when a patch is first needed."""

    read_late = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size_wh = image_size_wh(path)

    @cached_property
    def _image(self) -> np.ndarray:
        return read_image(self._path)

    def reader(self, rate: float) -> PatchReader:
        image = _resized(self._image, rate)

        def read(x: int, y: int, size: int) -> np.ndarray:
            return image[y : y + size, x : x + size]

        return read

    def close(self) -> None:
        self.__dict__.pop("_image", None)


class _NotWindowed(Exception):
    """A TIFF that is small, or of a kind that is left to OpenCV."""


class WindowedTiff:
    """A large TIFF of which each patch reads its own window only."""

    read_late = True

    # Source pixels that bicubic interpolation looks at beyond a window.
    MARGIN = 4

    def __init__(self, path: Path, large_pixels: int | None = None) -> None:
        import rasterio

        self._open = rasterio.open
        self._path = path
        # A dataset must not be shared by threads: each opens its own.
        self._local = threading.local()
        self._opened: list = []
        try:
            tiff = self._dataset()
        except rasterio.errors.RasterioIOError as error:
            raise _NotWindowed(str(error)) from None
        self.size_wh = (tiff.width, tiff.height)
        try:
            self._check(tiff, LARGE_PIXELS if large_pixels is None else large_pixels)
        except _NotWindowed:
            self.close()
            raise

    @staticmethod
    def _check(tiff, large_pixels: int) -> None:
        kinds = set(tiff.dtypes)
        if tiff.width * tiff.height < large_pixels:
            raise _NotWindowed("it is small")
        if tiff.count not in (1, 3, 4) or not kinds <= {"uint8", "uint16"}:
            raise _NotWindowed(f"it has {tiff.count} bands of {', '.join(kinds)}")
        if tiff.colorinterp[0].name == "palette":
            raise _NotWindowed("it has a palette")

    def _dataset(self):
        tiff = getattr(self._local, "tiff", None)
        if tiff is None:
            with warnings.catch_warnings():
                # That an image has no georeference is no news.
                warnings.simplefilter("ignore")
                tiff = self._local.tiff = self._open(self._path)
            self._opened.append(tiff)
        return tiff

    def reader(self, rate: float) -> PatchReader:
        return partial(self._read, rate)

    def _read(self, rate: float, x: int, y: int, size: int) -> np.ndarray:
        width, height = resized_wh(self.size_wh, rate)
        right, bottom = min(x + size, width), min(y + size, height)
        if rate == 1:
            return self._pixels(x, y, right, bottom)
        left, right_source, before_x = self._span(x, right, rate, self.size_wh[0])
        top, bottom_source, before_y = self._span(y, bottom, rate, self.size_wh[1])
        block = _resized(self._pixels(left, top, right_source, bottom_source), rate)
        before_x, before_y = x - before_x, y - before_y
        return block[before_y : before_y + bottom - y, before_x : before_x + right - x]

    def _span(self, start: int, stop: int, rate: float, length: int) -> tuple[int, int, int]:
        """Source pixels [first, last) that [start, stop) is made of, and where they begin in it.

        They begin at a multiple of the rate's denominator, which falls on a whole pixel of the
        resized image, so that the block is sampled where the whole image would be; on an even
        one, as sizes that end in a half are rounded to even ones.
        """
        step = 2 * Fraction(rate).limit_denominator(1000).denominator
        first = max(math.floor(start / rate) - self.MARGIN, 0) // step * step
        last = min(math.ceil(stop / rate) + self.MARGIN, length)
        return first, last, round(first * rate)

    def _pixels(self, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        tiff = self._dataset()
        bands = (1, 1, 1) if tiff.count == 1 else (3, 2, 1)
        pixels = tiff.read(bands, window=((top, bottom), (left, right)))
        if pixels.dtype == np.uint16:
            pixels = (pixels >> 8).astype(np.uint8)
        return np.ascontiguousarray(pixels.transpose(1, 2, 0))

    def close(self) -> None:
        for tiff in self._opened:
            tiff.close()
        self._opened.clear()
        self._local = threading.local()


def _resized(image: np.ndarray, rate: float) -> np.ndarray:
    if rate == 1:
        return image
    import cv2

    # By the factor and not by the size: the two sample at slightly different places.
    if min(image.shape[:2]) * rate > 0.5:
        return cv2.resize(image, None, fx=rate, fy=rate, interpolation=cv2.INTER_CUBIC)
    size_wh = resized_wh((image.shape[1], image.shape[0]), rate)
    return cv2.resize(image, size_wh, interpolation=cv2.INTER_CUBIC)


class _Writer:
    """Writes patches with several threads; encoding a picture takes most of the time."""

    def __init__(
        self,
        image_dir: Path,
        label_dir: Path | None,
        options: SplitOptions,
        workers: int | None,
        overwrite: bool,
    ) -> None:
        self._image_dir, self._label_dir = image_dir, label_dir
        self._options = options
        self._overwrite = overwrite
        self._pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
        self._running: list[list[Future]] = []
        self.written = self.present = 0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind, *_: object) -> None:
        try:
            if kind is None:
                self._wait(0)
        finally:
            self._pool.shutdown(cancel_futures=True)

    def write(
        self, source: Source, rate: float, jobs: list[tuple[str, int, int, list[str] | None]]
    ) -> None:
        """Start the patches (id, x, y, label lines) that are not there yet."""
        todo = [job for job in jobs if self._overwrite or not self._is_there(job[0])]
        self.present += len(jobs) - len(todo)
        self.written += len(todo)
        if not todo:
            return
        read = source.reader(rate)
        self._running.append([self._pool.submit(self._make, read, *job) for job in todo])
        # The next image is decoded while this one is written, but no more than that.
        self._wait(1)

    def finish(self) -> None:
        """Wait until nothing reads the source any more."""
        self._wait(0)

    def _wait(self, batches: int) -> None:
        while len(self._running) > batches:
            for future in self._running[0]:
                future.result()
            del self._running[0]

    def _is_there(self, patch_id: str) -> bool:
        image = self._image_dir / (patch_id + self._options.suffix)
        label = None if self._label_dir is None else self._label_dir / f"{patch_id}.txt"
        return image.exists() and (label is None or label.exists())

    def _make(
        self, read: PatchReader, patch_id: str, x: int, y: int, lines: list[str] | None
    ) -> None:
        if lines is not None:
            with replacing(self._label_dir / f"{patch_id}.txt") as file:
                file.writelines(line + "\n" for line in lines)
        patch = read(x, y, self._options.size)
        if self._options.pad and min(patch.shape[:2]) < self._options.size:
            padded = np.zeros((self._options.size, self._options.size, 3), np.uint8)
            padded[: patch.shape[0], : patch.shape[1]] = patch
            patch = padded
        with replacing(self._image_dir / (patch_id + self._options.suffix), "wb") as file:
            file.write(_encoded(patch, self._options))


def _encoded(patch: np.ndarray, options: SplitOptions) -> np.ndarray:
    import cv2

    jpeg = options.suffix.lower() in (".jpg", ".jpeg")
    settings = [cv2.IMWRITE_JPEG_QUALITY, options.jpeg_quality] if jpeg else []
    done, data = cv2.imencode(options.suffix, patch, settings)
    if not done:
        raise InputError(f"OpenCV cannot write {options.suffix} pictures")
    return data


def _check_label_files(images: dict[str, Path], label_dir: Path) -> None:
    if not label_dir.is_dir():
        raise InputError(f"{label_dir}: no such folder of labels")
    present = {path.stem for path in label_dir.glob("*.txt")}
    missing = sorted(set(images) - present)
    if missing:
        raise InputError(
            f"{len(missing)} images have no label file in {label_dir}, the first is "
            f"{missing[0]}; an image without objects needs an empty one"
        )
    folders = {path.parent for path in images.values()}
    not_chosen = {path.stem for folder in folders for path in folder.iterdir()}
    extra = sorted(present - set(images) - not_chosen)
    if extra:
        log.warning(
            "%d label files in %s have no image and are left out, the first is %s",
            len(extra), label_dir, extra[0],
        )  # fmt: skip


def _claim(output_dir: Path, options: SplitOptions, labelled: bool, overwrite: bool) -> None:
    """Note how the folder is split; refuse one that was split otherwise or holds other images."""
    # Rates may follow one after the other: a patch's name holds its own.
    state = {**asdict(replace(options, rates=(1.0,))), "labels": labelled}
    del state["rates"], state["jpeg_quality"]
    path = output_dir / STATE_FILE
    if path.exists() and not overwrite:
        try:
            before = json.loads(path.read_text("utf-8"))
        except ValueError:
            before = {}
        different = [key for key, value in state.items() if before.get(key) != value]
        if different:
            text = ", ".join(f"{key} {before.get(key)}, now {state[key]}" for key in different)
            raise InputError(
                f"{output_dir} was split otherwise ({text}); choose another folder, or overwrite"
            )
    elif not overwrite and any(output_dir.glob(f"*{options.suffix}")):
        raise InputError(
            f"{output_dir} holds images that are no part of a split; choose another folder, or "
            "overwrite"
        )
    for rest in output_dir.glob(".*.tmp"):
        rest.unlink(missing_ok=True)
    with replacing(path) as file:
        json.dump(state, file, indent=1)
        file.write("\n")


def _write_lists(folder: Path, list_name: str, patch_ids: Iterable[str], suffix: str) -> None:
    patch_ids = sorted(patch_ids)
    with replacing(folder / list_name) as file:
        file.writelines(f"{patch_id}\n" for patch_id in patch_ids)
    with replacing(folder / "images.txt") as file:
        file.writelines(f"{patch_id}{suffix}\n" for patch_id in patch_ids)
