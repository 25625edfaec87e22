"""A detector with known detections, for the tests of the code around a detector.

It finds rectangles of pure colors on a dark background: red ones are planes, green ones are ships.
Of an object that the image border cuts, it reports the visible part as the object, as a trained
detector does.
"""

import cv2
import numpy as np

from DOTA_devkit.imaging import ReadOptions
from structures.detections import Detections
from structures.letterbox import Letterbox

COLORS_BGR = {"plane": (0, 0, 255), "ship": (0, 255, 0)}
NAMES = tuple(COLORS_BGR)
BACKGROUND_BGR = (40, 44, 48)


class DrawnObjects:
    """A detector of drawn rectangles, with the interface of `deploy.detector.Detector`.

    Attributes:
        input_hw: height and width of its input in pixels.
        max_side: objects with a longer side, in pixels of the input, are not found, as a network
            misses objects of sizes that it was not trained on.
        batches: number of images in each batch so far.
    """

    classes = NAMES
    fixed_hw = False
    nms_thresh = 0.1
    agnostic_nms_thresh = None
    conf_thresh = 0.18
    reading = ReadOptions()
    train_scale = None
    finds_rectangles = False

    def __init__(self, input_hw=(128, 128), max_side=np.inf):
        self.input_hw = input_hw
        self.max_side = max_side
        self.batches = []

    def letterbox(self, size_wh):
        return Letterbox.fit(size_wh, self.input_hw[::-1])

    def detect_inputs(self, images):
        assert len({image.shape for image in images}) == 1
        self.batches.append(len(images))
        return [self.find(image) for image in images]

    def find(self, image):
        corners, scores, labels = [], [], []
        for label, color in enumerate(COLORS_BGR.values()):
            mask = (np.abs(image.astype(int) - color).max(axis=2) < 90).astype(np.uint8)
            count, components = cv2.connectedComponents(mask)
            for number in range(1, count):
                y, x = np.nonzero(components == number)
                if len(x) < 12:
                    continue
                points = np.concatenate(
                    [np.stack([x + dx, y + dy], axis=1) for dx in (0, 1) for dy in (0, 1)]
                )
                box = cv2.boxPoints(cv2.minAreaRect(points.astype(np.float32)))
                if np.hypot(*(box - np.roll(box, 1, axis=0)).T).max() > self.max_side:
                    continue
                corners.append(box)
                scores.append(0.5 + min(len(x), 4000) / 10000)
                labels.append(label)
        order = np.argsort(-np.array(scores), kind="stable") if scores else []
        return Detections(
            np.array(corners, np.float32).reshape(-1, 4, 2)[order],
            np.array(scores, np.float32)[order],
            np.array(labels, np.int64)[order],
            NAMES,
        )


def scene(size_wh, objects):
    """Draw an image [height, width, 3] of (name, center x, center y, width, height, degrees)."""
    image = np.empty((size_wh[1], size_wh[0], 3), np.uint8)
    image[:] = BACKGROUND_BGR
    image[::7, ::5] += 9  # a background of one color would count as an area without data
    for name, x, y, width, height, degrees in objects:
        box = corners_of([(name, x, y, width, height, degrees)])[0]
        cv2.fillPoly(image, [np.round(box).astype(np.int32)], COLORS_BGR[name])
    return image


def corners_of(objects):
    """Return the corners [N, 4, 2] of objects as `scene` takes them."""
    rectangles = [[float(value) for value in row[1:]] for row in objects]
    return np.array([cv2.boxPoints(((x, y), (w, h), d)) for x, y, w, h, d in rectangles])
