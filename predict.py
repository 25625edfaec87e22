"""Detections in images of any size, on disk: windows, batches, one merged result.

The order of things: the images are surveyed (headers alone), every window of each is planned,
the windows are put into batches, batches are read, detected and noted in a journal, and what the
journal holds is merged image by image and written. The plan depends on images, model and settings
alone, so that a run that was killed goes on where it was, and processes that share the work
(`Shard`) come to the same result as one.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from tqdm import tqdm

from DOTA_devkit import interrupts
from DOTA_devkit.errors import InputError
from DOTA_devkit.tables import format_table
from journal import (
    COLUMNS,
    CORNERS,
    CUT,
    LABEL,
    PLACE,
    SCORE,
    BatchResult,
    Journal,
    progress_folder,
)
from prediction_files import FORMATS, Predicted, refuse_to_replace, write_files
from sources import Reader, Source, content_digest, find_sources, survey
from structures.detections import Detections
from structures.letterbox import Letterbox
from tiling import Tiling, Window, in_source, merge, plan_windows, whole_window

log = logging.getLogger(__name__)

Item = TypeVar("Item")

FITS = 4 / 3
"""Without a tile or a scale asked for, an image goes in as a whole where it is at most so many
times as long as the network's input: `test` and `eval` do so, and it loses little."""

OVERLAP = 100
"""Of two windows, in input pixels."""

WHOLE = 0
"""A `tile` that is the image."""

TOLD = 20
"""Images that are left out, of which each has a line of its own."""

RUNS = 8
"""Of neighbouring batches that a process of several gets, where there are so many."""

AHEAD = 1
"""Batches that are read while the network works."""


class Detects(Protocol):
    """What is asked of a detector; `detector.Detector` is one."""

    classes: tuple[str, ...]
    conf_thresh: float
    nms_thresh: float
    input_hw: tuple[int, int]
    fixed_hw: bool

    def detect_inputs(self, images: Sequence[np.ndarray]) -> list[Detections]: ...

    def letterbox(self, size_wh: tuple[int, int]) -> Letterbox: ...


@dataclass(frozen=True)
class Shard:
    """This process's part of the work: it is number `index` (from 0) of `count`."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise InputError(
                f"--shard {self.index}/{self.count}: expected i/n with i from 0 to n - 1, such as "
                "0/2 on one machine and 1/2 on another"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal()):
            raise InputError(f"--shard {text}: expected i/n, such as 0/2 and 1/2")
        return cls(int(index), int(count))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Shard:
        """The rank and world size that torchrun sets, else all the work."""
        rank, size = environment.get("RANK", ""), environment.get("WORLD_SIZE", "")
        return cls(int(rank), int(size)) if rank.isdecimal() and size.isdecimal() else cls()

    def part_of(self, batches: int) -> list[int]:
        """Numbers of the batches that are this process's.

        Batches are dealt out in runs of neighbours: long ones, as processes that have windows of
        one image must each decode it, but several to each, as windows without data take no time.
        """
        run = -(-batches // (RUNS * self.count))
        return [number for number in range(batches) if number // run % self.count == self.index]

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def device_of_rank(
    device: torch.device, devices: int, environment: Mapping[str, str] = os.environ
) -> torch.device:
    """The GPU that a process of torchrun takes where `cuda` is asked for without an index.

    It is the one of its rank on this machine, which torchrun sets; where there are fewer `devices`
    than processes, they share them.
    """
    rank = environment.get("LOCAL_RANK", "")
    if device.type != "cuda" or device.index is not None or not rank.isdecimal():
        return device
    return torch.device("cuda", int(rank) % max(devices, 1))


@dataclass(frozen=True)
class PredictSettings:
    """How images are gone over.

    tile: side of a window in input pixels, `WHOLE` for the image; None for the network's input
        size, but whole images where they fit (see `FITS`) and no scale is asked for.
    overlap: of two windows, in input pixels; None for 100, or a sixth of the window where that
        is less.
    scales: input pixels a source pixel; None for 1.
    gsd: metres a pixel that the model was trained at: images with coordinates are rescaled to it.
    """

    tile: int | None = None
    overlap: int | None = None
    scales: tuple[float, ...] | None = None
    gsd: float | None = None
    batch_size: int = 8
    formats: tuple[str, ...] = FORMATS
    shard: Shard = field(default_factory=Shard)


@dataclass(frozen=True)
class Prediction:
    """What came out of a run; `images` is empty where other shards have work left, or have written
    the results.

    faults: path -> why an image was left out. missing: batches that other shards have to do.
    """

    images: list[Predicted]
    faults: dict[str, str]
    windows: int
    without_data: int
    missing: int
    seconds: float
    written_elsewhere: bool = False

    def table(self, names: Sequence[str]) -> str:
        """Objects, images and scores of each class, and of all."""
        rows = [("class", "objects", "images", "mean score")]
        labels = [one.detections.labels for one in self.images]
        scores = np.concatenate([np.zeros(0), *(one.detections.scores for one in self.images)])
        together = np.concatenate([np.zeros(0, int), *labels])
        for label, name in enumerate(names):
            own = together == label
            holding = sum(bool((one == label).any()) for one in labels)
            rows.append((name, int(own.sum()), holding, _mean(scores[own])))
        holding = sum(len(one) > 0 for one in labels)
        rows.append(("all", len(together), f"{holding} of {len(self.images)}", _mean(scores)))
        return format_table(rows)


class Job(NamedTuple):
    """A window of a source."""

    source: int
    window: Window


def predict(
    detector: Detects,
    spec: Sequence[str | Path],
    settings: PredictSettings,
    output: Path,
    model: Mapping[str, Any] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Prediction:
    """Detect in the images that `spec` names (see `sources.find_sources`) and write the results.

    model: what tells this model's results from another's, as plain values, for going on with a
        killed run.
    about: more about the model for the JSON file.

    Raises:
        InputError: nothing to read, not one image that can be read, settings that do not fit the
            model, or no room on the disk.
    """
    begin = time.perf_counter()
    paths = find_sources(spec)
    sources, faults = survey(paths)
    jobs, unfit = plan(sources, detector, settings)
    faults |= unfit
    tell_of_faults(list(faults.values()))
    if not jobs:
        raise _nothing_to_use(faults)
    refuse_to_replace(paths, sources, settings.formats, output)
    batches = into_batches(jobs, settings.batch_size)
    shard, own = settings.shard, settings.shard.part_of(len(batches))
    work = _work(sources, jobs, detector, settings, model or {})
    progress = progress_folder(output, work)
    images: list[Predicted] = []
    without_data = 0
    missing = 0
    elsewhere = False
    if not own and not progress.is_dir():
        log.info("nothing is left for this process: there are %d batches", len(batches))
        return Prediction(images, faults, len(jobs), 0, 0, time.perf_counter() - begin, True)
    try:
        with Journal(progress, f"shard-{shard.index}-of-{shard.count}") as journal:
            unread = run_batches(detector, sources, batches, journal, own)
        faults |= {str(sources[number].path): text for number, text in unread.items()}
        results = journal.latest()
        missing = len(batches) - len(results)
        if not missing:
            parts, unread, without_data = collect(results, batches, detector.classes)
            results.clear()  # for the memory
            others = {str(sources[number].path): text for number, text in unread.items()}
            tell_of_faults([text for path, text in others.items() if path not in faults])
            faults |= others
            if not parts:
                journal.remove()
                raise _nothing_to_use(faults)
            images = [
                Predicted(sources[number], merge(found, detector.nms_thresh), len(found))
                for number, found in parts.items()
            ]
            tell_of_incomplete(images, settings)
            described = {**(about or {}), **_description(detector, settings)}
            unwritten = write_files(images, faults, described, settings.formats, output)
            for text in unwritten.values():
                log.warning("not whole: %s", text)
            faults |= unwritten
            journal.remove()
    except FileNotFoundError:
        if progress.exists():
            raise
        elsewhere = True
        log.info("another process has written the results into %s", output)
    seconds = time.perf_counter() - begin
    return Prediction(images, faults, len(jobs), without_data, missing, seconds, elsewhere)


def _nothing_to_use(faults: Mapping[str, str]) -> InputError:
    first = next(iter(faults.values()))
    return InputError(f"not one of {len(faults)} images can be used; the first: {first}")


def plan(
    sources: Sequence[Source], detector: Detects, settings: PredictSettings
) -> tuple[list[Job], dict[str, str]]:
    """Every window of every source, in order, and path -> why a source has none."""
    jobs: list[Job] = []
    faults = {}
    for number, source in enumerate(sources):
        try:
            if set(settings.formats) == {"geojson"}:
                _require_place(source, "--formats geojson alone", "name another format, too")
            scale = (1.0, 1.0) if settings.gsd is None else _ground_scale(source, settings.gsd)
        except InputError as error:
            faults[str(source.path)] = str(error)
            continue
        windows = windows_of(source.size_wh, detector, settings, scale)
        jobs += [Job(number, window) for window in windows]
    return jobs, faults


def windows_of(
    size_wh: tuple[int, int],
    detector: Detects,
    settings: PredictSettings,
    base_scale: tuple[float, float] = (1.0, 1.0),
) -> list[Window]:
    """How one image goes through the network.

    base_scale: input pixels a source pixel at scale 1, in x and y.
    """
    height, width = detector.input_hw
    free = settings.tile is None and settings.scales is None and settings.gsd is None
    if free and max(size_wh[0] / width, size_wh[1] / height) <= FITS:
        return [whole_window(detector.letterbox(size_wh))]
    tiling = tiling_of(detector, settings)
    return plan_windows(size_wh, tiling, (width, height) if detector.fixed_hw else None, base_scale)


def tiling_of(detector: Detects, settings: PredictSettings) -> Tiling:
    """How images that do not go in as a whole are cut, with what the settings leave open."""
    if settings.tile is None:
        tile_wh = detector.input_hw[::-1]
    else:
        tile_wh = None if settings.tile == WHOLE else (settings.tile, settings.tile)
    overlap = settings.overlap
    if overlap is None:
        overlap = min(OVERLAP, min(tile_wh or (0,)) // 6)
    return Tiling(tile_wh, overlap, settings.scales or (1.0,))


def _ground_scale(source: Source, gsd: float) -> tuple[float, float]:
    """Input pixels a source pixel in x and y that make a pixel `gsd` metres."""
    _require_place(source, f"--gsd {gsd:g}", "--scales rescales by a factor")
    width, height = source.size_wh
    try:
        size = source.georeference.ground_size((width / 2, height / 2))
    except InputError as error:
        raise InputError(f"{source.path}: {error}") from None
    log.info("%s: a pixel is %.3g x %.3g m on the ground", source.path, *size)
    return size[0] / gsd, size[1] / gsd


def _require_place(source: Source, asked: str, instead: str) -> None:
    if source.georeference is None:
        raise InputError(
            f"{source.path}: {asked} needs an image with coordinates (a GeoTIFF read through "
            f"rasterio), and this one has none; {instead}"
        )


def into_batches(jobs: Sequence[Job], batch_size: int) -> list[list[Job]]:
    """Jobs in their order, up to `batch_size` of one input size together."""
    batches: list[list[Job]] = []
    for job in jobs:
        last = batches[-1] if batches else []
        if last and len(last) < batch_size and last[0].window.input_wh == job.window.input_wh:
            last.append(job)
        else:
            batches.append([job])
    return batches


def run_batches(
    detector: Detects,
    sources: Sequence[Source],
    batches: Sequence[Sequence[Job]],
    journal: Journal,
    own: Sequence[int],
) -> dict[int, str]:
    """Do the batches of the numbers `own` that are not done yet, and note each in the journal.

    Shards take whole batches: the network sees the same batches as in one process, and so gives
    the same bits. Returns source number -> why its image could not be read.
    """
    done = journal.done()
    waiting = [number for number in own if not done.get(number, False)]
    windows = sum(len(batches[number]) for number in own)
    before = windows - sum(len(batches[number]) for number in waiting)
    if before:
        log.info("going on with a run that was stopped: %d of %d windows are done", before, windows)
    bar = tqdm(total=windows, initial=before, desc="predict", unit="window", disable=None)
    unread: dict[int, str] = {}
    with bar, closing(ahead(read_batches(sources, batches, waiting), AHEAD)) as reading:
        for read in reading:
            for source in read.faults.keys() - unread.keys():
                log.warning("left out: %s", read.faults[source])
            unread |= read.faults
            journal.append(detect_batch(detector, read))
            bar.update(len(batches[read.number]))
            interrupts.stop_if_pressed()
    return unread


class ReadBatch(NamedTuple):
    """A batch as the network takes it. places, windows, images: of those that hold data."""

    number: int
    places: list[int]
    windows: list[Window]
    images: list[np.ndarray]
    without_data: int
    faults: dict[int, str]


def read_batches(
    sources: Sequence[Source], batches: Sequence[Sequence[Job]], numbers: Iterable[int]
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
                            log.info("%s: %s", sources[source].path, reader.stretch)
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


def detect_batch(detector: Detects, read: ReadBatch) -> BatchResult:
    """What the journal keeps of a batch: what counts in each window, in source pixels."""
    rows = [np.zeros((0, COLUMNS), np.float32)]
    incomplete = []
    found = detector.detect_inputs(read.images) if read.images else []
    for place, window, detections in zip(read.places, read.windows, found, strict=True):
        own, cut = in_source(detections, window)
        part = np.empty((len(own), COLUMNS), np.float32)
        part[:, PLACE], part[:, LABEL], part[:, CUT] = place, own.labels, cut
        part[:, SCORE], part[:, CORNERS] = own.scores, own.corners.reshape(-1, 8)
        rows.append(part)
        if not detections.complete:
            incomplete.append(place)
    rows = np.concatenate(rows)
    return BatchResult(read.number, rows, read.without_data, read.faults, tuple(incomplete))


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


def collect(
    results: Mapping[int, BatchResult], batches: Sequence[Sequence[Job]], names: tuple[str, ...]
) -> tuple[dict[int, list[tuple[Detections, np.ndarray]]], dict[int, str], int]:
    """What the results of all batches, by their numbers, come to.

    Returns source -> the detections of its windows in their order, and which of them may be cut;
    source -> why it could not be read, which has no entry in the first; windows without data.
    """
    parts: dict[int, list[tuple[Detections, np.ndarray]]] = defaultdict(list)
    unread: dict[int, str] = {}
    for number in sorted(results):
        result = results[number]
        unread |= result.faults
        for place, job in enumerate(batches[number]):
            rows = result.rows[result.rows[:, PLACE] == place]
            found = Detections(
                rows[:, CORNERS].reshape(-1, 4, 2),
                rows[:, SCORE],
                rows[:, LABEL].astype(np.int64),
                names,
                place not in result.incomplete,
            )
            parts[job.source].append((found, rows[:, CUT] > 0))
    for source in unread:
        parts.pop(source, None)
    return parts, unread, sum(result.without_data for result in results.values())


def tell_of_faults(faults: Sequence[str]) -> None:
    """Warn of images that are left out; where one reason meets a whole folder, not of each."""
    for text in faults[:TOLD]:
        log.warning("left out: %s", text)
    if len(faults) > TOLD:
        log.warning(
            "left out: %d more; detections.json lists all where it is written", len(faults) - TOLD
        )


def tell_of_incomplete(images: Sequence[Predicted], settings: PredictSettings) -> None:
    """Warn of images that may hold more than the decoder lets through."""
    full = [one.source.path for one in images if not one.detections.complete]
    if full:
        log.warning(
            "%s%s: all --K detections of a window were taken, and there may be more, less sure "
            "ones: raise --K (an exported file has its own: export it again)%s",
            full[0],
            f" and {len(full) - 1} more images" if len(full) > 1 else "",
            ", or cut the image into windows (--tile)" if settings.tile == WHOLE else "",
        )  # fmt: skip


def _work(
    sources: Sequence[Source],
    jobs: Sequence[Job],
    detector: Detects,
    settings: PredictSettings,
    model: Mapping[str, Any],
) -> dict[str, Any]:
    """What decides what the batches are and hold; no paths, as machines may name them otherwise."""
    chosen = asdict(settings)
    return {
        "version": 4,
        "sources": [
            [source.image_id, *source.size_wh, content_digest(source.path)] for source in sources
        ],
        "jobs": len(jobs),
        "model": dict(model),
        "classes": list(detector.classes),
        "input_hw": list(detector.input_hw),
        "conf_thresh": detector.conf_thresh,
        "nms_thresh": detector.nms_thresh,
        **{name: chosen[name] for name in ("tile", "overlap", "scales", "gsd", "batch_size")},
    }


def _description(detector: Detects, settings: PredictSettings) -> dict[str, Any]:
    """What the JSON file says of the run, with the values that were used."""
    tiling = tiling_of(detector, settings)
    return {
        "classes": list(detector.classes),
        "conf_thresh": detector.conf_thresh,
        "nms_thresh": detector.nms_thresh,
        "tile": tiling.tile_wh,
        "overlap": tiling.overlap,
        "scales": tiling.scales,
        "gsd": settings.gsd,
    }


def _mean(scores: np.ndarray) -> str:
    return f"{scores.mean():.3f}" if len(scores) else "-"
