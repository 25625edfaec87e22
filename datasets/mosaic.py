"""Mosaic augmentation: a training view that is put together from random views of four images.

The four meet at a random point. Each fills its quarter with a part of a view as it would be shown
alone, at the same scale (unlike the mosaic of YOLOv4, which shows four images at half their size):
small objects stay as large as they are in testing. The view of an image with an object that is
longer than the smallest tile is no mosaic, so that large objects are not only seen in parts.

Where an object is cut so much that it is ignored, its whole outline is ignored, including the part
beyond the tile: a network that finds such objects by a part of them finds their centers there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from datasets.augment import random_view, warp
from datasets.geometry import reaches_size
from structures.letterbox import Letterbox

MEETING_POINTS = (0.3, 0.7)
"""Range of the point where the images meet, as a share of width and height."""


class Tile(NamedTuple):
    """A quarter of a mosaic, x and y in pixels of the view."""

    left: int
    top: int
    size_wh: tuple[int, int]


class TileView(NamedTuple):
    """What a quarter shows."""

    pixels: np.ndarray
    """[h, w, 3] of the size of the tile."""
    matrix: np.ndarray
    """[2, 3] affine map from the source image to the tile."""


def random_tiles(rng: np.random.Generator, view_wh: tuple[int, int]) -> list[Tile]:
    """Divide a view into four tiles that meet at a random point: top left, top right, then below.

    Args:
        rng: Random generator.
        view_wh: Width and height of the view.
    """
    width, height = view_wh
    x, y = (int(rng.uniform(*MEETING_POINTS) * side) for side in view_wh)
    return [
        Tile(left, top, (right - left, bottom - top))
        for top, bottom in ((0, y), (y, height))
        for left, right in ((0, x), (x, width))
    ]


def fits_tiles(outlines: np.ndarray, letterbox: Letterbox) -> bool:
    """Return whether no object of an image is longer than the smallest tile of its view.

    Args:
        outlines: [N, 4, 2] in source pixels.
        letterbox: The placement of the image in the view.
    """
    smallest = MEETING_POINTS[0] * min(letterbox.input_wh) / max(letterbox.scale)
    # As long as the tile still fits.
    return not reaches_size(outlines, np.nextafter(smallest, np.inf)).any()


def random_corner(
    rng: np.random.Generator, view_wh: tuple[int, int], tile_wh: tuple[int, int]
) -> np.ndarray:
    """Draw the position (x, y) of the part of a view that a tile shows, in whole pixels.

    All positions are equally likely, so what is near a border is seen less often. Showing borders
    more often was tried, and boxes fit less well (docs/recipes.md).
    """
    return rng.integers(np.subtract(view_wh, tile_wh) + 1)


def tile_view(
    rng: np.random.Generator, image: np.ndarray, letterbox: Letterbox, rotation: str, tile: Tile
) -> TileView:
    """Fill a tile with a random part, of its size, of a random view.

    Args:
        rng: Random generator.
        image: [H, W, 3] source image.
        letterbox: Its placement in the whole view without augmentation.
        rotation: One of `datasets.augment.ROTATIONS`.
        tile: The tile.
    """
    matrix = random_view(rng, letterbox, rotation)
    matrix[:, 2] -= random_corner(rng, letterbox.input_wh, tile.size_wh)
    return TileView(warp(image, matrix, tile.size_wh), matrix)


def join_pixels(views: Sequence[TileView]) -> np.ndarray:
    """Join the tiles of `random_tiles` to the view [H, W, 3]."""
    top_left, top_right, bottom_left, bottom_right = (view.pixels for view in views)
    return np.vstack([np.hstack([top_left, top_right]), np.hstack([bottom_left, bottom_right])])


def join_annotations(
    tiles: Sequence[Tile], annotations: Sequence[Mapping[str, np.ndarray]], stride: int
) -> dict[str, np.ndarray]:
    """Join what the tiles show of labels, as `BaseDataset.data_transform` returns it for a view.

    Args:
        tiles: The tiles.
        annotations: What each shows, in cells relative to its corner.
        stride: Pixels of the view per cell.
    """
    joined = {name: [] for name in annotations[0]}
    for tile, annotation in zip(tiles, annotations, strict=True):
        corner = np.array([tile.left, tile.top]) / stride
        shifted = {
            "rect": annotation["rect"] + np.array([*corner, 0, 0, 0], annotation["rect"].dtype),
            "ignored": annotation["ignored"] + corner,
        }
        for name, values in {**annotation, **shifted}.items():
            joined[name].append(values)
    counts = np.sum(joined.pop("ignored_counts"), axis=0)
    return {name: np.concatenate(parts) for name, parts in joined.items()} | {
        "ignored_counts": counts
    }
