"""The base of every data set: from an image and its labels to a sample, by overridable hooks.

A subclass says which images there are and what their labels say (`load_img_ids`, `load_image`,
`load_annotation`); the rest is here. Constructor, attributes and hooks are those of the original
BBAVectors, so that subclasses written for it work unchanged.
"""

from __future__ import annotations

import logging
import os
from collections import Counter

import numpy as np
import torch

from datasets.augment import PhotometricDistort, random_view, warp
from datasets.geometry import rectangles_in_view
from datasets.labels import LabelSummary, raise_faults
from datasets.memory import keep_freed_memory
from datasets.options import DataOptions, default_options
from datasets.targets import encode
from datasets.user_file import file_of, rebuild
from DOTA_devkit.errors import InputError
from DOTA_devkit.merging import merge_results
from DOTA_devkit.progress import progress
from DOTA_devkit.scoring import Truth
from structures import boxes
from structures.letterbox import Letterbox, normalize

logger = logging.getLogger(__name__)

LEFT_OUT_REASONS = ("min_size", "min_visible", "max_objs")
"""What the counts `left_out` of a training sample stand for."""


class BaseDataset(torch.utils.data.Dataset):
    """Samples for training (`phase` 'train') and for detection (any other phase).

    Attributes that a subclass sets: `category` (class names), `num_classes`, `cat_ids` (class name
    -> index), `img_ids`, and where they apply `image_path` and `label_path`. `max_objs` is the
    number of objects of an image that are taught, `image_distort` the photometric distortion: any
    callable from image to image.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str],
        phase: str,
        input_h: int | None = None,
        input_w: int | None = None,
        down_ratio: int | None = None,
        *,
        options: DataOptions | None = None,
    ):
        super().__init__()
        keep_freed_memory()
        self.data_dir = data_dir
        self.phase = phase
        self.input_h = input_h
        self.input_w = input_w
        self.down_ratio = down_ratio or boxes.STRIDE
        self.options = options or default_options()
        self.max_objs = self.options.max_objs
        self.img_ids = None
        self.category = None
        self.cat_ids = None
        self.num_classes = None
        self.image_distort = PhotometricDistort()
        self.summary: LabelSummary | None = None
        """What the labels hold, once `check_labels` has read them."""
        # Shared memory, so that workers that live on see the epoch change: [epoch, seed].
        self._clock = torch.tensor([-1, 0]).share_memory_()
        self._stream: tuple[int, np.random.Generator] | None = None
        self._rng: np.random.Generator | None = None

    def __reduce_ex__(self, protocol: int) -> tuple:
        path = file_of(type(self))
        if path is None:
            return super().__reduce_ex__(protocol)
        return rebuild, (path, type(self).__qualname__, self.__dict__)

    # Hooks --------------------------------------------------------------------------------------

    def load_img_ids(self) -> list[str]:
        """Ids of the images of this phase."""
        raise NotImplementedError(f"{type(self).__name__} does not define load_img_ids")

    def load_image(self, index: int) -> np.ndarray:
        """Image [H, W, 3] in BGR."""
        raise NotImplementedError(f"{type(self).__name__} does not define load_image")

    def load_annoFolder(self, img_id: str) -> str | None:
        """Path of the label file of an image; None where labels are no files."""
        return None

    def load_annotation(self, index: int) -> dict[str, np.ndarray]:
        """Labels of an image: `pts` [N, 4, 2] corners in source pixels, in order around the box,
        `cat` [N] class indices and, where known, `dif` [N] difficulties."""
        raise NotImplementedError(f"{type(self).__name__} does not define load_annotation")

    def dec_evaluation(self, result_path: str) -> float | None:
        """Score the Task1 files of a folder: mean AP in [0, 1], None where there is no truth."""
        return None

    def merge_crop_image_results(self, result_path: str, merge_path: str) -> None:
        """Merge Task1 files of patches into those of their source images, by polygon NMS."""
        merge_results([result_path], merge_path, self.options.nms_thresh)

    # Samples ------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.img_ids)

    def __getitem__(self, index: int) -> dict:
        """One sample.

        Training: the targets of `generate_ground_truth`, `index` (int64) and `left_out` [3] int64,
        how many objects were not taught for each of `LEFT_OUT_REASONS`.
        Else: `image` tensor [1, 3, H, W], `img_id`, `image_w` and `image_h` of the source and,
        with `options.keep_source`, the `source` itself.
        """
        image = self.load_image(index)
        if image is None:
            raise InputError(f"the image of id {self.img_ids[index]!r} cannot be read")
        if self.phase != "train":
            return self._test_sample(image, index)
        self._rng = self._sample_rng(index)
        annotation = self.load_annotation(index)
        view, annotation = self.data_transform(image, annotation)
        sample = self.generate_ground_truth(view, annotation)
        sample["index"] = np.int64(index)
        counts = list(annotation.get("left_out_counts", (0, 0)))
        sample["left_out"] = np.array(
            [*counts, max(len(annotation["rect"]) - self.max_objs, 0)], np.int64
        )
        return sample

    def _test_sample(self, image: np.ndarray, index: int) -> dict:
        sample = {
            "image": self.processing_test(image, self.input_h, self.input_w),
            "img_id": self.img_ids[index],
            "image_w": image.shape[1],
            "image_h": image.shape[0],
        }
        if self.options.keep_source:
            sample["source"] = image
        return sample

    def processing_test(self, image: np.ndarray, input_h: int, input_w: int) -> torch.Tensor:
        """Network input [1, 3, H, W] of a source image: letterboxed, in [-0.5, 0.5]."""
        box = Letterbox.fit(image.shape[1::-1], (input_w, input_h), self.options.squash)
        return torch.from_numpy(normalize(box.apply(image))[None])

    def data_transform(
        self, image: np.ndarray, annotation: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """A view of an image for training, random where `options.augment`, and its labels.

        Returns the view [H, W, 3] and a dict: `rect` [N, 5] (centre, size, degrees) on the grid
        of the head maps and `cat` [N] of what is taught, `left_out` [M, 4, 2] (corners on that
        grid) and `left_out_cat` [M] of what is too small or shows too little.
        """
        source_wh, view_wh = image.shape[1::-1], (self.input_w, self.input_h)
        box = Letterbox.fit(source_wh, view_wh, self.options.squash)
        if self.options.augment:
            matrix = random_view(self._random(), box, self.options.rotation)
            view = warp(image, matrix, view_wh)
        else:
            matrix, view = box.matrix, box.apply(image)

        outlines = np.asarray(annotation["pts"], np.float64).reshape(-1, 4, 2)
        labels = np.asarray(annotation["cat"]).reshape(-1).astype(np.int64)
        rectangles, shares, whole = rectangles_in_view(outlines, matrix, source_wh, view_wh)
        in_sight, large = shares > 0, self._is_large(outlines)
        taught = in_sight & large & (shares >= self.options.min_visible)
        left_out = in_sight & ~taught
        return view, {
            "rect": boxes.corners_to_rectangles(rectangles[taught] / self.down_ratio),
            "cat": labels[taught],
            "left_out": whole[left_out] / self.down_ratio,
            "left_out_cat": labels[left_out],
            "left_out_counts": np.array([(left_out & ~large).sum(), (left_out & large).sum()]),
        }

    def _is_large(self, outlines: np.ndarray) -> np.ndarray:
        """Whether the smallest rectangles around outlines [N, 4, 2] have a side of `min_size`."""
        # The longer side lies between 0.7 times the largest distance of two corners and it, which
        # settles nearly all of them.
        spans = outlines[:, (0, 0, 0, 1, 1, 2)] - outlines[:, (1, 2, 3, 2, 3, 3)]
        span = np.hypot(spans[..., 0], spans[..., 1]).max(axis=1)
        large = span >= self.options.min_size
        close = large & (0.7 * span < self.options.min_size)
        sides = boxes.side_lengths(boxes.min_area_rectangles(outlines[close]))
        large[close] = sides.max(axis=1, initial=0) >= self.options.min_size
        return large

    def generate_ground_truth(
        self, image: np.ndarray, annotation: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Network input and targets of a view.

        image: [input_h, input_w, 3] in BGR, 0 to 255. annotation: `rect` and `cat`, and where
        known `left_out` and `left_out_cat`, as `data_transform` returns them. Returns `input`
        [3, input_h, input_w] float32 and the targets of `datasets.targets.encode`.
        """
        size_hw = (self.input_h // self.down_ratio, self.input_w // self.down_ratio)
        targets = encode(
            annotation["rect"], annotation["cat"], self.num_classes, size_hw, self.max_objs,
            annotation.get("left_out"), annotation.get("left_out_cat"),
        )  # fmt: skip
        return {"input": self._distorted_input(image), **targets}

    def _distorted_input(self, image: np.ndarray) -> np.ndarray:
        if not self.options.augment:
            return normalize(image)
        # Exactly that class: one of a user's own may change what a call does.
        if type(self.image_distort) is PhotometricDistort and image.dtype == np.uint8:
            return normalize(image, *self.image_distort.draw(self._random()))
        return normalize(self.image_distort(np.asarray(image, np.float32).clip(0, 255)))

    # Randomness ---------------------------------------------------------------------------------

    def set_epoch(self, epoch: int, seed: int = 0) -> None:
        """From now on a training sample depends on (seed, epoch, index) alone.

        So it is the same with any number of workers, with workers that live on, and in a resumed
        run. Where it is never called, samples follow from PyTorch's seed of each process.
        """
        self._clock[0], self._clock[1] = epoch, seed

    def _sample_rng(self, index: int) -> np.random.Generator:
        epoch, seed = self._clock.tolist()
        if epoch >= 0:
            return np.random.default_rng([seed, epoch, index])
        process_seed = torch.initial_seed()  # differs from worker to worker
        if self._stream is None or self._stream[0] != process_seed:
            self._stream = (process_seed, np.random.default_rng(process_seed))
        return self._stream[1]

    def _random(self) -> np.random.Generator:
        """The generator of the current sample, also where a hook is called on its own."""
        if self._rng is None:
            self._rng = self._sample_rng(0)
        return self._rng

    # Labels -------------------------------------------------------------------------------------

    def has_labels(self, index: int) -> bool:
        """Whether there are labels for an image, be it an empty file."""
        if type(self).load_annotation is BaseDataset.load_annotation:
            return False
        path = self.load_annoFolder(self.img_ids[index])
        return path is None or os.path.exists(path)

    def check_labels(self) -> LabelSummary:
        """Read all labels; one InputError tells what is wrong with them. See `summary`."""
        faults: list[str] = []
        annotations = []
        for index in progress(range(len(self)), "labels", len(self)):
            try:
                annotations.append(self._checked(self.load_annotation(index)))
            except (ValueError, LookupError, AttributeError, AssertionError, OSError) as error:
                kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
                faults.append(f"{self.img_ids[index]}: {kind}{error}")
        raise_faults(faults, f"images have labels that {type(self).__name__} cannot read")
        return self._summarize(annotations)

    def _checked(self, annotation: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Corners [N, 4, 2] and classes [N] of an annotation; ValueError where they do not fit."""
        outlines = np.asarray(annotation["pts"], np.float64).reshape(-1, 4, 2)
        labels = np.asarray(annotation["cat"]).reshape(-1)
        if len(outlines) != len(labels):
            raise ValueError(f"{len(outlines)} boxes in 'pts' but {len(labels)} classes in 'cat'")
        if not np.isfinite(outlines).all():
            raise ValueError("a corner in 'pts' is not a finite number")
        if len(labels) and not (labels.min() >= 0 and labels.max() < self.num_classes):
            raise ValueError(f"a class in 'cat' is not one of 0 to {self.num_classes - 1}")
        return outlines, labels.astype(np.int64)

    def _summarize(self, annotations: list[tuple[np.ndarray, np.ndarray]]) -> LabelSummary:
        """Count and tell, once, what of the labels is taught; `annotations`: corners, classes."""
        sizes = [len(labels) for _, labels in annotations]
        outlines = np.concatenate([a for a, _ in annotations]) if sizes else np.zeros((0, 4, 2))
        labels = np.concatenate([a for _, a in annotations]) if sizes else np.zeros(0, np.int64)
        image = np.repeat(np.arange(len(sizes)), sizes)
        small = ~self._is_large(outlines)
        sides = boxes.side_lengths(boxes.min_area_rectangles(outlines))
        flat = ~small & (sides.min(axis=1, initial=np.inf) <= 1e-6)
        taught = ~small & ~flat
        rank = np.cumsum(taught) - 1
        before = np.zeros(len(sizes) + 1, np.int64)
        np.cumsum(np.bincount(image[taught], minlength=len(sizes)), out=before[1:])
        beyond = taught & (rank - before[image] >= self.max_objs)
        taught &= ~beyond
        counts = Counter(labels[taught].tolist())
        names = self.category or [str(label) for label in range(self.num_classes)]
        self.summary = LabelSummary(
            images=len(sizes),
            empty_images=len(sizes) - len(np.unique(image[taught])),
            objects={name: counts[label] for label, name in enumerate(names)},
            too_small=int(small.sum()),
            without_area=int(flat.sum()),
            beyond_max=int(beyond.sum()),
            min_size=self.options.min_size,
            max_objs=self.max_objs,
        )
        if self.phase == "train":
            logger.info("training on %s", self.summary)
            if not taught.any():
                logger.warning("not one object is taught: are these the right labels?")
        return self.summary

    def mean_objects(self, batch_size: int) -> float:
        """Mean number of taught objects a batch, at least 1."""
        summary = self.summary or self.check_labels()
        return max(summary.mean_objects * batch_size, 1.0)

    def truth(self) -> Truth | None:
        """All labels in source pixels, for scoring; None where no image has any.

        InputError where only some images have labels: detections on the others cannot be scored.
        """
        have = [self.has_labels(index) for index in range(len(self))]
        if not any(have):
            return None
        missing = [image_id for image_id, has in zip(self.img_ids, have, strict=True) if not has]
        raise_faults(
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
