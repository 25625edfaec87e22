"""Settings of a dataset beyond its folder, phase and input size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from datasets.augment import ROTATIONS
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import ReadOptions


@dataclass(frozen=True)
class DataOptions:
    """Which images and classes are read, which objects are targets, how images are augmented."""

    classes: tuple[str, ...] | str | None = None
    """Class names; "1.0", "1.5" or "2.0" for those of a DOTA version; None for those of classes.txt
    in the data folder, or else the dataset's own."""
    train_list: str | None = None
    """Id list for training instead of the default one, absolute or relative to the data folder."""
    val_list: str | None = None
    """The same for validation."""
    test_list: str | None = None
    """The same for testing."""
    allow_overlap: bool = False
    """Allow an image, or patches of one image, in both the training and the validation list."""
    min_size: float = 10.0
    """Objects whose longer side is below it, in source pixels, are ignored in training."""
    min_visible: float = 0.6
    """Objects of which less than this share of the area is visible are ignored in training."""
    max_objs: int = 500
    """Maximum number of training targets per image, which is the length of the target arrays."""
    nms_thresh: float = 0.1
    """IoU above which the lower-scoring of two boxes is dropped when patches are merged."""
    squash: bool = False
    """Stretch images to the input instead of keeping their aspect ratio, as the original's test."""
    hrsc_level: int = 1
    """HRSC2016's class level: 1 ship, 2 category, 3 type."""
    augment: bool = True
    """Random views and colors in training; without, training sees the same images as testing."""
    rotation: str = "free"
    """Random rotations: one of `datasets.augment.ROTATIONS`."""
    keep_source: bool = False
    """Add the source image to test samples, under `source`."""
    reading: ReadOptions = field(default_factory=ReadOptions)
    """How the pixels of image files are read."""
    cache_labels: bool = True
    """Keep parsed labels in a file beside the label folder, for a faster next start."""

    def __post_init__(self) -> None:
        if self.rotation not in ROTATIONS:
            raise InputError(
                f"rotation {self.rotation!r} is unknown; choose from {', '.join(ROTATIONS)}"
            )
        if not 0 <= self.min_visible <= 1:
            raise InputError(f"min_visible must be between 0 and 1, got {self.min_visible}")
        if self.max_objs < 1:
            raise InputError(f"max_objs must be 1 or more, got {self.max_objs}")


_default: ContextVar[DataOptions] = ContextVar("default_options")


def default_options() -> DataOptions:
    """Return the options of a dataset that is constructed without any."""
    return _default.get(DataOptions())


@contextmanager
def override_default_options(options: DataOptions) -> Iterator[None]:
    """Context manager that sets what `default_options` returns.

    This is how options reach a user-defined dataset, whose constructor is that of the original and
    does not accept any.
    """
    token = _default.set(options)
    try:
        yield
    finally:
        _default.reset(token)
