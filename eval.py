"""Detect on a split, write Task1 files, merge patches, and score: table, curves, zip."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from datasets import BaseDataset, FolderDataset
from DOTA_devkit.class_thresholds import thresholds_text
from DOTA_devkit.error_analysis import (
    WORST,
    DetectionPool,
    ErrorKind,
    ErrorReport,
    ImageReader,
    analyze_errors,
    compare_results,
    pool_to_compare,
    read_image_of,
    worst_images,
)
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_names import result_name
from DOTA_devkit.files import sweep_leftovers
from DOTA_devkit.formats import Task1, read_task1
from DOTA_devkit.images import find_images, guess_image_folder
from DOTA_devkit.merging import merge_detections, unlabeled_patches
from DOTA_devkit.patches import parse_patch_id, source_name
from DOTA_devkit.scoring import (
    COCO_THRESHOLDS,
    Evaluation,
    Truth,
    evaluate,
    load_detections,
    load_truth,
    plot_evaluation,
)
from DOTA_devkit.submit import write_submission
from inference import (
    ImageDetections,
    InferenceSettings,
    Measure,
    Timing,
    collect_detections,
    run_over,
)
from processes.group import agreed, process_count
from structures.task1 import to_task1, write_results

logger = logging.getLogger(__name__)

REPORTS = ("ap.csv", "ap.json", "evaluation.png", "errors.html", "errors.json", "Task1.zip")


@dataclass(frozen=True)
class EvalSettings:
    """How detections are made and scored.

    Attributes:
        inference: how to detect.
        metric: voc07 (11 points), voc12 (area under the curve) or coco (mean over IoU
            0.50:0.05:0.95).
        merge: "yes", "no", or "auto", which merges patches if every id is a patch id and there are
            labels of the full images.
        truth_dir: labels of the full images, None for the data set's own folder.
        worst: number of images on the page about the errors, those that cost the most AP.
        against: folder of Task1 files of the same images to compare with, such as those of an
            earlier evaluation; None for no comparison.
    """

    inference: InferenceSettings = field(default_factory=InferenceSettings)
    metric: str = "voc07"
    merge: str = "auto"
    truth_dir: Path | None = None
    worst: int = WORST
    against: Path | None = None

    @property
    def iou_thresholds(self) -> tuple[float, ...]:
        """IoU thresholds of the AP; curves, voc07 and voc12 are at the first one."""
        return COCO_THRESHOLDS if self.metric == "coco" else (0.5, 0.75)


def headline(scores: Evaluation) -> float:
    """Return the main score: AP over all thresholds for coco, else at IoU 0.5."""
    return scores.map if scores.metric == "coco" else float(scores.mean_ap[0])


@dataclass(frozen=True)
class SplitScores:
    """The detections of a model on a labeled split, and their scores.

    Attributes:
        scores: AP, precision and recall by class, without a confusion matrix.
        images: detections of each image, in the order of `dataset`.
        truth: the labels.
        dataset: the images.
    """

    scores: Evaluation
    images: tuple[ImageDetections, ...]
    truth: Truth
    dataset: BaseDataset

    @property
    def ap(self) -> float:
        """The main score, see `headline`."""
        return headline(self.scores)


def score_split(
    model: nn.Module,
    dataset: BaseDataset,
    truth: Truth,
    settings: EvalSettings,
    device: torch.device,
    measure: Measure | None = None,
) -> SplitScores | None:
    """Detect on a labeled split and score the detections; patches are scored as they are.

    Several processes share the images, and the first one scores the detections of all.

    Args:
        model: the network, on `device`.
        dataset: samples of the phase 'test' or 'val'.
        truth: the labels of its images.
        settings: how to detect and score.
        device: where the model is.
        measure: computes the losses of each image, which are returned with its detections.

    Returns:
        The scores; None in processes other than the first.
    """
    own = list(
        run_over(model, dataset, settings.inference, device, description="score", measure=measure)
    )
    found = collect_detections(own, len(dataset), settings.inference.batch_size)
    if found is None:
        return None
    pairs = ((one.image_id, one.detections) for one in found)
    tables = to_task1(pairs, dataset.category)
    scores = evaluate(tables, truth, settings.iou_thresholds, settings.metric, confusion=False)
    return SplitScores(scores, tuple(found), truth, dataset)


# Over 60 lines because its arguments are documented; the body lists the steps in order.
def evaluate_split(
    model: nn.Module,
    dataset: BaseDataset,
    settings: EvalSettings,
    result_dir: Path,
    merge_dir: Path,
    device: torch.device,
) -> Evaluation | None:
    """Detect on every image, write Task1 files, merge patches, score, and write the reports.

    Several processes share the images; the first one does all the rest.

    Args:
        model: the network, on `device`.
        dataset: samples of the phase 'test'.
        settings: how to detect and score.
        result_dir: gets Task1_<class>.txt of the images as they are listed.
        merge_dir: gets those of the full images, if patches are merged. The reports are written
            beside the files that they score.
        device: where the model is.

    Returns:
        The scores, or None without labels, and in processes other than the first.

    Raises:
        InputError: patches are to be merged and there are none, or labels are missing.
    """
    with agreed():
        merge = should_merge(dataset, settings)
        truth = full_truth(dataset, settings) if merge else dataset.truth()
        # Read first, as it may be the folder that this evaluation replaces.
        against = compared_results(dataset, truth, settings)
    timing = Timing()
    own = list(run_over(model, dataset, settings.inference, device, timing))
    found = collect_detections(own, len(dataset), settings.inference.batch_size)
    if found is None:
        return None
    pairs = ((one.image_id, one.detections) for one in found)
    tables = to_task1(pairs, dataset.category)
    write_results(tables, result_dir)
    clear_reports(result_dir, merge_dir)
    logger.info("Task1 files of %d images in %s; %s", len(dataset), result_dir, timing)
    if process_count() > 1:
        logger.info("the times are those of one of %d processes", process_count())

    folder = result_dir
    if merge:
        folder = merge_dir
        tables = merge_patches(dataset, result_dir, merge_dir)
    archive = write_submission(folder, folder / "Task1.zip", dataset.category)
    logger.info("zip file for the evaluation server: %s", archive)

    scores = None
    if truth is None:
        wanted = "full images (truth_dir)" if merge else "images"
        logger.info("there are no labels of the %s, so nothing is scored", wanted)
    else:
        scores = evaluate(tables, truth, settings.iou_thresholds, settings.metric)
        report(scores, folder, settings)
        read_image = full_image_reader(dataset, settings) if merge else image_reader(dataset)
        report_errors(scores, (tables, against), truth, folder, settings, read_image)
    if has_own_evaluation(dataset):
        logger.info(
            "%s.dec_evaluation: %s", type(dataset).__name__, dataset.dec_evaluation(str(folder))
        )
    return scores


def merge_patches(dataset: BaseDataset, result_dir: Path, merge_dir: Path) -> dict[str, Task1]:
    """Merge the results of patches by NMS, and return them: class name -> detections."""
    merge_dir.mkdir(parents=True, exist_ok=True)
    dataset.merge_crop_image_results(str(result_dir), str(merge_dir))
    paths = {name: merge_dir / result_name(name) for name in dataset.category}
    logger.info("patches merged by polygon NMS into %s", merge_dir)
    return {name: read_task1(path) for name, path in paths.items() if path.is_file()}


def compared_results(
    dataset: BaseDataset, truth: Truth | None, settings: EvalSettings
) -> DetectionPool | None:
    """Read the results of `EvalSettings.against`; those of patches are merged if others are scored.

    Returns:
        The results; None if there is nothing to compare.

    Raises:
        InputError: the folder has no results of any class, or they are of other images.
    """
    if settings.against is None or truth is None:
        return None
    tables = load_detections(settings.against, dataset.category)
    if unlabeled_patches(tables, truth.image_ids):
        threshold = dataset.options.nms_thresh
        tables = {name: merge_detections(table, threshold) for name, table in tables.items()}
    return pool_to_compare(tables, truth)


def clear_reports(*folders: Path) -> None:
    """Delete the reports of an earlier evaluation, which would be mistaken for those of this one.

    Temporary files of a killed evaluation are deleted as well.
    """
    for folder in folders:
        sweep_leftovers(folder)
        for name in REPORTS:
            (folder / name).unlink(missing_ok=True)


def should_merge(dataset: BaseDataset, settings: EvalSettings) -> bool:
    """Whether patches are merged before scoring; see `EvalSettings.merge`."""
    if settings.merge == "no":
        return False
    patches = sum(parse_patch_id(image_id) is not None for image_id in dataset.img_ids)
    if settings.merge == "yes":
        if not patches:
            raise InputError(
                "merge yes: none of the ids is that of a patch (NAME__RATE__X___Y, such as "
                f"P0706__1__0___500); the first one is {dataset.img_ids[0]}"
            )
        return True
    if patches < len(dataset.img_ids):
        return False
    if full_truth(dataset, settings) is None:
        logger.info(
            "patches are scored one by one; to merge and score whole images, name the folder of "
            "their labels as `truth_dir`"
        )
        return False
    return True


def full_truth(dataset: BaseDataset, settings: EvalSettings) -> Truth | None:
    """Load the labels of the images that the patches were cut from; None if a file is missing.

    Raises:
        InputError: the file is missing in a folder that the user named.
    """
    names = list(dict.fromkeys(source_name(image_id) for image_id in dataset.img_ids))
    folder = settings.truth_dir or getattr(dataset, "label_path", None)
    if folder is None:
        return None
    missing = [name for name in names if not os.path.isfile(Path(folder) / f"{name}.txt")]
    if missing:
        if settings.truth_dir is not None:
            raise InputError(
                f"truth_dir {folder}: {len(missing)} of {len(names)} images have no label file "
                f"there, {missing[0]}.txt is the first"
            )
        return None
    return load_truth(folder, names, dataset.category)


def has_own_evaluation(dataset: BaseDataset) -> bool:
    """Whether the user's data set class scores results in its own way."""
    ours = (BaseDataset.dec_evaluation, FolderDataset.dec_evaluation)
    return type(dataset).dec_evaluation not in ours


def report(scores: Evaluation, folder: Path, settings: EvalSettings) -> None:
    """Log the AP table, write it as CSV and JSON, and draw curves and confusion matrix."""
    inference = settings.inference
    logger.info(
        "%s, IoU %s, scores above %s, NMS at IoU %g; mean over the classes with objects",
        scores.metric, "0.50:0.05:0.95" if scores.metric == "coco" else "0.5 and 0.75",
        thresholds_text(inference.conf_thresh), inference.nms_thresh,
    )  # fmt: skip
    logger.info("%s", scores.table())
    logger.info("AP %.4f (%s)", headline(scores), scores.metric)
    scores.to_csv(folder / "ap.csv")
    scores.to_json(folder / "ap.json", settings=asdict(inference))
    try:
        plot_evaluation(scores, folder / "evaluation.png")
    except InputError as error:
        logger.warning("the curves are not plotted: %s", error)
    logger.info("table (ap.csv, ap.json) and curves (evaluation.png) are in %s", folder)


def report_errors(
    scores: Evaluation,
    results: tuple[Mapping[str, Task1], DetectionPool | None],
    truth: Truth,
    folder: Path,
    settings: EvalSettings,
    read_image: ImageReader,
) -> None:
    """Write what AP is lost to as a page and as JSON, and log the most important numbers.

    Args:
        scores: the scores of the first result.
        results: the result, and that to compare it with, if there is one.
        truth: the labels.
        folder: where the files are written.
        settings: how it was scored.
        read_image: gives the images of the pictures.
    """
    tables, against = results
    pool = DetectionPool.of(tables, truth)
    analysis = analyze_errors(pool, truth, scores.iou_thresholds[0], scores.metric)
    if (mean := analysis.mean()).objects:
        lost = sorted(((mean.lost[kind.value], kind.value) for kind in ErrorKind), reverse=True)
        logger.info("AP lost to: %s", ", ".join(f"{name} {100 * ap:.2f}" for ap, name in lost))
    comparison = None
    if against is not None:
        comparison = compare_results(
            pool, against, truth, scores.headline_thresholds, scores.metric
        )
        logger.info("against %s:\n%s", settings.against, comparison.table())
        logger.info("%s", comparison.summary())
    worst = worst_images(analysis, scores, settings.worst)
    report = ErrorReport(analysis, worst, comparison, str(settings.against))
    report.write(folder / "errors.html", read_image)
    logger.info("errors (errors.html, errors.json) are in %s", folder)


def image_reader(dataset: BaseDataset) -> ImageReader:
    """Return a function that reads the images of a data set by their ids."""
    indices = {image_id: index for index, image_id in enumerate(dataset.img_ids)}

    def read(image_id: str) -> np.ndarray:
        return np.clip(dataset.source_image(indices[image_id]), 0, 255).astype(np.uint8)

    return read


def full_image_reader(dataset: BaseDataset, settings: EvalSettings) -> ImageReader:
    """Return a function that reads the full images that lie beside their labels."""
    labels = settings.truth_dir or getattr(dataset, "label_path", None)
    folder = None if labels is None else guess_image_folder(labels)
    images: dict[str, Path] = {}
    if folder is not None:
        try:
            images = find_images(folder)
        except InputError as error:  # two images of one id
            logger.warning("no pictures of the errors: %s", error)
    return read_image_of(images, dataset.options.reading)
