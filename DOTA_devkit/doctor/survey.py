"""What the checks look at: labels, images, lists and classes of a data folder, as they are read.

Reading continues after a fault and records it, so that one bad file does not hide all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from DOTA_devkit.doctor.findings import MAX_EXAMPLES, Example
from DOTA_devkit.imaging import ReadOptions
from DOTA_devkit.letterboxing import fit_inside
from DOTA_devkit.stats import BoxMeasures, LabelSet, measure_boxes
from DOTA_devkit.stats.problems import labeled_twice

CELL_PX = 4
"""Input pixels per cell of the head maps, of every backbone."""


FROM_RELEASE = "the names of DOTA"
"""Beginning of `Survey.class_source` if the names in the labels identify a release of DOTA."""


@dataclass(frozen=True)
class Settings:
    """The settings of the training for which the data are checked.

    Attributes:
        input_hw: size of the network's input.
        min_size: longer side in pixels below which training ignores an object.
        max_objs: objects of one image that training uses at most.
        squash: the input stretches images instead of keeping their aspect ratio.
        reading: how the images are read.
        pixels: decode the images; without it only their headers are read.
    """

    input_hw: tuple[int, int] = (608, 608)
    min_size: float = 10
    max_objs: int = 500
    squash: bool = False
    reading: ReadOptions = field(default_factory=ReadOptions)
    pixels: bool = True


@dataclass(frozen=True)
class IdList:
    """An id list.

    Attributes:
        path: its file.
        entries: line number and text of each entry.
        ids: image id of each entry, which may be that of no image.
    """

    path: Path
    entries: list[tuple[int, str]]
    ids: list[str]


@dataclass(frozen=True)
class ModelClasses:
    """The classes of a checkpoint.

    Attributes:
        path: its file.
        count: number of channels of its heat map.
        names: class names in their order, None if the file has none.
    """

    path: Path
    count: int
    names: tuple[str, ...] | None


@dataclass(frozen=True)
class Survey:
    """All that is known about the data.

    Attributes:
        root: the data folder; places are given relative to it.
        data: the labels of all images and label files.
        images: image id -> file.
        lists: "train", "val", "test" -> id list, of those that there are.
        classes: class names in their order, None if nobody has given them.
        class_source: where `classes` come from.
        settings: see `Settings`.
        faults: name of a check -> faults met when reading, as texts with their place.
        declared_wh: image id -> size given in its label file.
        model: the classes of a checkpoint.
        results: folder of results to judge.
        release: release of DOTA whose server gets the results; None for other data.
    """

    root: Path
    data: LabelSet
    images: Mapping[str, Path]
    lists: Mapping[str, IdList]
    classes: tuple[str, ...] | None = None
    class_source: str = ""
    settings: Settings = field(default_factory=Settings)
    faults: Mapping[str, Sequence[str]] = field(default_factory=dict)
    declared_wh: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    model: ModelClasses | None = None
    results: Path | None = None
    release: str | None = None

    @cached_property
    def rows(self) -> dict[str, int]:
        """Image id -> its position in `data.image_ids`."""
        return {image_id: row for row, image_id in enumerate(self.data.image_ids)}

    @cached_property
    def measures(self) -> BoxMeasures:
        """Sides and angles of the objects."""
        return measure_boxes(self.data.corners)

    @cached_property
    def twice(self) -> np.ndarray:
        """Indices of the objects that nearly coincide with an earlier one of their class."""
        return labeled_twice(self.data)

    @cached_property
    def targets(self) -> np.ndarray:
        """Mask ``[N]`` of the objects that are large enough for training, of its images."""
        return (self.measures.longer >= self.settings.min_size) & self.in_list("train")

    @cached_property
    def scales(self) -> np.ndarray:
        """Input pixels per image pixel of each object, ``[N, 2]``; nan where no size is known."""
        return self._placement[0][self.data.image_index]

    @cached_property
    def centers(self) -> np.ndarray:
        """Centers of the objects in cells, ``[N, 2]``; nan where no size is known."""
        scale, pad = self._placement
        index = self.data.image_index
        return (self.data.corners.mean(axis=1) * scale[index] + pad[index]) / CELL_PX

    @cached_property
    def longer_cells(self) -> np.ndarray:
        """Longer side of the objects in cells, ``[N]``; nan where no size is known."""
        return self.measures.longer * self.scales.mean(axis=1) / CELL_PX

    @cached_property
    def shorter_cells(self) -> np.ndarray:
        """Shorter side of the objects in cells, ``[N]``; nan where no size is known."""
        return self.measures.shorter * self.scales.mean(axis=1) / CELL_PX

    @cached_property
    def _placement(self) -> tuple[np.ndarray, np.ndarray]:
        """Scale ``[I, 2]`` and border ``[I, 2]`` of each image in the input."""
        scale = np.full((len(self.data.image_ids), 2), np.nan)
        pad = scale.copy()
        input_wh = self.settings.input_hw[::-1]
        for row, size in enumerate(self.data.sizes_wh):
            if np.isfinite(size).all():
                source_wh = (int(size[0]), int(size[1]))
                whole = input_wh, (0, 0)
                inner_wh, pad[row] = (
                    whole if self.settings.squash else fit_inside(source_wh, input_wh)
                )
                scale[row] = np.divide(inner_wh, source_wh)
        return scale, pad

    def ids_of(self, name: str) -> list[str]:
        """Return the ids of a list, each once; of "train" without a list, those of all images."""
        if name in self.lists:
            return list(dict.fromkeys(self.lists[name].ids))
        return sorted(self.images) if name == "train" else []

    def in_list(self, name: str) -> np.ndarray:
        """Return which objects are of the images of a list, as a mask ``[N]``."""
        listed = set(self.ids_of(name))
        images = np.array([image_id in listed for image_id in self.data.image_ids], bool)
        return images[self.data.image_index] if len(images) else np.zeros(0, bool)

    def counts(self, objects: np.ndarray) -> dict[str, int]:
        """Return class name -> number of the objects in a mask ``[N]``, the most frequent first."""
        rows = self.data.rows_by_class().items()
        counts = {name: int(objects[index].sum()) for name, index in rows}
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    def file_of(self, path: Path) -> str:
        """Return a path relative to the data folder if it is in it."""
        try:
            return path.relative_to(self.root).as_posix()
        except ValueError:
            return str(path)

    def image_file(self, image_id: str) -> str:
        """Return the file of an image, see `file_of`."""
        return self.file_of(self.images[image_id]) if image_id in self.images else image_id

    def where(self, objects: np.ndarray) -> list[str]:
        """Return ``file:line`` of the objects of a mask ``[N]`` or of indices."""
        index = self.data.image_index[objects]
        folders = {image: self.file_of(self.data.label_paths[image].parent) for image in set(index)}
        return [
            name if folders[image] == "." else f"{folders[image]}/{name}"
            for image, name in zip(index, self.data.where(objects), strict=True)
        ]

    def examples(self, objects: np.ndarray) -> tuple[Example, ...]:
        """Choose objects to draw, of different images where there are some.

        Args:
            objects: a mask ``[N]``, or indices.
        """
        rows = np.flatnonzero(objects) if objects.dtype == bool else objects
        rows = rows[[self.data.image_ids[k] in self.images for k in self.data.image_index[rows]]]
        _, first = np.unique(self.data.image_index[rows], return_index=True)
        later = np.setdiff1d(np.arange(len(rows)), first)
        chosen = rows[np.concatenate([first, later])[:MAX_EXAMPLES]]
        return tuple(
            Example(
                f"{place} {self.data.names[row]}",
                (self.data.image_ids[self.data.image_index[row]],),
                self.data.corners[row : row + 1],
            )
            for row, place in zip(chosen, self.where(chosen), strict=True)
        )

    def image_examples(self, image_ids: Sequence[str]) -> tuple[Example, ...]:
        """Return images to draw as a whole."""
        known = [image_id for image_id in image_ids if image_id in self.images]
        return tuple(Example(self.image_file(i), (i,), whole=True) for i in known[:MAX_EXAMPLES])
