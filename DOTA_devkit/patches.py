"""Patch ids: ``NAME__RATE__X___Y`` says from which image and where a patch was cut."""

from __future__ import annotations

import re
from dataclasses import dataclass

from DOTA_devkit.errors import InputError
from DOTA_devkit.number_ranges import COORDINATE, NumberRange

MAX_RATE = 16
"""Largest rate in a patch id. A larger number is a patch size, which other tools write there."""

MIN_RATE = 1e-3
"""Smallest rate in a patch id."""

_RATE = NumberRange(MIN_RATE, 1e9)  # a patch size is one of them

# Greedy, so that NAME may contain "__" itself. Digits match in one way only: with two ways, the
# time would grow with the square of their number.
_PATCH_ID = re.compile(
    r"(?P<name>.+)__(?P<rate>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)__(?P<x>-?[0-9]+)___(?P<y>-?[0-9]+)",
    re.DOTALL,
)


@dataclass(frozen=True)
class PatchId:
    """Where a patch was cut.

    Attributes:
        name: id of the source image.
        rate: factor by which the source image was resized before the cut.
        x: left edge of the patch in the resized image, in pixels.
        y: top edge of the patch in the resized image, in pixels.
    """

    name: str
    rate: float
    x: int
    y: int

    def __str__(self) -> str:
        rate = int(self.rate) if self.rate == int(self.rate) else self.rate
        return f"{self.name}__{rate}__{self.x}___{self.y}"


def parse_patch_id(image_id: str) -> PatchId | None:
    """Parse the id of a patch.

    A rate above `MAX_RATE` is a patch size, as other tools write it, and means rate 1.

    Args:
        image_id: any image id.

    Returns:
        The parts of the id, None for the id of a whole image.

    Raises:
        InputError: the rate or a position is out of its range.
    """
    match = _PATCH_ID.fullmatch(image_id)
    if match is None:
        return None
    name, rate, x, y = match.groups()
    if float(rate) == 0:
        return None
    for what, value, allowed in (("rate", rate, _RATE), ("x", x, COORDINATE), ("y", y, COORDINATE)):
        if not allowed.holds(float(value)):
            raise InputError(
                f"{image_id[:80]!r}: expected {allowed} for the {what} of a patch, got {value[:40]}"
            )
    rate = float(rate)
    return PatchId(name, 1.0 if rate > MAX_RATE else rate, int(float(x)), int(float(y)))


def source_name(image_id: str) -> str:
    """Return the id of the image that a patch was cut from; for a whole image its own id."""
    patch = parse_patch_id(image_id)
    return image_id if patch is None else patch.name
