"""Run the checkpoint's model and an exported file on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from decoder import DecDecoder
from deploy.export.parity.reference import Reference
from deploy.export.parity.tolerance import Tolerance
from deploy.export.types import BEFORE_NMS, CheckImage, ModelRunner
from deploy.metadata import OUTPUTS, ModelMetadata
from deploy.runtimes.base import first_given
from structures.detections import Detections
from structures.letterbox import Letterbox, normalize


@dataclass(frozen=True)
class Thresholds:
    """The score thresholds of a comparison.

    Attributes:
        reported: Detections above it are reported and judged.
        checkpoint: Threshold with which the checkpoint is decoded, at most `reported`.
        file: Threshold above which the file's rows are compared: that of the checkpoint, unless
            the file has a higher fixed threshold.
        is_input: Whether the threshold is an input of the file, which then gets `file`.
    """

    reported: float
    checkpoint: float
    file: float
    is_input: bool = False

    @classmethod
    def of(cls, metadata: ModelMetadata, tolerance: Tolerance, conf_thresh: float) -> Thresholds:
        """Return the thresholds for a file.

        Args:
            metadata: The metadata of the file.
            tolerance: Its `threshold_ratio` lowers the thresholds of both models.
            conf_thresh: The threshold to report at, unless the file has a higher fixed one.
        """
        lowest = first_given(metadata.min_conf_thresh, 0.0)
        reported = max(lowest, conf_thresh)
        lowered = reported * tolerance.threshold_ratio
        is_input = metadata.min_conf_thresh is None
        return cls(reported, lowered, max(lowest, lowered), is_input)

    def is_reported(self, found: Detections) -> np.ndarray:
        """Return which of N detections are reported, [N] bool; those with score NaN are."""
        return ~(found.scores <= self.reported)

    def filter_file(self, found: Detections) -> Detections:
        """Return the detections of the file that are compared, those above `file` or NaN."""
        return found[~(found.scores <= self.file)]


class ModelPair:
    """The checkpoint's model and the exported file.

    Args:
        model: The checkpoint's model.
        metadata: The metadata of the file.
        input_hw: Height and width of the network's input.
        thresholds: The score thresholds of both.
        run: Runs the file.
        run_before_nms: Runs the same file with the rows before NMS as additional outputs, None if
            the file does not include NMS.
    """

    def __init__(
        self,
        model: nn.Module,
        metadata: ModelMetadata,
        input_hw: tuple[int, int],
        thresholds: Thresholds,
        run: ModelRunner,
        run_before_nms: ModelRunner | None = None,
    ) -> None:
        self.model = model.eval()
        self.metadata = metadata
        self.input_hw = input_hw
        self.thresholds = thresholds
        self.run = run
        self.run_before_nms = run_before_nms
        self.decoder = DecDecoder(
            metadata.K, thresholds.checkpoint, metadata.num_classes, metadata.theta_thresh
        )

    def letterbox(self, image: np.ndarray) -> Letterbox:
        """Return the letterbox that fits an image [H, W, 3] into the network's input."""
        height, width = self.input_hw
        return Letterbox.fit(image.shape[1::-1], (width, height), self.metadata.squash)

    def inputs(
        self, images: Sequence[CheckImage], letterboxes: Sequence[Letterbox]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the network's input [B, 3, H, W], and the file's inputs for the same images.

        For a uint8 input, the images must have the same size.
        """
        pixels = [image.pixels for image in images]
        scaled = [box.apply(image) for box, image in zip(letterboxes, pixels, strict=True)]
        batch = np.stack([normalize(image) for image in scaled])
        if self.metadata.input_type != "uint8":
            return batch, {"input": batch}
        order = slice(None, None, -1) if self.metadata.color == "RGB" else slice(None)
        return batch, {"input": np.stack(pixels)[..., order].copy()}

    @torch.no_grad()
    def run_checkpoint(self, batch: np.ndarray) -> list[Reference]:
        """Run the model and the decoder on a batch [B, 3, H, W] in PyTorch."""
        maps = self.model(torch.from_numpy(batch))
        detections = self.decoder.decode(maps)
        single_maps = [
            {head: values[index : index + 1] for head, values in maps.items()}
            for index in range(len(batch))
        ]
        return [
            Reference.of(found, own_maps, self.decoder)
            for found, own_maps in zip(detections, single_maps, strict=True)
        ]

    def run_file(
        self, inputs: Mapping[str, np.ndarray], conf_thresh: float | None = None
    ) -> list[np.ndarray]:
        """Run the file.

        Args:
            inputs: The file's inputs, from `inputs`.
            conf_thresh: Threshold to feed to the file, None for that of the comparison.

        Returns:
            The file's corners [B, K, 4, 2], scores [B, K] and labels [B, K].
        """
        outputs = self.run(self._with_threshold(inputs, conf_thresh))
        return [outputs[name] for name in OUTPUTS]

    def run_file_before_nms(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray] | None:
        """Return the file's rows before NMS like `run_file`, None if it does not include NMS."""
        if self.run_before_nms is None:
            return None
        outputs = self.run_before_nms(self._with_threshold(inputs))
        return [outputs[name] for name in BEFORE_NMS]

    def _with_threshold(
        self, inputs: Mapping[str, np.ndarray], conf_thresh: float | None = None
    ) -> dict[str, np.ndarray]:
        if conf_thresh is None and not self.thresholds.is_input:
            return dict(inputs)
        fed = self.thresholds.file if conf_thresh is None else conf_thresh
        return {**inputs, "conf_thresh": np.array(fed, np.float32)}
