"""What the labels of a dataset are as a whole: checked, counted, and as the truth of a score."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import numpy as np

from datasets.labels import raise_errors
from datasets.resolution import sides_below, typical_scale
from datasets.summary import LabelSummary, summarize_labels
from DOTA_devkit.polygon import uncrossed
from DOTA_devkit.progress import progress
from DOTA_devkit.scoring import Truth
from structures.letterbox import Letterbox

logger = logging.getLogger(__name__)


class LabelSurvey:
    """The part of `datasets.base.BaseDataset`, which has its attributes, that reads all labels."""

    def check_labels(self) -> LabelSummary:
        """Read all labels and set `summary`.

        Raises:
            InputError: Labels are wrong; one message lists the errors of all images.
        """
        errors: list[str] = []
        annotations = []
        for index in progress(range(len(self)), "labels", len(self)):
            try:
                annotations.append(self._checked(self.load_annotation(index)))
            except (ValueError, LookupError, AttributeError, AssertionError, OSError) as error:
                kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
                errors.append(f"{self.img_ids[index]}: {kind}{error}")
        raise_errors(errors, f"images have labels that {type(self).__name__} cannot read")
        return self._summarize(annotations)

    def _checked(self, annotation: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return corners [N, 4, 2], in an order around the box, and classes [N].

        Raises:
            ValueError: They are inconsistent.
        """
        outlines = np.asarray(annotation["pts"], np.float64).reshape(-1, 4, 2)
        labels = np.asarray(annotation["cat"]).reshape(-1)
        if len(outlines) != len(labels):
            raise ValueError(f"{len(outlines)} boxes in 'pts' but {len(labels)} classes in 'cat'")
        if not np.isfinite(outlines).all():
            raise ValueError("a corner in 'pts' is not a finite number")
        if len(labels) and not (labels.min() >= 0 and labels.max() < self.num_classes):
            raise ValueError(f"a class in 'cat' is not one of 0 to {self.num_classes - 1}")
        return uncrossed(outlines)[0], labels.astype(np.int64)

    def _summarize(self, annotations: Sequence[tuple[np.ndarray, np.ndarray]]) -> LabelSummary:
        """Set `summary` from corners and classes of each image, and log it for training."""
        names = self.category or [str(label) for label in range(self.num_classes)]
        train = self.phase == "train" and self.input_h and self.input_w
        self.summary = summarize_labels(
            annotations, names, self.options.min_size, self.max_objs,
            self._input_sides([outlines for outlines, _ in annotations]) if train else None,
            self.down_ratio, (self.input_h, self.input_w),
        )  # fmt: skip
        if self.phase == "train":
            logger.info("training on %s", self.summary)
            if self.summary.small is not None:
                logger.warning("%s", self.summary.small.advice(self.summary.objects))
            if not any(self.summary.objects.values()):
                logger.warning("there are no training targets: are these the right labels?")
        return self.summary

    def _input_sides(self, outlines: Sequence[np.ndarray]) -> np.ndarray:
        """Return the result of `sides_below` for the objects of each image, for one cell."""
        letterboxes = self._letterboxes(progress(range(len(self)), "sizes", len(self)))
        return sides_below(self.down_ratio, outlines, letterboxes, self.options.min_visible)

    def _letterboxes(self, indices: Iterable[int]) -> list[Letterbox | None]:
        """Return how images are placed in the input of testing; None where a size is unknown."""
        view_wh = (self.input_w, self.input_h)
        sizes = map(self.source_wh, indices)
        return [size and Letterbox.fit(size, view_wh, self.options.squash) for size in sizes]

    def typical_scale(self) -> float | None:
        """Return the median of input pixels per source pixel, None if no size is known.

        Of a large set, some hundred images all over it are measured.
        """
        step = max(1, len(self) // 256)
        return typical_scale(self._letterboxes(range(0, len(self), step)))

    def mean_objects(self, batch_size: int) -> float:
        """Return the mean number of training targets in a batch, at least 1."""
        summary = self.summary or self.check_labels()
        return max(summary.mean_objects * batch_size, 1.0)

    def truth(self) -> Truth | None:
        """Return all labels in source pixels, for evaluation; None if no image is labeled.

        Raises:
            InputError: Only some images are labeled, so detections on the others cannot be scored.
        """
        have = [self.has_labels(index) for index in range(len(self))]
        if not any(have):
            return None
        missing = [image_id for image_id, has in zip(self.img_ids, have, strict=True) if not has]
        raise_errors(
            missing,
            f"of {len(have)} images have no labels, so the others cannot be scored",
            "An image without objects has an empty label file.",
        )
        images = {}
        for index, image_id in enumerate(self.img_ids):
            annotation = self.load_annotation(index)
            outlines, labels = self._checked(annotation)
            difficult = annotation.get("dif")
            if difficult is None:
                difficult = np.zeros(len(labels), np.int64)
            images[image_id] = (outlines, labels, np.asarray(difficult).reshape(-1))
        return Truth.from_arrays(images, list(self.category))
