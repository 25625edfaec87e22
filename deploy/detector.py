"""A trained detector as one object: `Detector.load(FILE).detect(image)`.

detector = Detector.load("model.pth")
detections = detector.detect(cv2.imread("harbor.png"))

FILE is a checkpoint, an ONNX file or an OpenVINO model of this project. A detector keeps no state
between calls, and several threads may share one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from datasets.stretch import read_stretched, stretched
from deploy.runtimes.base import DetectorSettings, Runtime
from deploy.runtimes.registry import open_runtime
from DOTA_devkit.errors import InputError
from structures.defaults import NMS_THRESH
from structures.detections import Detections
from structures.letterbox import Letterbox


class Detector:
    """Images -> detections in their pixels."""

    def __init__(self, runtime: Runtime, settings: DetectorSettings | None = None):
        self.runtime = runtime
        self.settings = settings or DetectorSettings()
        self.input_hw = self._input_hw()
        asked, own = self.settings.nms_thresh, runtime.nms_thresh
        self.nms_thresh = next(value for value in (asked, own, NMS_THRESH) if value is not None)

    @classmethod
    def load(
        cls, path: str | Path, settings: DetectorSettings | None = None, **changes: object
    ) -> Detector:
        """The detector of a model file.

        changes: fields of `DetectorSettings` by name, `conf_thresh=0.3` for example.

        Raises:
            InputError: no such file, no model of this project, or one that contradicts.
        """
        settings = replace(settings or DetectorSettings(), **changes)
        return cls(open_runtime(Path(path), settings), settings)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the labels."""
        return self.runtime.classes

    @property
    def conf_thresh(self) -> float:
        """Scores above it are kept."""
        return self.runtime.conf_thresh

    @property
    def fixed_hw(self) -> bool:
        """Whether the model takes images of `input_hw` alone."""
        return self.runtime.fixed_hw

    def detect(
        self, image: np.ndarray | str | Path | Sequence[np.ndarray | str | Path]
    ) -> Detections | list[Detections]:
        """Detections of an image, or a list of them for a batch.

        image: BGR [H, W, 3] or grey [H, W] of any size, as OpenCV reads it, uint8 (or uint16,
            which is stretched), or the path of an image file; a batch is a list of these, whose
            sizes may differ, or an array [B, H, W, 3]. Each one goes through the network as a
            whole, scaled to its input as in `test` and `eval`; for images of any size see
            `predict.predict`.

        Returns:
            Detections in pixels of the image, after NMS, by falling score.
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
        """Detections of images [H, W, 3] uint8 that are at the network's scale, in their pixels.

        All of one size, whose height and width are multiples of 32; after NMS.
        """
        found = self.runtime.decode(self.runtime.network(self.runtime.prepare(images)))
        return [detections.nms(self.nms_thresh).with_names(self.classes) for detections in found]

    def letterbox(self, size_wh: tuple[int, int]) -> Letterbox:
        """How an image of that size lies in the network's input when it goes in as a whole."""
        height, width = self.input_hw
        return Letterbox.fit(size_wh, (width, height), squash=self.settings.squash)

    def _detect_batch(self, images: Iterable[np.ndarray | str | Path]) -> list[Detections]:
        pixels = [as_bgr(image) for image in images]
        boxes = [self.letterbox(image.shape[1::-1]) for image in pixels]
        inputs = [box.apply(image) for box, image in zip(boxes, pixels, strict=True)]
        return [
            detections.with_corners(box.to_source(detections.corners))
            for box, detections in zip(boxes, self.detect_inputs(inputs), strict=True)
        ]

    def _input_hw(self) -> tuple[int, int]:
        own, asked = self.runtime.input_hw, self.settings.input_hw
        if asked is None or tuple(asked) == tuple(own):
            return own
        if self.runtime.fixed_hw:
            raise InputError(
                f"the model takes images of {own[0]}x{own[1]} (height x width) alone, and "
                f"{asked[0]}x{asked[1]} was asked for: export it with that size, or a dynamic one"
            )
        if any(side < 32 or side % 32 for side in asked):
            raise InputError(f"height and width must be multiples of 32, got {asked[0]}x{asked[1]}")
        return tuple(asked)


def as_bgr(image: np.ndarray | str | Path) -> np.ndarray:
    """An image [H, W, 3] uint8 of a file, or of an array that is one, is grey or of 16 bits."""
    if isinstance(image, (str, Path)):
        return read_stretched(image)[0]
    if image is None:
        raise InputError("None is no image: cv2.imread gives it for a file that it cannot read")
    if not isinstance(image, np.ndarray):
        raise InputError(f"an image as an array or a path is expected, got {type(image).__name__}")
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    known = image.dtype in (np.uint8, np.uint16)
    if image.ndim != 3 or image.shape[2] != 3 or not known or 0 in image.shape:
        raise InputError(
            "an image is expected as uint8 (or uint16) [H, W, 3] in BGR or [H, W] in grey, got "
            f"{image.dtype} {list(image.shape)}"
        )
    return np.ascontiguousarray(stretched(image)[0])


def file_digest(path: str | Path) -> str:
    """What is in a model file (with the weights of an OpenVINO model), as 16 hex digits."""
    path = Path(path)
    digest = hashlib.sha256()
    for part in (path, path.with_suffix(".bin")) if path.suffix == ".xml" else (path,):
        with open(part, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]
