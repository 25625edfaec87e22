"""The views of an image that test-time augmentation shows to the network."""

from __future__ import annotations

from dataclasses import dataclass

from DOTA_devkit.errors import InputError, did_you_mean

LEAST_SCALE, LARGEST_SCALE = 0.25, 4.0
"""Range of the factors by which an image may be scaled."""

DEFAULT_TTA = "flips"
"""Default views of test-time augmentation."""


@dataclass(frozen=True)
class View:
    """How an image is changed before it goes through the network, in the order of the fields.

    Attributes:
        scale: Factor of its width and height.
        transposed: Whether x and y are exchanged.
        flip_x: Whether left and right are exchanged.
        flip_y: Whether top and bottom are exchanged.
    """

    scale: float = 1.0
    transposed: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def mirrored(self) -> bool:
        """Whether what runs clockwise in the image runs counterclockwise in the view."""
        return self.transposed ^ self.flip_x ^ self.flip_y


PLAIN = View()
"""The image as it is."""

_FLIPS = ((False, False, False), (False, True, False), (False, False, True), (False, True, True))
_QUARTER_TURNS = ((True, True, False), (True, False, True))
_HALF_TURNS = ((False, False, False), (False, True, True))

GROUPS = {"flips": _FLIPS, "turns": (*_HALF_TURNS, *_QUARTER_TURNS)}
"""Name -> the views that it stands for, as (transposed, flip_x, flip_y).

`flips` are left to right, top to bottom and both, `turns` are by 90, 180 and 270 degrees; each
group holds the image as it is. Both together are all eight symmetries of a square.
"""

# The eight symmetries of a square.
_BOTH = (*_FLIPS, *_QUARTER_TURNS, (True, False, False), (True, True, True))


def parse_views(tta: str | None) -> tuple[View, ...]:
    """Return the views that a text such as "flips,0.8,1.25" asks for.

    Args:
        tta: Names out of `GROUPS` and scale factors, separated by commas. Each of the flips and
            turns is shown at scale 1 and at each of the factors. None for no augmentation.

    Returns:
        The views, `PLAIN` first.

    Raises:
        InputError: It is another text.
    """
    if tta is None:
        return (PLAIN,)
    if not isinstance(tta, str):
        raise InputError(f'tta must be a text such as "{DEFAULT_TTA}", got {tta!r}')
    names, scales = set(), [1.0]
    for part in (part.strip() for part in tta.split(",")):
        if part in GROUPS:
            names.add(part)
        elif (scale := _scale(part)) not in scales:
            scales.append(scale)
    sides = _BOTH if len(names) == len(GROUPS) else GROUPS[names.pop()] if names else _FLIPS[:1]
    return tuple(View(scale, *side) for scale in scales for side in sides)


def _scale(text: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = None
    if scale is None or not LEAST_SCALE <= scale <= LARGEST_SCALE:
        raise InputError(
            f"tta takes {', '.join(GROUPS)} and scale factors from {LEAST_SCALE:g} to "
            f"{LARGEST_SCALE:g}, separated by commas, such as flips,turns or flips,0.8,1.25, got "
            f"{text!r}{did_you_mean(text, GROUPS)}"
        )
    return scale
