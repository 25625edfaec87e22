"""How the images of a training were read and scaled, as a checkpoint stores it in `data`."""

from __future__ import annotations

from collections.abc import Mapping

from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import ReadOptions
from structures.model_values import is_scale

DEPTH, BANDS, SCALE = "depth", "bands", "scale"
"""Keys of the entries."""


def image_entries(reading: ReadOptions | None, train_scale: float | None) -> dict[str, str | float]:
    """Return the entries of the values that are not None.

    Args:
        reading: How the images were read.
        train_scale: Input pixels per pixel of the images (median).
    """
    entries: dict[str, str | float] = {}
    if reading is not None:
        entries |= {DEPTH: reading.depth, BANDS: reading.bands_text()}
    if train_scale is not None:
        entries[SCALE] = train_scale
    return entries


def reading_in(data: object) -> ReadOptions | None:
    """Return how images were read; None if the entries of a file do not say."""
    try:
        return ReadOptions(data[DEPTH], ReadOptions.parse_bands(data[BANDS]))
    except (TypeError, LookupError, AttributeError, InputError):
        return None  # a file of an earlier version, or of another program


def train_scale_in(data: object) -> float | None:
    """Return the scale of the images; None if the entries of a file do not say."""
    scale = data.get(SCALE) if isinstance(data, Mapping) else None
    return scale if is_scale(scale) else None
