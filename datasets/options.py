"""The settings of a data set, beyond its folder, phase and input size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from datasets.augment import ROTATIONS
from DOTA_devkit.errors import InputError


@dataclass(frozen=True)
class DataOptions:
    """What is read, what is taught and how the images are varied."""

    classes: tuple[str, ...] | str | None = None
    """Class names; "1.0", "1.5" or "2.0" for those of a DOTA version; None for classes.txt in the
    data folder, else the names of the data set."""
    train_list: str | None = None
    """Id list in place of the usual ones, absolute or below the data folder."""
    val_list: str | None = None
    test_list: str | None = None
    allow_overlap: bool = False
    """Let an image, or patches of one image, be in both the training and the validation list."""
    min_size: float = 10.0
    """Objects whose longer side is below it, in source pixels, are not taught."""
    min_visible: float = 0.6
    """Objects of which a view shows less than this share of their area are not taught."""
    max_objs: int = 500
    """Objects of an image that are taught; it is the length of the target arrays."""
    nms_thresh: float = 0.1
    """Overlap above which the weaker of two boxes is dropped when patches are merged."""
    squash: bool = False
    """Stretch images to the input instead of keeping their aspect ratio, as the original tests."""
    hrsc_level: int = 1
    """HRSC2016's class level: 1 ship, 2 category, 3 type."""
    augment: bool = True
    """Random views and colours in training; without, training sees what testing sees."""
    rotation: str = "free"
    """One of `datasets.augment.ROTATIONS`."""
    keep_source: bool = False
    """Add the source image to test samples, under `source`."""
    cache_labels: bool = True
    """Keep parsed labels in a file beside the label folder, for a faster next start."""

    def __post_init__(self) -> None:
        if self.rotation not in ROTATIONS:
            raise InputError(
                f"rotation {self.rotation!r} is unknown; choose from {', '.join(ROTATIONS)}"
            )
        if not 0 <= self.min_visible <= 1:
            raise InputError(f"min_visible is a share between 0 and 1, came {self.min_visible}")
        if self.max_objs < 1:
            raise InputError(f"max_objs must be 1 or more, came {self.max_objs}")


_default: ContextVar[DataOptions] = ContextVar("default_options")


def default_options() -> DataOptions:
    """The options of a data set that is given none."""
    return _default.get(DataOptions())


@contextmanager
def as_default(options: DataOptions) -> Iterator[None]:
    """Inside the block, data sets that are given no options get these.

    It is how options reach a class of a user's own, whose constructor is the original's and knows
    of none.
    """
    token = _default.set(options)
    try:
        yield
    finally:
        _default.reset(token)
