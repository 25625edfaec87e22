"""Validations without a network: images of a data folder, with given detections and losses."""

import numpy as np

from datasets import DataOptions, open_dataset
from DOTA_devkit.scoring import evaluate
from eval import SplitScores
from inference import ImageDetections
from structures.detections import Detections
from structures.task1 import to_task1


def validation_of(data, boxes, losses=None, metric="voc07", phase="val"):
    """Return what a validation of a list hands back.

    Args:
        data: data folder.
        boxes: for each image a list of (left, top, right, bottom, score, label).
        losses: for each image its losses by name, None if they were not measured.
        metric: of the AP.
        phase: whose list is validated.
    """
    dataset = open_dataset("dota", data, phase, (64, 64), DataOptions())
    losses = losses or [None] * len(boxes)
    images = tuple(
        ImageDetections(image_id, _detections(found), None, loss)
        for image_id, found, loss in zip(dataset.img_ids, boxes, losses, strict=True)
    )
    truth = dataset.truth()
    tables = to_task1(((one.image_id, one.detections) for one in images), dataset.category)
    thresholds = None if metric == "coco" else (0.5, 0.75)
    scores = evaluate(tables, truth, thresholds, metric, confusion=False)
    return SplitScores(scores, images, truth, dataset)


def _detections(boxes):
    rows = np.array(boxes, np.float32).reshape(-1, 6)
    left, top, right, bottom = rows[:, :4].T
    corners = np.stack([left, top, right, top, right, bottom, left, bottom], axis=1)
    return Detections(corners.reshape(-1, 4, 2), rows[:, 4], rows[:, 5].astype(np.int64))
