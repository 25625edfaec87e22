"""Compare an exported file with its checkpoint, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from decoder import to_source
from deploy.export.parity.matching import ImageMatch, ImageMatcher
from deploy.export.parity.model_pair import ModelPair
from deploy.export.parity.reference import Reference
from deploy.export.parity.report import Report
from deploy.export.parity.rows import check_greedy, outputs_to_detections, row_faults
from deploy.export.parity.tolerance import Tolerance
from deploy.export.types import CheckImage
from structures.detections import Detections


class ParityComparison:
    """Runs both models on the same images and keeps the report.

    Args:
        models: The checkpoint's model and the file.
        tolerance: How much they may differ.

    Attributes:
        report: The results so far.
    """

    def __init__(self, models: ModelPair, tolerance: Tolerance) -> None:
        self.models = models
        self.tolerance = tolerance
        self.report = Report()
        self._matcher = ImageMatcher(tolerance, models.thresholds, models.metadata.K)

    def compare(self, images: Sequence[CheckImage]) -> list[tuple[Detections, Detections]]:
        """Compare the models on one batch.

        Args:
            images: The images of the batch, of the same size for a uint8 input.

        Returns:
            For each image, the detections of the checkpoint and of the file above the reported
            threshold, before NMS, in pixels of the source image.
        """
        models = self.models
        letterboxes = [models.letterbox(image.pixels) for image in images]
        batch, inputs = models.inputs(images, letterboxes)
        references = models.run_checkpoint(batch)
        rows = models.run_file(inputs)
        self.check_rows(images, rows)
        before_nms = models.run_file_before_nms(inputs)
        if before_nms is not None:
            for image, *both in zip(images, *rows, *before_nms, strict=True):
                self.check_nms(image.name, both[:3], both[3:])
            rows = before_nms
        found = [
            models.thresholds.filter_file(outputs_to_detections(*image_rows))
            for image_rows in zip(*rows, strict=True)
        ]
        self.report.batches += len(images) > 1
        pairs = []
        for image, reference, exported, box in zip(
            images, references, found, letterboxes, strict=True
        ):
            if models.metadata.input_type == "uint8":  # compared in the network's pixels
                in_input = exported.with_corners(box.to_input(exported.corners))
            else:
                in_input = exported
                exported = to_source(exported, box)
            self.add_image(image, reference, in_input)
            both = (to_source(reference.detections, box), exported)
            pairs.append(tuple(one[models.thresholds.is_reported(one)] for one in both))
        return pairs

    def add_image(
        self, image: CheckImage, reference: Reference, exported: Detections
    ) -> ImageMatch | None:
        """Add one image to the report.

        Args:
            image: The image.
            reference: The checkpoint's detections.
            exported: The file's detections, in pixels of the network's input.

        Returns:
            The matched detections, None for a synthetic image that is not judged.
        """
        report, is_reported = self.report, self.models.thresholds.is_reported
        report.images += 1
        report.empty_images += not any(
            is_reported(one).any() for one in (reference.detections, exported)
        )
        if image.synthetic and not self.tolerance.judge_synthetic:
            return None
        matched = self._matcher.match(reference, exported)
        report.add(image.name, matched)
        return matched

    def check_empty(self, images: Sequence[CheckImage]) -> None:
        """Check that the file finds nothing at a threshold of 1, which no score exceeds.

        Args:
            images: As in `compare`. The file's threshold must be an input.
        """
        models = self.models
        _, inputs = models.inputs(images, [models.letterbox(image.pixels) for image in images])
        rows = models.run_file(inputs, conf_thresh=1)
        self.check_rows(images, rows)
        for image, labels in zip(images, rows[2], strict=True):
            if (labels >= 0).any():
                fault = f"{image.name}: there are detections although conf_thresh is 1"
                self.report.row_faults.append(fault)
            else:
                self.report.emptied_images += 1

    def check_rows(self, images: Sequence[CheckImage], rows: Sequence[np.ndarray]) -> None:
        """Report wrong order and wrong empty rows.

        Args:
            images: The images of the batch.
            rows: The file's corners [B, K, 4, 2], scores [B, K] and labels [B, K].
        """
        for image, *image_rows in zip(images, *rows, strict=True):
            faults = row_faults(*image_rows, self.tolerance.ordered_ties)
            self.report.row_faults += [f"{image.name}: {fault}" for fault in faults]

    def check_nms(
        self, name: str, kept: Sequence[np.ndarray], before: Sequence[np.ndarray]
    ) -> None:
        """Report where the rows that the file keeps differ from those of greedy NMS.

        Args:
            name: Name of the image.
            kept: Corners [K, 4, 2], scores [K] and labels [K] after NMS.
            before: The same before NMS.
        """
        near, faults = check_greedy(
            outputs_to_detections(*before),
            outputs_to_detections(*kept),
            self.models.metadata.nms_thresh,
        )
        self.report.borderline += [f"{name}: rows {i} and {j}, IoU {iou:.7f}" for i, j, iou in near]
        self.report.nms_faults += [f"{name}: {fault}" for fault in faults]
