"""Datasets in folders: one with images, one with label files, and id lists."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from datasets.base import BaseDataset
from datasets.images import ImageFolder
from datasets.labels import collect_labels, raise_errors
from datasets.lists import check_overlap, find_list, read_list
from datasets.options import DataOptions
from datasets.summary import LabelSummary
from DOTA_devkit.class_lists import CLASS_FILE, read_class_file
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_kinds import folder_hint, labels_hint
from DOTA_devkit.file_names import check_class_name
from DOTA_devkit.formats import DOTA_CLASSES, Labels, crossing_places, warn_of_crossing
from DOTA_devkit.imaging import image_size_wh, read_image
from DOTA_devkit.scoring import Truth, evaluate, load_detections

logger = logging.getLogger(__name__)


class FolderDataset(BaseDataset):
    """Common base of `DOTA` and `HRSC`, which say where files are and how one is read.

    Attributes:
        image_folder: Name of the image folder, set by the subclass.
        label_folder: Name of the label folder, set by the subclass.
        label_suffix: Suffix of label files, set by the subclass.
        images: The images by id.
    """

    image_folder: ClassVar[str]
    label_folder: ClassVar[str]
    label_suffix: ClassVar[str]

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
        super().__init__(data_dir, phase, input_h, input_w, down_ratio, options=options)
        if not os.path.isdir(data_dir):
            raise InputError(f"{data_dir}: no such data folder{folder_hint(data_dir)}")
        self.image_path = os.path.join(data_dir, self.image_folder)
        self.label_path = os.path.join(data_dir, self.label_folder)
        self.images = ImageFolder(self.image_path)
        self.category = list(self.load_classes())
        self.num_classes = len(self.category)
        self.cat_ids = {name: index for index, name in enumerate(self.category)}
        self.img_ids = self.load_img_ids()
        self._labels: _PackedLabels | None = None

    def default_classes(self) -> tuple[str, ...]:
        """Return the class names to use if neither the options nor classes.txt have any."""
        raise NotImplementedError

    def read_label_file(self, path: Path) -> Labels:
        """Read the labels of one image.

        Raises:
            InputError: They are wrong; the message names file and line.
        """
        raise NotImplementedError

    def read_label_files(self, paths: Sequence[Path]) -> Iterable[Labels]:
        """Read the labels of several images in order; overridden if that is faster for a format."""
        return map(self.read_label_file, paths)

    def load_classes(self) -> tuple[str, ...]:
        """Return the class names of the options, else of classes.txt, else the default ones."""
        classes = self.options.classes
        if isinstance(classes, str):
            classes = tuple(name.strip() for name in classes.split(",") if name.strip())
        path = Path(self.data_dir) / CLASS_FILE
        if not classes:
            return read_class_file(path) if path.is_file() else self.default_classes()
        if len(classes) == 1 and classes[0].lower().removeprefix("dota") in DOTA_CLASSES:
            return DOTA_CLASSES[classes[0].lower().removeprefix("dota")]
        repeated = sorted({name for name in classes if classes.count(name) > 1})
        if repeated:
            raise InputError(f"classes: {', '.join(repeated)} is named more than once")
        for name in classes:
            check_class_name(name, "classes")
        return tuple(classes)

    def load_img_ids(self) -> list[str]:
        """Return the ids of this phase's list, or of all images for training without a list.

        See `datasets.lists.find_list` for which list that is.

        Raises:
            InputError: There is no list or no image, ids have no image or several, or training and
                validation overlap.
        """
        path = find_list(self.data_dir, self.phase, self.options)
        if path is None and self.phase == "train":
            ids, source = self.images.ids(), self.image_path
            if not ids:
                raise InputError(
                    f"{self.image_path}: there are no images in this folder (subfolders are not "
                    "searched)"
                )
            for image_id in ids:
                self.images.path(image_id)  # raises an error if two files share the id
        elif path is None:
            names = "test.txt or val.txt" if self.phase == "test" else f"{self.phase}.txt"
            raise InputError(
                f"{self.data_dir}: no list of the images to read; expected {names} there, with one "
                f"image id per line, or another file as {self.phase}_list"
            )
        else:
            ids, source = self.images.resolve(read_list(path), path), path
        if self.phase == "train":
            self._refuse_overlap(ids, listed=path is not None)
            self._warn_of_tested(ids)
        else:
            unique = list(dict.fromkeys(ids))
            if len(unique) < len(ids):
                logger.warning(
                    "%s: %d repeated ids are used only once", path, len(ids) - len(unique)
                )
            ids = unique
        logger.info("%s: %d images from %s", self.phase, len(ids), source)
        return ids

    def _refuse_overlap(self, train_ids: list[str], listed: bool) -> None:
        """Raise an InputError if validation images are among the training images.

        Args:
            train_ids: Image ids for training.
            listed: Whether a list names them; without one, they are all images of the folder.
        """
        val_path = find_list(self.data_dir, "val", self.options)
        if val_path is None:
            return
        val_ids = [self.images.id_of(entry) for entry in read_list(val_path)]
        try:
            check_overlap(train_ids, val_ids, self.options.allow_overlap)
        except InputError as error:
            if listed:
                raise
            raise InputError(
                f"{self.data_dir}: there is no train.txt, so training takes all images: {error}"
            ) from None

    def _warn_of_tested(self, train_ids: list[str]) -> None:
        """Log a warning if images of the test list are among the training images."""
        path = find_list(self.data_dir, "test", self.options)
        if path is None or path == find_list(self.data_dir, "val", self.options):
            return
        try:
            test_ids = [self.images.id_of(entry) for entry in read_list(path)]
        except InputError:  # the test says what is wrong with it
            return
        check_overlap(train_ids, test_ids, allow=True, name="test")

    def load_image(self, index: int) -> np.ndarray:
        """Read an image [H, W, 3] in BGR."""
        return read_image(self.images.path(self.img_ids[index]), self.options.reading)

    def source_wh(self, index: int) -> tuple[int, int] | None:
        """Return width and height of an image, mostly from its header; None if it has none."""
        if type(self).load_image is not FolderDataset.load_image:
            return None  # a subclass may read other images
        try:
            return image_size_wh(self.images.path(self.img_ids[index]))
        except (InputError, OSError):  # whoever reads the image says what is wrong with it
            return None

    def load_annoFolder(self, img_id: str) -> str:
        """Return the path of the label file of an image."""
        return os.path.join(self.label_path, self.images.id_of(img_id) + self.label_suffix)

    def load_annotation(self, index: int) -> dict[str, np.ndarray]:
        """Read all objects of an image, of any size and difficulty, with unchanged corners."""
        if self._labels is not None:
            return self._labels.annotation(index)
        path = Path(self.load_annoFolder(self.img_ids[index]))
        labels = self.read_label_file(path)
        return _annotation(labels, self._class_indices(path, labels))

    def check_labels(self) -> LabelSummary:
        """Read all labels of the list, from the cache if they are unchanged.

        Raises:
            InputError: Labels are wrong; one message lists the errors of all files: unreadable
                lines with file and line, missing files and unknown class names.
        """
        paths, labels, errors = self._collect_labels()
        self._require_label_files(paths)
        warn_of_crossing(
            [
                place
                for path, item in zip(paths, labels, strict=True)
                if item is not None
                for place in crossing_places(path, item)
            ]
        )
        unknown: list[str] = []
        unknown_names: Counter[str] = Counter()
        packed = []
        for path, item in zip(paths, labels, strict=True):
            if item is None:
                continue
            try:
                packed.append((item, self._class_indices(path, item)))
            except InputError:
                for name, line in zip(item.names, np.asarray(item.lines).tolist(), strict=True):
                    if name not in self.cat_ids:
                        unknown.append(f"{path}:{line}: class {name!r} is unknown")
                        unknown_names[name] += 1
        remedy = ""
        if unknown:
            names = ", ".join(f"{name} ({count})" for name, count in unknown_names.most_common())
            remedy = f"Unknown classes: {names}. {self._remedy()}"
        raise_errors(errors + unknown, "errors in the labels", remedy)
        self._labels = _PackedLabels(packed)
        return self._summarize([(item.corners, indices) for item, indices in packed])

    def label_files(self) -> list[tuple[Path, Labels]]:
        """Return the label file of each image and what is in it, from the cache if unchanged.

        Raises:
            InputError: Some cannot be used.
        """
        paths, labels, errors = self._collect_labels()
        raise_errors(errors, "errors in the labels")
        return list(zip(paths, labels, strict=True))

    def _collect_labels(self) -> tuple[list[Path], list[Labels | None], list[str]]:
        """Return the label files, their labels, and the errors in them, see `collect_labels`."""
        paths = [Path(self.load_annoFolder(img_id)) for img_id in self.img_ids]
        cached = self.options.cache_labels and not self._has_own_reader()
        cache = self._cache_path() if cached else None
        return paths, *collect_labels(paths, self.read_label_files, cache)

    def _require_label_files(self, paths: Sequence[Path]) -> None:
        """Raise an InputError if all label files are missing, as in another layout of folders."""
        if not paths or any(path.exists() for path in paths):
            return
        suffixes = {path.suffix.lower() for path in Path(self.label_path).glob("*")}
        others = sorted(p.name for p in Path(self.data_dir).iterdir() if p.is_dir())
        raise InputError(
            f"{self.label_path}: expected label files such as {paths[0].name} in this folder, one "
            f"for each image, found none{labels_hint(suffixes)} (folders in {self.data_dir}: "
            f"{', '.join(others[:10]) or 'none'})"
        )

    def truth(self) -> Truth | None:
        """Return all labels in source pixels, for evaluation; None if no image is labeled."""
        if self._labels is None and len(self) and all(map(self.has_labels, range(len(self)))):
            self.check_labels()
        return super().truth()

    def dec_evaluation(self, result_path: str) -> float | None:
        """Evaluate the files Task1_<class>.txt of a folder.

        Returns:
            Mean AP50 (VOC 2007), or None without ground truth.
        """
        truth = self.truth()
        if truth is None:
            return None
        detections = load_detections(result_path, self.category)
        scores = evaluate(detections, truth, (0.5,), "voc07", confusion=False)
        logger.info("%s", scores.table())
        return scores.map

    def _has_own_reader(self) -> bool:
        """Return whether a class of a user reads the labels, which the cache knows nothing of."""
        readers = {"read_label_file", "read_label_files"}
        package = FolderDataset.__module__.partition(".")[0]
        return any(
            readers & vars(cls).keys() and cls.__module__.partition(".")[0] != package
            for cls in type(self).__mro__
        )

    def _cache_path(self) -> Path:
        return Path(f"{self.label_path}.cache.npz")

    def _class_indices(self, path: Path, labels: Labels) -> np.ndarray:
        try:
            return np.array([self.cat_ids[name] for name in labels.names], np.int32)
        except KeyError as error:
            name = error.args[0]
            line = int(labels.lines[list(labels.names).index(name)])
            raise InputError(
                f"{path}:{line}: class {name!r} is unknown. {self._remedy()}"
            ) from None

    def _remedy(self) -> str:
        return (
            f"Known classes: {', '.join(self.category)}. Name all classes in `classes` or "
            f"in {Path(self.data_dir) / CLASS_FILE}, one per line; `python -m DOTA_devkit "
            "convert` renames and drops classes."
        )


class _PackedLabels:
    """Labels of all images in four arrays, whose memory forked worker processes share."""

    def __init__(self, items: list[tuple[Labels, np.ndarray]]):
        ends = np.cumsum([len(indices) for _, indices in items], dtype=np.int64)
        self._bounds = np.concatenate([[0], ends]).astype(np.int64)
        corners = [labels.corners for labels, _ in items]
        self._corners = np.concatenate([np.zeros((0, 4, 2)), *corners]).astype(np.float32)
        self._classes = np.concatenate([np.zeros(0, np.int32), *(c for _, c in items)])
        difficult = [labels.difficult for labels, _ in items]
        self._difficult = np.concatenate([np.zeros(0, np.int32), *difficult]).astype(np.int32)

    def annotation(self, index: int) -> dict[str, np.ndarray]:
        rows = slice(*self._bounds[index : index + 2])
        # Copies, because the caller may change them.
        return {
            "pts": self._corners[rows].copy(),
            "cat": self._classes[rows].copy(),
            "dif": self._difficult[rows].copy(),
        }


def _annotation(labels: Labels, indices: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "pts": np.asarray(labels.corners, np.float32).reshape(-1, 4, 2),
        "cat": indices,
        "dif": np.asarray(labels.difficult, np.int32),
    }
