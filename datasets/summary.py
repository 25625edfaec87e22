"""Summary of the labels of an image list: how many objects are training targets, by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datasets.geometry import reaches_size
from DOTA_devkit.letterboxing import enlarging_advice
from structures import boxes


@dataclass(frozen=True)
class SmallTargets:
    """Training targets of which the network's input shows less than a cell of the head maps.

    Attributes:
        objects: Class name -> number of these objects; classes without any are left out.
        cell: Input pixels per cell: the longer side of these objects is below it.
        input_hw: Size of the input.
        shortest: Longer side of the smallest of these objects, in input pixels.
    """

    objects: dict[str, int]
    cell: int
    input_hw: tuple[int, int]
    shortest: float

    def __len__(self) -> int:
        return sum(self.objects.values())

    def advice(self, targets: dict[str, int]) -> str:
        """Return a warning with the remedy.

        Args:
            targets: Class name -> number of training targets.
        """
        height, width = self.input_hw
        counts = ", ".join(f"{name} {n} of {targets[name]}" for name, n in self.objects.items())
        return (
            f"{len(self)} objects are smaller than a cell of the network's maps when their image "
            f"is scaled to the input of {height}x{width} (longer side below {self.cell} px), and "
            f"are hardly learned: {counts}. "
            f"{enlarging_advice(self.input_hw, self.shortest, self.cell)}"
        )


@dataclass(frozen=True)
class LabelSummary:
    """Counts of labeled objects, and how many of them are ignored in training.

    Attributes:
        images: Number of images.
        empty_images: Images without training targets.
        objects: Class name -> number of training targets.
        too_small: Objects whose longer side is below `min_size`.
        without_area: Objects without area.
        beyond_max: Objects of an image beyond the first `max_objs`.
        min_size: The option of that name, in source pixels.
        max_objs: The option of that name.
        small: Training targets that are smaller than a cell in the input; None if there are none,
            or none is known.
    """

    images: int
    empty_images: int
    objects: dict[str, int]
    too_small: int
    without_area: int
    beyond_max: int
    min_size: float
    max_objs: int
    small: SmallTargets | None = None

    @property
    def mean_objects(self) -> float:
        """Mean number of training targets per image."""
        return sum(self.objects.values()) / max(self.images, 1)

    @property
    def ignored(self) -> int:
        """Number of objects that are neither training targets nor background."""
        return self.too_small + self.without_area + self.beyond_max

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {count}" for name, count in self.objects.items() if count)
        absent = [name for name, count in self.objects.items() if not count]
        text = (
            f"{self.images} images ({self.empty_images} without objects), "
            f"{sum(self.objects.values())} objects: {counts or 'none'}"
        )
        if absent:
            text += f"; none of {', '.join(absent)}"
        if self.small is not None:
            height, width = self.small.input_hw
            text += f"; {len(self.small)} are smaller than a cell in the input of {height}x{width}"
        reasons = [
            f"{count} {reason}"
            for count, reason in (
                (self.too_small, f"with a longer side below {self.min_size:g} px (min_size)"),
                (self.without_area, "without area"),
                (self.beyond_max, f"beyond {self.max_objs} per image (max_objs)"),
            )
            if count
        ]
        if reasons:
            text += f"; {self.ignored} are ignored, neither training targets nor background: "
            text += ", ".join(reasons)
        return text


def summarize_labels(
    annotations: Sequence[tuple[np.ndarray, np.ndarray]],
    names: Sequence[str],
    min_size: float,
    max_objs: int,
    input_sides: np.ndarray | None = None,
    cell: int = boxes.STRIDE,
    input_hw: tuple[int, int] = (0, 0),
) -> LabelSummary:
    """Count the labels of all images.

    Args:
        annotations: Corners [N, 4, 2] in source pixels and class indices [N] of each image.
        names: Class names.
        min_size: Objects whose longer side is below it, in source pixels, are ignored.
        max_objs: Objects of an image beyond this number are ignored.
        input_sides: Longer side of each object of all images in input pixels, inf where it is
            unknown; None for all of them.
        cell: Input pixels per cell; smaller objects are counted.
        input_hw: Size of the input.
    """
    sizes = [len(labels) for _, labels in annotations]
    outlines = np.concatenate([a for a, _ in annotations]) if sizes else np.zeros((0, 4, 2))
    labels = np.concatenate([a for _, a in annotations]) if sizes else np.zeros(0, np.int64)
    image = np.repeat(np.arange(len(sizes)), sizes)

    short = ~reaches_size(outlines, min_size)
    sides = boxes.side_lengths(boxes.min_area_rectangles(outlines))
    flat = ~short & (sides.min(axis=1, initial=np.inf) <= 1e-6)
    targets = ~short & ~flat
    # The rank of an object within its image: its rank among all, less those of earlier images.
    rank = np.cumsum(targets) - 1
    before = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(np.bincount(image[targets], minlength=len(sizes)), out=before[1:])
    beyond = targets & (rank - before[image] >= max_objs)
    targets &= ~beyond

    counts = Counter(labels[targets].tolist())
    small = None
    if input_sides is not None and (unseen := targets & (input_sides < cell)).any():
        number = Counter(labels[unseen].tolist())
        objects = {name: number[label] for label, name in enumerate(names) if number[label]}
        small = SmallTargets(objects, cell, input_hw, float(input_sides[unseen].min()))
    return LabelSummary(
        images=len(sizes),
        empty_images=len(sizes) - len(np.unique(image[targets])),
        objects={name: counts[label] for label, name in enumerate(names)},
        too_small=int(short.sum()),
        without_area=int(flat.sum()),
        beyond_max=int(beyond.sum()),
        min_size=min_size,
        max_objs=max_objs,
        small=small,
    )
