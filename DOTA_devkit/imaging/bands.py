"""Which bands of a raster are red, green and blue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from DOTA_devkit.errors import InputError

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_COLORS = ("red", "green", "blue")
_OTHER_BANDS = frozenset({"edge", "coastal", "near", "infrared", "nir", "swir", "deep"})
"""Words that make another band of a color: "red edge" and "coastal blue" are no red and blue."""


class ColorBands(NamedTuple):
    """The bands of a raster that are read.

    Attributes:
        numbers: Numbers (from 1) of the red, green and blue bands, or of the one gray band.
        reason: Why these.
    """

    numbers: list[int]
    reason: str

    def note(self, count: int) -> str | None:
        """Return the log text for a raster of `count` bands; None in the usual case."""
        if (self.numbers == [1] and count <= 2) or (self.numbers == [1, 2, 3] and count == 3):
            return None
        if len(self.numbers) == 1:
            return f"band {self.numbers[0]} of {count} is taken as gray, {self.reason}"
        numbers = ", ".join(map(str, self.numbers))
        return f"bands {numbers} of {count} are taken as red, green and blue, {self.reason}"


def color_bands(
    path: Path, dataset: DatasetReader, asked: Sequence[int] | None = None
) -> ColorBands:
    """Choose the bands: those that are asked for, else by name, by color, or the first ones.

    Names come before colors, since tools that write GeoTIFFs call the first three bands red, green
    and blue whatever they hold.

    Args:
        path: The file, for errors.
        dataset: The open raster.
        asked: Numbers of the bands to take, see `ReadOptions.bands`.

    Raises:
        InputError: There is no such band, or they are not all of 8 or all of 16 bits.
    """
    found = _chosen(dataset, asked)
    if max(found.numbers) > dataset.count:
        raise InputError(
            f"{path}: bands {','.join(map(str, found.numbers))} are asked for, but it has "
            f"{dataset.count}"
        )
    kinds = {dataset.dtypes[number - 1] for number in found.numbers}
    if len(kinds) > 1 or not kinds <= {"uint8", "uint16", "int16"}:
        raise InputError(
            f"{path}: bands of {', '.join(sorted(kinds))}; expected all 8-bit or all 16-bit "
            f"(gdal_translate -ot Byte -scale {path.name} 8bit.tif converts them)"
        )
    return found


def _chosen(dataset: DatasetReader, asked: Sequence[int] | None) -> ColorBands:
    if asked is not None:
        return ColorBands(list(asked), "as asked for")
    named = [_named(dataset.descriptions, color) for color in _COLORS]
    if all(named):
        return ColorBands(named, "by their names")
    roles = [role.name for role in dataset.colorinterp]
    if all(color in roles for color in _COLORS):
        return ColorBands([roles.index(color) + 1 for color in _COLORS], "by their colors")
    if dataset.count >= 3:
        return ColorBands([1, 2, 3], "the first three, as the file does not name its colors")
    return ColorBands([1], "the first")


def _named(descriptions: Sequence[str | None], color: str) -> int | None:
    """Return the number of the band that is called by a color; of several, by the shortest name."""
    found = []
    for number, text in enumerate(descriptions, 1):
        words = re.findall("[a-z]+", (text or "").lower())
        if color in words and not _OTHER_BANDS.intersection(words) and _is_one_color(words):
            found.append((len(words), number))
    return min(found)[1] if found else None


def _is_one_color(words: Sequence[str]) -> bool:
    return sum(color in words for color in _COLORS) == 1


def palette_of(dataset: DatasetReader, band: int) -> np.ndarray | None:
    """Return the colors [2^bits, 3] BGR of a band's palette; None if it has none."""
    try:
        colors = dataset.colormap(band)
    except ValueError:
        return None
    size = 256 if dataset.dtypes[band - 1] == "uint8" else 65536
    palette = np.zeros((size, 3), np.uint8)
    for index, (red, green, blue, _) in colors.items():
        palette[index % size] = blue, green, red
    return palette
