"""A trained detector as one object: `Detector.load(FILE).detect(image)`.

detector = Detector.load("model.pth")
detections = detector.detect(cv2.imread("harbor.png"))

FILE is a checkpoint, an ONNX file or an OpenVINO model of this project. A detector keeps no state
between calls, and several threads may share one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from deploy.runtimes.base import DetectorSettings, Runtime, first_given
from deploy.runtimes.registry import open_runtime
from DOTA_devkit.class_thresholds import Thresholds
from DOTA_devkit.errors import InputError, did_you_mean
from DOTA_devkit.imaging import ReadOptions, bgr_of_array, read_image
from structures.boxes import RECTANGLE
from structures.defaults import NMS_THRESH
from structures.detections import Detections
from structures.letterbox import Letterbox


class Detector:
    """A trained model that turns images into detections.

    Attributes:
        runtime: What runs the model.
        settings: How it is run.
        input_hw: Height and width of the network's input.
        squash: Whether images are stretched to it, instead of being padded.
        nms_thresh: IoU above which NMS suppresses, within each class.
        agnostic_nms_thresh: IoU above which it then suppresses boxes of other classes as well, None
            for none.
        reading: How image files are read: as the settings say, else as in training.
    """

    def __init__(self, runtime: Runtime, settings: DetectorSettings | None = None):
        """Use an open runtime with the settings that it was opened with."""
        self.runtime = runtime
        self.settings = settings or DetectorSettings()
        self.input_hw = self._input_hw()
        self.squash = first_given(self.settings.squash, runtime.squash, False)
        self.nms_thresh = first_given(self.settings.nms_thresh, runtime.nms_thresh, NMS_THRESH)
        self.agnostic_nms_thresh = self.settings.agnostic_nms_thresh
        self.reading = self.settings.reading(runtime.reading)

    @classmethod
    def load(
        cls, path: str | Path, settings: DetectorSettings | None = None, **changes: object
    ) -> Detector:
        """Load a model file.

        Args:
            path: A checkpoint, an ONNX file or an OpenVINO model of this project.
            settings: How it is run.
            **changes: Fields of `DetectorSettings` that replace those of `settings`, for example
                `conf_thresh=0.3`, or `conf_thresh={"plane": 0.4, "ship": 0.2}` for single classes:
                `device`, `classes`, `backbone`, `input_hw`, `conf_thresh`, `nms_thresh`,
                `agnostic_nms_thresh`, `theta_thresh`, `K`, `squash`, `runtime`, `batch_size`,
                `threads`, `depth`, `bands`, `max_pixels`, `allow_remote` and `tta`.

        Raises:
            InputError: There is no such file, it is not a model of this project, or the settings
                contradict it.
            TypeError: `DetectorSettings` has no field of that name; the message lists them all.
        """
        names = [field.name for field in fields(DetectorSettings)]
        if unknown := [name for name in changes if name not in names]:
            raise TypeError(
                f"a detector has no setting {unknown[0]}{did_you_mean(unknown[0], names)}; its "
                f"settings are {', '.join(names)}"
            )
        settings = replace(settings or DetectorSettings(), **changes)
        return cls(open_runtime(Path(path), settings), settings)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels."""
        return self.runtime.classes

    @property
    def conf_thresh(self) -> Thresholds:
        """Score above which detections are kept; class name -> score where classes differ."""
        return self.runtime.conf_thresh

    @property
    def train_scale(self) -> float | None:
        """Input pixels per pixel of the training images (median), None if the file has none."""
        return self.runtime.train_scale

    @property
    def finds_rectangles(self) -> bool:
        """Whether every box that the model finds is a rectangle in the network's input."""
        return self.runtime.box_coding == RECTANGLE

    @property
    def fixed_hw(self) -> bool:
        """Whether the model only takes images of `input_hw`."""
        return self.runtime.fixed_hw

    def detect(
        self, image: np.ndarray | str | Path | Sequence[np.ndarray | str | Path]
    ) -> Detections | list[Detections]:
        """Detect in an image, or in a batch of them.

        Each image goes through the network as a whole, scaled to its input as in `test` and
        `eval`. For images of any size see `deploy.predict.pipeline.predict`.

        Args:
            image: BGR [H, W, 3] or gray [H, W] of any size, as OpenCV reads it, uint8 (or uint16,
                which is stretched), or the path of an image file. A batch is a list of these,
                whose sizes may differ, or an array [B, H, W, 3].

        Returns:
            Detections in pixels of the image, after NMS, by descending score; a list of them for a
            batch.

        Raises:
            InputError: The image is not one, or cannot be read.
        """
        if isinstance(image, np.ndarray):
            single = image.ndim < 4
        else:
            single = isinstance(image, (str, Mapping)) or not isinstance(image, Iterable)
        if single:
            return self._detect_batch([image])[0]
        size = self.settings.batch_size
        images = list(image)
        parts = [images[start : start + size] for start in range(0, len(images), size)]
        return [detections for part in parts for detections in self._detect_batch(part)]

    def detect_inputs(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Detect in images that are already at the network's scale.

        Args:
            images: [H, W, 3] uint8 BGR, all of one size, whose height and width are multiples
                of 32.

        Returns:
            Detections of each image in its pixels, after NMS within each class. Class-agnostic NMS
            is left to the caller: the images may be windows, whose pieces of an object are joined
            within a class.
        """
        found = self.runtime.decode(self.runtime.network(self.runtime.prepare(images)))
        return [detections.nms(self.nms_thresh).with_names(self.classes) for detections in found]

    def letterbox(self, size_wh: tuple[int, int]) -> Letterbox:
        """Return how a whole image of that size is placed in the network's input."""
        height, width = self.input_hw
        return Letterbox.fit(size_wh, (width, height), squash=self.squash)

    def _detect_batch(self, images: Iterable[np.ndarray | str | Path]) -> list[Detections]:
        pixels = [as_bgr(image, self.reading) for image in images]
        boxes = [self.letterbox(image.shape[1::-1]) for image in pixels]
        inputs = [box.apply(image) for box, image in zip(boxes, pixels, strict=True)]
        return [
            detections.with_corners(box.to_source(detections.corners)).agnostic_nms(
                self.agnostic_nms_thresh
            )
            for box, detections in zip(boxes, self.detect_inputs(inputs), strict=True)
        ]

    def _input_hw(self) -> tuple[int, int]:
        own, asked = self.runtime.input_hw, self.settings.input_hw
        if asked is None or tuple(asked) == tuple(own):
            return own
        if self.runtime.fixed_hw:
            raise InputError(
                f"input_hw must be {own[0]}x{own[1]} (height x width), the only size that the "
                f"model takes, got {asked[0]}x{asked[1]}: export it with that or a dynamic size"
            )
        if any(side < 32 or side % 32 for side in asked):
            raise InputError(f"input_hw must be multiples of 32, got {asked[0]}x{asked[1]}")
        return tuple(asked)


def as_bgr(image: np.ndarray | str | Path, reading: ReadOptions | None = None) -> np.ndarray:
    """Return an image as BGR [H, W, 3] uint8.

    Args:
        image: Path of an image file, or an array [H, W, 3], [H, W, 1] or [H, W] of 8 or 16 bits.
        reading: How it is read, 16 bits of an array included.

    Raises:
        InputError: It is not an image, or cannot be read.
    """
    if isinstance(image, (str, Path)):
        return read_image(image, reading)
    if image is None:
        raise InputError(
            "None is not an image: cv2.imread returns it for a file that it cannot read"
        )
    if not isinstance(image, np.ndarray):
        raise InputError(f"image must be an array or a path, got {type(image).__name__}")
    return bgr_of_array(image, reading)


def file_digest(path: str | Path) -> str:
    """Return a digest of a model file, with the weights of an OpenVINO model, as 16 hex digits."""
    path = Path(path)
    digest = hashlib.sha256()
    for part in (path, path.with_suffix(".bin")) if path.suffix == ".xml" else (path,):
        with open(part, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]
