"""Detection in images of any size, from image files to result files.

The headers of the images are read and all windows planned. The windows are put into batches, which
are read, detected and noted in a journal. What the journal holds is merged image by image and
written. The plan depends only on images, model and settings, so a run that was killed can be
resumed, and processes that share the work (`Shard`) come to the same result as one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deploy.predict.detect import detect_batch
from deploy.predict.journal import BatchResult, FinishedElsewhere, Journal, progress_folder
from deploy.predict.labels import refuse_existing_labels, refuse_unfit_images
from deploy.predict.plan import Plan, plan_images, tiling_of, usual_scale
from deploy.predict.reading import prefetch, read_batches
from deploy.predict.seams import collect_windows, merge_windows
from deploy.predict.settings import WHOLE_IMAGE, DetectorLike, ModelRecord, PredictSettings
from deploy.predict.sources import content_digest, find_sources
from deploy.predict.writers import (
    ImageResult,
    Results,
    RunInfo,
    refuse_to_replace_images,
    write_files,
)
from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import MAX_SHOWN_FAULTS
from DOTA_devkit.files import sweep_leftovers
from DOTA_devkit.progress import progress_bar
from DOTA_devkit.tables import format_table

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """The outcome of a run.

    Attributes:
        windows: Number of windows of all processes.
        seconds: Time that the run took.
        faults: Path -> why an image was left out, or is missing in some of the files.
        images: The images with their detections; empty if other processes have work left or have
            written the results.
        without_data: Number of windows that hold no data.
        missing: Number of batches that other processes have to do.
        written_elsewhere: Whether another process writes the results, or has done so.
    """

    windows: int
    seconds: float
    faults: dict[str, str]
    images: list[ImageResult] = field(default_factory=list)
    without_data: int = 0
    missing: int = 0
    written_elsewhere: bool = False

    def table(self, names: Sequence[str]) -> str:
        """Return objects, images and mean score of each class, and of all, as a text table.

        Args:
            names: Class names in the order of the labels.
        """
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


# Over 60 lines because its arguments are documented; the body is a run from start to end.
def predict(
    detector: DetectorLike,
    source: Sequence[str | Path],
    settings: PredictSettings,
    output: Path,
    model: ModelRecord | None = None,
) -> Prediction:
    """Detect in images of any size and write the results.

    Args:
        detector: The detector.
        source: Files, folders, globs and lists that name the images, see `find_sources`.
        settings: How the images are searched and what is written.
        output: Folder of the results, in which a killed run also leaves its progress.
        model: What is noted about the model. Without it, a killed run is resumed with any model
            that has the same classes, input size and thresholds.

    Raises:
        InputError: There is nothing to read, no image can be read, the settings do not fit the
            model, or there is no room on the disk.
    """
    begin = time.perf_counter()
    if settings.scales is None and (scale := usual_scale(detector)) != 1:
        logger.info(
            "images are searched at %.3g of their size, as in training (`scales` 1: full size)",
            scale,
        )
    plan = plan_images(find_sources(source), detector, settings)
    faults = dict(plan.faults)
    warn_about_left_out(list(faults.values()))
    if not plan.jobs:
        raise _nothing_usable(faults)
    refuse_to_replace_images(plan.paths, plan.sources, settings.formats, output)
    refuse_unfit_images(plan.sources, detector.classes, settings.formats)
    info = _run_info(detector, settings, model)

    def prediction(**result: Any) -> Prediction:
        return Prediction(len(plan.jobs), time.perf_counter() - begin, faults, **result)

    shard, numbers = settings.shard, settings.shard.part_of(len(plan.batches))
    if shard.count == 1:  # else another process may be writing its results
        sweep_leftovers(output)
    folder = progress_folder(output, _work(plan, detector, settings, model))
    if not folder.is_dir():  # else existing labels are those of this run, which was stopped
        refuse_existing_labels(
            plan.sources, detector.classes, settings.formats, output, settings.overwrite
        )
    if not numbers and not folder.is_dir():
        logger.info("nothing to do for this process: there are only %d batches", len(plan.batches))
        return prediction(written_elsewhere=True)
    try:
        with Journal(folder, f"shard-{shard.index}-of-{shard.count}") as journal:
            faults |= run_batches(detector, plan, numbers, journal)
        found = journal.latest()
    except FinishedElsewhere:
        logger.info("another process has written the results into %s", output)
        return prediction(written_elsewhere=True)
    results = {number: found[number] for number in range(len(plan.batches)) if number in found}
    missing = len(plan.batches) - len(results)
    if missing:
        return prediction(missing=missing)
    images, without_data, unread = merge_images(results, plan, detector)
    warn_about_left_out([text for path, text in unread.items() if path not in faults])
    faults |= unread
    if not images:
        journal.remove()
        raise _nothing_usable(faults)
    warn_about_full_windows(images, settings)
    whole = Results(images, faults, info)
    faults |= write_files(whole, settings.formats, output)
    journal.remove()
    return prediction(images=images, without_data=without_data)


def run_batches(
    detector: DetectorLike, plan: Plan, numbers: Sequence[int], journal: Journal
) -> dict[str, str]:
    """Run the batches that are not done yet, and record each in the journal.

    Shards take whole batches: the network sees the same batches as in one process, and so gives
    the same bits.

    Args:
        detector: The detector.
        plan: The work of all processes.
        numbers: Numbers of this process's batches.
        journal: Where it is noted what is done.

    Returns:
        Path -> why an image could not be read.

    Raises:
        FinishedElsewhere: Another process has written the results.
    """
    batches = plan.batches
    done = journal.done()
    waiting = [number for number in numbers if not done.get(number, False)]
    windows = sum(map(batches.size, numbers))
    before = windows - sum(map(batches.size, waiting))
    if before:
        logger.info("resuming a run that was stopped: %d of %d windows are done", before, windows)
    shown = progress_bar("predict", windows, initial=before, unit="window", leave=True)
    unread: dict[int, str] = {}
    with shown as bar, closing(prefetch(read_batches(plan.sources, batches, waiting))) as reading:
        for batch in reading:
            for source in batch.faults.keys() - unread.keys():
                logger.warning("left out: %s", batch.faults[source])
            unread |= batch.faults
            journal.append(detect_batch(detector, batch))
            bar.update(batches.size(batch.number))
    return _by_path(unread, plan)


def merge_images(
    results: dict[int, BatchResult], plan: Plan, detector: DetectorLike
) -> tuple[list[ImageResult], int, dict[str, str]]:
    """Merge the results of all batches into one result per image.

    Args:
        results: Number of the batch -> its result; emptied, for the memory that they take.
        plan: The work of all processes.
        detector: Whose class names and NMS thresholds are used.

    Returns:
        The images that could be read, the number of windows without data, and path -> why an
        image could not be read.
    """
    collected = collect_windows(results, plan.batches, detector.classes)
    results.clear()
    images = [
        ImageResult(
            plan.sources[number],
            merge_windows(windows, detector.nms_thresh, detector.agnostic_nms_thresh),
            len(windows),
        )
        for number, windows in collected.by_source.items()
    ]
    return images, collected.without_data, _by_path(collected.faults, plan)


def warn_about_left_out(faults: Sequence[str]) -> None:
    """Warn about images that are left out, listing only the first of many.

    Args:
        faults: Why each image is left out.
    """
    for text in faults[:MAX_SHOWN_FAULTS]:
        logger.warning("left out: %s", text)
    if len(faults) > MAX_SHOWN_FAULTS:
        logger.warning(
            "left out: %d more; detections.json, if written, lists all of them",
            len(faults) - MAX_SHOWN_FAULTS,
        )


def warn_about_full_windows(images: Sequence[ImageResult], settings: PredictSettings) -> None:
    """Warn about images that may have more objects than the decoder returns."""
    full = [one.source.path for one in images if not one.detections.complete]
    if full:
        logger.warning(
            "%s%s: a window reached the maximum of K detections, so there may be more with lower "
            "scores: raise `K` (for an exported file, export it again with a larger `K`)%s",
            full[0],
            f" and {len(full) - 1} more images" if len(full) > 1 else "",
            ", or cut the image into windows (`tile`)" if settings.tile == WHOLE_IMAGE else "",
        )  # fmt: skip


def _nothing_usable(faults: Mapping[str, str]) -> InputError:
    first = next(iter(faults.values()))
    return InputError(f"none of the {len(faults)} images can be used; the first: {first}")


def _by_path(faults: Mapping[int, str], plan: Plan) -> dict[str, str]:
    """Return path -> text, of source number -> text."""
    return {str(plan.sources[number].path): text for number, text in faults.items()}


def _work(
    plan: Plan, detector: DetectorLike, settings: PredictSettings, model: ModelRecord | None
) -> dict[str, Any]:
    """Return everything that decides what the batches are and hold.

    It has no paths, because machines that share the work may have the files in other places.
    """
    unsearched = ("formats", "shard", "overwrite", "crs")
    searched = {k: v for k, v in asdict(settings).items() if k not in unsearched}
    searched["usual_scale"] = usual_scale(detector)
    if settings.gsd is not None:  # then the files beside an image decide its windows, too
        searched["affines"] = [s.georeference and s.georeference.affine for s in plan.sources]
        searched["crs"] = settings.crs
    return {
        "version": 5,
        "sources": [
            [source.image_id, *source.size_wh, content_digest(source.path)]
            for source in plan.sources
        ],
        "jobs": len(plan.jobs),
        "model": model.identity() if model else {},
        "classes": list(detector.classes),
        "input_hw": list(detector.input_hw),
        "conf_thresh": detector.conf_thresh,
        "nms_thresh": detector.nms_thresh,
        "reading": [detector.reading.depth, detector.reading.bands_text()],
        **searched,
    }


def _run_info(
    detector: DetectorLike, settings: PredictSettings, model: ModelRecord | None
) -> RunInfo:
    tiling = tiling_of(detector, settings)
    return RunInfo(
        tuple(detector.classes),
        detector.conf_thresh,
        detector.nms_thresh,
        tiling.tile_wh,
        tiling.overlap,
        tiling.scales,
        settings.gsd,
        model,
        detector.finds_rectangles,
        detector.agnostic_nms_thresh,
    )


def _mean(scores: np.ndarray) -> str:
    return f"{scores.mean():.3f}" if len(scores) else "-"
