"""Detections in images of any size, on disk: windows, batches, one merged result.

The order of things: the images are surveyed (headers alone), every window of each is planned,
the windows are put into batches, batches are read, detected and noted in a journal, and what the
journal holds is merged image by image and written. The plan depends on images, model and settings
alone, so that a run that was killed goes on where it was, and processes that share the work
(`Shard`) come to the same result as one.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from deploy.predict.journal import (
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
from deploy.predict.plan import WHOLE, WindowJob, into_batches, plan, tiling_of
from deploy.predict.reading import AHEAD, ReadBatch, ahead, read_batches
from deploy.predict.seams import merge
from deploy.predict.settings import Detects, PredictSettings
from deploy.predict.sources import ImageSource, content_digest, find_sources, survey
from deploy.predict.windows import in_source
from deploy.predict.writers import Predicted, refuse_to_replace, write_files
from DOTA_devkit import interrupts
from DOTA_devkit.errors import InputError
from DOTA_devkit.tables import format_table
from structures.detections import Detections

logger = logging.getLogger(__name__)

TOLD = 20
"""Images that are left out, of which each has a line of its own."""


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
    warn_about_skipped(list(faults.values()))
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
        logger.info("nothing is left for this process: there are %d batches", len(batches))
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
            warn_about_skipped([text for path, text in others.items() if path not in faults])
            faults |= others
            if not parts:
                journal.remove()
                raise _nothing_to_use(faults)
            images = [
                Predicted(sources[number], merge(found, detector.nms_thresh), len(found))
                for number, found in parts.items()
            ]
            warn_about_full_windows(images, settings)
            described = {**(about or {}), **_description(detector, settings)}
            unwritten = write_files(images, faults, described, settings.formats, output)
            for text in unwritten.values():
                logger.warning("not whole: %s", text)
            faults |= unwritten
            journal.remove()
    except FileNotFoundError:
        if progress.exists():
            raise
        elsewhere = True
        logger.info("another process has written the results into %s", output)
    seconds = time.perf_counter() - begin
    return Prediction(images, faults, len(jobs), without_data, missing, seconds, elsewhere)


def _nothing_to_use(faults: Mapping[str, str]) -> InputError:
    first = next(iter(faults.values()))
    return InputError(f"not one of {len(faults)} images can be used; the first: {first}")


def run_batches(
    detector: Detects,
    sources: Sequence[ImageSource],
    batches: Sequence[Sequence[WindowJob]],
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
        logger.info(
            "going on with a run that was stopped: %d of %d windows are done", before, windows
        )
    bar = tqdm(total=windows, initial=before, desc="predict", unit="window", disable=None)
    unread: dict[int, str] = {}
    with bar, closing(ahead(read_batches(sources, batches, waiting), AHEAD)) as reading:
        for read in reading:
            for source in read.faults.keys() - unread.keys():
                logger.warning("left out: %s", read.faults[source])
            unread |= read.faults
            journal.append(detect_batch(detector, read))
            bar.update(len(batches[read.number]))
            interrupts.stop_if_pressed()
    return unread


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


def collect(
    results: Mapping[int, BatchResult],
    batches: Sequence[Sequence[WindowJob]],
    names: tuple[str, ...],
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


def warn_about_skipped(faults: Sequence[str]) -> None:
    """Warn of images that are left out; where one reason meets a whole folder, not of each."""
    for text in faults[:TOLD]:
        logger.warning("left out: %s", text)
    if len(faults) > TOLD:
        logger.warning(
            "left out: %d more; detections.json lists all where it is written", len(faults) - TOLD
        )


def warn_about_full_windows(images: Sequence[Predicted], settings: PredictSettings) -> None:
    """Warn of images that may hold more than the decoder lets through."""
    full = [one.source.path for one in images if not one.detections.complete]
    if full:
        logger.warning(
            "%s%s: all --K detections of a window were taken, and there may be more, less sure "
            "ones: raise --K (an exported file has its own: export it again)%s",
            full[0],
            f" and {len(full) - 1} more images" if len(full) > 1 else "",
            ", or cut the image into windows (--tile)" if settings.tile == WHOLE else "",
        )  # fmt: skip


def _work(
    sources: Sequence[ImageSource],
    jobs: Sequence[WindowJob],
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
