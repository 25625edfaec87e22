"""Detect on a split, draw the detections, write Task1 files, and measure the speed."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from datasets import BaseDataset
from DOTA_devkit.class_thresholds import thresholds_text
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_names import path_inside
from inference import (
    ImageDetections,
    InferenceSettings,
    Timing,
    collect_detections,
    run_over,
    shared_batches,
)
from processes.group import agreed, is_first, process_count
from structures.drawing import write_picture
from structures.task1 import to_task1, write_results

logger = logging.getLogger(__name__)

PICTURES = "pictures"


# Over 60 lines because its arguments are documented; the body lists the steps in order.
def test_split(
    model: nn.Module,
    dataset: BaseDataset,
    settings: InferenceSettings,
    result_dir: Path,
    device: torch.device,
    show: bool = False,
) -> list[ImageDetections] | None:
    """Write pictures of the detections (ground truth in white) and Task1 files into `result_dir`.

    Several processes share the images, and each draws its own; the first one writes the files.

    Args:
        model: the network, on `device`.
        dataset: samples of the phase 'test'.
        settings: how to detect.
        result_dir: where to write; pictures of an earlier run are deleted.
        device: where the model is.
        show: show each picture in a window until a key is pressed; q ends the run.

    Returns:
        The detections of each image; None in processes other than the first.

    Raises:
        InputError: pictures are to be shown by several processes, or there is no screen.
    """
    if show and process_count() > 1:
        raise InputError("show is for a single process: leave it out, or start one process")
    pictures = result_dir / PICTURES
    with agreed():
        if is_first():
            if pictures.is_dir():
                shutil.rmtree(pictures)  # pictures of an earlier run would be mistaken for new ones
            pictures.mkdir(parents=True)
    timing = Timing()
    own = []
    indices = chain.from_iterable(shared_batches(len(dataset), settings.batch_size))
    results = run_over(model, dataset, settings, device, timing)
    for index, one in zip(indices, results, strict=False):  # a quit `show` leaves some over
        own.append(one._replace(source=None))
        image = dataset.source_image(index) if one.source is None else one.source
        truth = dataset.load_annotation(index)["pts"] if dataset.has_labels(index) else None
        picture = one.detections.with_names(dataset.category).draw(image, truth)
        write_picture(path_inside(pictures, one.image_id, ".jpg"), picture)
        if show and not show_picture(picture):
            break
    found = collect_detections(own, len(dataset), settings.batch_size)
    if found is None:
        return None
    pairs = ((one.image_id, one.detections) for one in found)
    write_results(to_task1(pairs, dataset.category), result_dir)
    logger.info(
        "%d detections with a score above %s in %d images",
        sum(len(one.detections) for one in found),
        thresholds_text(settings.conf_thresh),
        len(found),
    )
    logger.info("%s", timing)
    if process_count() > 1:
        logger.info("the times are those of one of %d processes", process_count())
    logger.info(
        "drawn images (ground truth in white) in %s, Task1 files in %s", pictures, result_dir
    )
    return found


def show_picture(picture: np.ndarray) -> bool:
    """Show a picture until a key is pressed; False if it was q."""
    try:
        if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
            raise cv2.error("no display")  # where Qt would end the process
        cv2.imshow("detections", picture)
        key = cv2.waitKey(0) & 0xFF
    except cv2.error as error:
        raise InputError(
            "show needs a screen and an OpenCV with windows (opencv-python, not the headless "
            f"one); without it the pictures are in the result folder ({error})"
        ) from None
    return key != ord("q")
