"""Base class of all datasets: from an image and its labels to a sample, by overridable hooks.

A subclass says which images there are and what their labels are (`load_img_ids`, `load_image`,
`load_annotation`); the rest is here. Constructor, attributes and hooks are those of the original
BBAVectors, so subclasses written for it work unchanged.
"""

from __future__ import annotations

import errno
import os

import numpy as np
import torch

from datasets.augment import PhotometricDistort, random_view, warp
from datasets.geometry import reaches_size, rectangles_in_view
from datasets.images import UnreadableImage
from datasets.label_survey import LabelSurvey
from datasets.memory import keep_freed_memory
from datasets.mosaic import fits_tiles, join_annotations, join_pixels, random_tiles, tile_view
from datasets.options import DataOptions, default_options
from datasets.sample_rng import SampleRng
from datasets.summary import LabelSummary
from datasets.targets import encode_targets
from datasets.user_file import file_of, rebuild
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import bgr_of_array
from DOTA_devkit.merging import merge_results
from DOTA_devkit.progress import progress
from structures import boxes
from structures.letterbox import Letterbox, normalize

IGNORE_REASONS = ("min_size", "min_visible", "max_objs")
"""The option behind each of the three counts `ignored` of a training sample."""

_LACKING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors of opening a file that say nothing about the file."""


class BaseDataset(LabelSurvey, torch.utils.data.Dataset):
    """Samples for training (`phase` 'train') and for detection (any other phase).

    Args:
        data_dir: The data folder.
        phase: 'train', 'val', 'test' or any other name.
        input_h: Height of the network's input.
        input_w: Width of the network's input.
        down_ratio: Input pixels per cell of the head maps; `boxes.STRIDE` by default.
        options: Further settings; by default those of `datasets.options.default_options`.

    Attributes:
        category: Class names, set by the subclass.
        num_classes: Number of classes, set by the subclass.
        cat_ids: Class name -> index, set by the subclass.
        img_ids: Ids of the images, set by the subclass.
        max_objs: Maximum number of training targets per image.
        image_distort: Photometric distortion: any callable from image to image.
        summary: Counts of the labels, once `check_labels` has read them.
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
        self._rng = SampleRng()

    def __reduce_ex__(self, protocol: int) -> tuple:
        path = file_of(type(self))
        if path is None:
            return super().__reduce_ex__(protocol)
        return rebuild, (path, type(self).__qualname__, self.__dict__)

    # Hooks --------------------------------------------------------------------------------------

    def load_img_ids(self) -> list[str]:
        """Return the ids of the images of this phase."""
        raise NotImplementedError(f"{type(self).__name__} does not define load_img_ids")

    def load_image(self, index: int) -> np.ndarray:
        """Read an image [H, W, 3] uint8 in BGR; see `source_image` for what else is taken."""
        raise NotImplementedError(f"{type(self).__name__} does not define load_image")

    def source_wh(self, index: int) -> tuple[int, int] | None:
        """Return width and height of an image; None if that requires reading the whole image."""
        return None

    def load_annoFolder(self, img_id: str) -> str | None:
        """Return the path of the label file of an image; None if labels are not files."""
        return None

    def load_annotation(self, index: int) -> dict[str, np.ndarray]:
        """Read the labels of an image.

        Returns:
            `pts` [N, 4, 2], the corners in source pixels, in order around the box; `cat` [N] class
            indices; and optionally `dif` [N] difficulties.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define load_annotation")

    def dec_evaluation(self, result_path: str) -> float | None:
        """Evaluate the Task1 files of a folder.

        Returns:
            Mean AP in [0, 1], or None without ground truth.
        """
        return None

    def merge_crop_image_results(self, result_path: str, merge_path: str) -> None:
        """Merge Task1 files of patches into those of their source images, by polygon NMS."""
        merge_results([result_path], merge_path, self.options.nms_thresh)

    # Samples ------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.img_ids)

    def source_image(self, index: int) -> np.ndarray:
        """Return the image of `load_image` as [H, W, 3] in BGR, 0 to 255.

        Gray is repeated, and 16 bits become 8 as in an image file. Other numbers are taken as they
        are, as in the original.

        Raises:
            UnreadableImage: The image cannot be read.
            InputError: `load_image` returns something else.
        """
        image = self._loaded_image(index)
        if isinstance(image, np.ndarray):
            known_dtype = image.dtype.kind in "fiu" and image.dtype != np.uint16
            if known_dtype and image.ndim == 3 and image.shape[2] == 3 and image.size:
                return image
        try:
            return bgr_of_array(image, self.options.reading)
        except InputError as error:
            raise InputError(
                f"the image with id {self.img_ids[index]!r}, as {type(self).__name__}.load_image "
                f"returns it: {error}"
            ) from None

    def _loaded_image(self, index: int) -> np.ndarray:
        try:
            image = self.load_image(index)
        except InputError as error:
            raise UnreadableImage(str(error)) from error
        except OSError as error:
            if error.errno in _LACKING:
                raise
            raise UnreadableImage(f"image {self.img_ids[index]}: {error}") from error
        if image is None:
            raise UnreadableImage(f"the image with id {self.img_ids[index]!r} cannot be read")
        return image

    def __getitem__(self, index: int) -> dict:
        """Load one sample.

        Returns:
            For training: the output of `generate_ground_truth`, `index` (int64) and `ignored` [3]
            int64, the number of objects ignored for each of `IGNORE_REASONS`.
            Otherwise: `image` tensor [1, 3, H, W], `img_id`, `image_w` and `image_h` of the source
            and, with `options.keep_source`, the `source` itself.

        Raises:
            InputError: The image cannot be used, see `source_image`.
        """
        if self.phase != "train":
            return self._test_sample(self.source_image(index), index)
        return self.training_sample(index)

    def training_sample(self, index: int, mosaic: float = 0.0) -> dict:
        """Load one sample for training, as indexing does.

        Args:
            index: The image.
            mosaic: Probability that three more images are part of the view, unless an object of
                this one is too large for that; see `datasets.mosaic`.
        """
        image = self.source_image(index)
        self._rng.start_sample(index)
        annotation = self.load_annotation(index)
        if mosaic and self._rng.current().random() < mosaic and self._fits_tiles(image, annotation):
            view, annotation = self._mosaic(image, annotation)
        else:
            view, annotation = self.data_transform(image, annotation)
        sample = self.generate_ground_truth(view, annotation)
        sample["index"] = np.int64(index)
        counts = list(annotation.get("ignored_counts", (0, 0)))
        sample["ignored"] = np.array(
            [*counts, max(len(annotation["rect"]) - self.max_objs, 0)], np.int64
        )
        return sample

    def leave_out_unreadable(self) -> dict[str, str]:
        """Read all images, and remove those that cannot be read from `img_ids`.

        Returns:
            Id -> reason of each removed one.

        Raises:
            InputError: None is left.
        """
        reasons = {}
        for index in progress(range(len(self)), "images", len(self)):
            try:
                self.source_image(index)
            except UnreadableImage as error:
                reasons[self.img_ids[index]] = str(error)
        if len(reasons) == len(self):
            raise InputError(f"no image can be read; the first: {next(iter(reasons.values()))}")
        if reasons:
            self.img_ids = [image_id for image_id in self.img_ids if image_id not in reasons]
            self.check_labels()
        return reasons

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
        """Convert a source image to the network's input [1, 3, H, W], letterboxed, -0.5 to 0.5."""
        box = Letterbox.fit(image.shape[1::-1], (input_w, input_h), self.options.squash)
        return torch.from_numpy(normalize(box.apply(image))[None])

    def data_transform(
        self, image: np.ndarray, annotation: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Make a view of an image for training, random with `options.augment`, and its labels.

        Args:
            image: [H, W, 3] source image.
            annotation: As `load_annotation` returns it.

        Returns:
            The view [input_h, input_w, 3] and a dict: `rect` [N, 5] (center, size, degrees) in
            cells and `cat` [N] of the training targets, `ignored` [M, 4, 2] (corners in cells) and
            `ignored_cat` [M] of objects that are too small or not visible enough, and
            `ignored_counts` [2] of either.
        """
        box = self._letterbox(image.shape[1::-1])
        if self.options.augment:
            matrix = random_view(self._rng.current(), box, self.options.rotation)
            view = warp(image, matrix, box.input_wh)
        else:
            matrix, view = box.matrix, box.apply(image)

        return view, self._annotation_in_view(annotation, matrix, box.source_wh, box.input_wh)

    def allows_mosaics(self) -> bool:
        """Return whether training views may be mosaics: not if a subclass makes its own views."""
        own = any(
            name in vars(self) or getattr(type(self), name) is not getattr(BaseDataset, name)
            for name in ("__getitem__", "data_transform")
        )
        return self.options.augment and not own

    def _letterbox(self, source_wh: tuple[int, int]) -> Letterbox:
        return Letterbox.fit(source_wh, (self.input_w, self.input_h), self.options.squash)

    def _fits_tiles(self, image: np.ndarray, annotation: dict[str, np.ndarray]) -> bool:
        outlines = np.asarray(annotation["pts"], np.float64).reshape(-1, 4, 2)
        return fits_tiles(outlines, self._letterbox(image.shape[1::-1]))

    def _mosaic(
        self, image: np.ndarray, annotation: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Take the place of `data_transform`, with three more images; see `datasets.mosaic`."""
        rng = self._rng.current()
        tiles = random_tiles(rng, (self.input_w, self.input_h))
        sources = [(image, annotation)]
        for other in rng.integers(len(self), size=len(tiles) - 1).tolist():
            try:
                sources.append((self.source_image(other), self.load_annotation(other)))
            except UnreadableImage:  # the sample of that image tells of it
                sources.append((image, annotation))
        views, annotations = [], []
        for tile, (source, labels) in zip(tiles, sources, strict=True):
            box = self._letterbox(source.shape[1::-1])
            view = tile_view(rng, source, box, self.options.rotation, tile)
            views.append(view)
            annotations.append(
                self._annotation_in_view(labels, view.matrix, box.source_wh, tile.size_wh)
            )
        return join_pixels(views), join_annotations(tiles, annotations, self.down_ratio)

    def _annotation_in_view(
        self,
        annotation: dict[str, np.ndarray],
        matrix: np.ndarray,
        source_wh: tuple[int, int],
        view_wh: tuple[int, int],
    ) -> dict[str, np.ndarray]:
        """Return the second result of `data_transform` for the view that `matrix` [2, 3] makes."""
        outlines = np.asarray(annotation["pts"], np.float64).reshape(-1, 4, 2)
        labels = np.asarray(annotation["cat"]).reshape(-1).astype(np.int64)
        rectangles, visible_shares, whole = rectangles_in_view(outlines, matrix, source_wh, view_wh)
        visible = visible_shares > 0
        large = reaches_size(outlines, self.options.min_size)
        targets = visible & large & (visible_shares >= self.options.min_visible)
        ignored = visible & ~targets
        return {
            "rect": boxes.corners_to_rectangles(rectangles[targets] / self.down_ratio),
            "cat": labels[targets],
            "ignored": whole[ignored] / self.down_ratio,
            "ignored_cat": labels[ignored],
            "ignored_counts": np.array([(ignored & ~large).sum(), (ignored & large).sum()]),
        }

    def generate_ground_truth(
        self, image: np.ndarray, annotation: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Compute the network's input and the training targets of a view.

        Args:
            image: [input_h, input_w, 3] in BGR, 0 to 255.
            annotation: `rect` and `cat`, and optionally `ignored` and `ignored_cat`, as
                `data_transform` returns them.

        Returns:
            `input` [3, input_h, input_w] float32 and the targets of
            `datasets.targets.encode_targets`.
        """
        return {"input": self._distorted_input(image), **self._encoded(annotation)}

    def whole_image_targets(self, index: int, source_wh: tuple[int, int]) -> dict[str, np.ndarray]:
        """Compute the training targets of a whole image, letterboxed and not augmented.

        Args:
            index: The image, in any phase.
            source_wh: Width and height of the image, which is not read.

        Returns:
            The targets of `datasets.targets.encode_targets`.
        """
        box = self._letterbox(source_wh)
        annotation = self.load_annotation(index)
        return self._encoded(
            self._annotation_in_view(annotation, box.matrix, source_wh, box.input_wh)
        )

    def _encoded(self, annotation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        size_hw = (self.input_h // self.down_ratio, self.input_w // self.down_ratio)
        return encode_targets(
            annotation["rect"], annotation["cat"], self.num_classes, size_hw, self.max_objs,
            annotation.get("ignored"), annotation.get("ignored_cat"),
        )  # fmt: skip

    def _distorted_input(self, image: np.ndarray) -> np.ndarray:
        if not self.options.augment:
            return normalize(image)
        # Exactly this class, because a subclass may change what a call does.
        if type(self.image_distort) is PhotometricDistort and image.dtype == np.uint8:
            return normalize(image, *self.image_distort.draw(self._rng.current()))
        return normalize(self.image_distort(np.asarray(image, np.float32).clip(0, 255)))

    def set_epoch(self, epoch: int, seed: int = 0) -> None:
        """Make training samples depend on (seed, epoch, index) alone.

        Samples are then the same with any number of workers, with persistent workers, and in a
        resumed run. If this is never called, they depend on PyTorch's seed of each process.
        """
        self._rng.set_epoch(epoch, seed)

    # Labels -------------------------------------------------------------------------------------

    def has_labels(self, index: int) -> bool:
        """Return whether an image is labeled; an empty label file counts as labels."""
        if type(self).load_annotation is BaseDataset.load_annotation:
            return False
        path = self.load_annoFolder(self.img_ids[index])
        return path is None or os.path.exists(path)
