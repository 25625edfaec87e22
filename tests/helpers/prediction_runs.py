"""Runs of `predict` over drawn images, for the tests of its steps."""

from pathlib import Path

import cv2

from deploy.predict.pipeline import predict
from deploy.predict.settings import PredictSettings
from DOTA_devkit.polygon import iou_matrix
from helpers.drawn_objects import NAMES, DrawnObjects, corners_of

OBJECTS = [
    ("plane", 70, 60, 30, 14, 25), ("ship", 150, 118, 40, 12, 70), ("plane", 260, 200, 26, 12, 0),
    ("ship", 330, 40, 34, 10, 120), ("plane", 212, 119, 26, 12, 45),
]  # fmt: skip
SIZE_WH = (400, 250)


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def run(source, output, detector=None, model=None, **settings):
    settings = {"batch_size": 3, **settings}
    source = [source] if isinstance(source, (str, Path)) else source
    return predict(detector or DrawnObjects(), source, PredictSettings(**settings), output, model)


def assert_found(detections, objects=OBJECTS, iou=0.7):
    assert len(detections) == len(objects)
    overlap = iou_matrix(corners_of(objects), detections.corners)
    assert overlap.max(axis=1).min() > iou
    assert [NAMES[k] for k in detections.labels[overlap.argmax(axis=1)]] == [o[0] for o in objects]


def result_files(output):
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob("*")) if path.is_file()
    }  # fmt: skip


class Killed(BaseException):
    pass


class KilledAfter(DrawnObjects):
    """Raises `Killed` once it has done some batches."""

    def __init__(self, batches, detector=None):
        super().__init__()
        self.left = batches
        self.find = (detector or super()).find

    def detect_inputs(self, images):
        if self.left == 0:
            raise Killed
        self.left -= 1
        return super().detect_inputs(images)
