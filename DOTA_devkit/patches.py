"""Names of patches: ``NAME__RATE__X___Y`` says where in which image a patch was cut."""

from __future__ import annotations

import re
from dataclasses import dataclass

# No image is enlarged so much: other tools write the patch size in the rate's place.
MAX_RATE = 16

# From the right, as NAME may hold "__" itself.
_PATCH_ID = re.compile(
    r"(?P<name>.+)__(?P<rate>\d+\.?\d*|\.\d+)__(?P<x>-?\d+)___(?P<y>-?\d+)", re.DOTALL
)


@dataclass(frozen=True)
class PatchId:
    """Where a patch was cut.

    Attributes:
        name: id of the source image.
        rate: factor by which the source was resized before it was cut.
        x, y: left upper corner of the patch in the resized image, pixels.
    """

    name: str
    rate: float
    x: int
    y: int

    def __str__(self) -> str:
        rate = int(self.rate) if self.rate == int(self.rate) else self.rate
        return f"{self.name}__{rate}__{self.x}___{self.y}"


def parse_patch_id(image_id: str) -> PatchId | None:
    """The parts of a patch's id, None for the id of a whole image.

    A "rate" above 16 is a patch size, as other tools write it, and means rate 1.
    """
    match = _PATCH_ID.fullmatch(image_id)
    if match is None:
        return None
    name, rate, x, y = match.groups()
    rate = float(rate)
    if rate == 0:
        return None
    return PatchId(name, 1.0 if rate > MAX_RATE else rate, int(x), int(y))


def source_name(image_id: str) -> str:
    """Id of the image that a patch was cut from; of a whole image its own id."""
    patch = parse_patch_id(image_id)
    return image_id if patch is None else patch.name
