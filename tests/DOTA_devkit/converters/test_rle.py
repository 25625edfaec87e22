"""Run lengths of masks, against the masks that they were made of."""

from pathlib import Path

import numpy as np
import pytest
import shapely

from DOTA_devkit.converters.rle import corners_of_runs, mask_outline
from DOTA_devkit.json_tree import JsonValue


def runs_of(mask):
    """Run lengths down the columns, outside first."""
    pixels = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], pixels]))).tolist()
    return np.diff([0, *edges, len(pixels)]).tolist()


def text_of(runs):
    """The text of run lengths as COCO packs them."""
    text = ""
    for k, run in enumerate(runs):
        value, more = run - (runs[k - 2] if k > 2 else 0), True
        while more:
            digit, value = value & 31, value >> 5
            more = value != (-1 if digit & 16 else 0)
            text += chr((digit | (32 if more else 0)) + ord("0"))
    return text


def hull(points):
    return shapely.convex_hull(shapely.multipoints(points))


@pytest.mark.parametrize("density", [0.02, 0.5, 0.98, 1])
def test_masks(density):
    rng = np.random.default_rng(0)
    for size in [(1, 1), (1, 40), (40, 1), (17, 60)]:
        mask = (rng.random(size) < density).astype(int)
        mask[tuple(rng.integers(0, size))] = 1
        runs = runs_of(mask)
        for counts in (runs, text_of(runs)):
            value = {"size": list(size), "counts": counts}
            points = mask_outline(JsonValue(Path("x.json"), "", value))
            rows, columns = np.nonzero(mask)
            pixels = [np.stack([columns + i, rows + j], 1) for i in (0, 1) for j in (0, 1)]
            assert hull(points).equals(hull(np.concatenate(pixels)))


def test_text_of_a_known_mask():
    """Made by pycocotools 2.0.11 of rows 2 and 3, columns 3 to 6, of an image of 8 x 6."""
    value = {"size": [6, 8], "counts": "d024000004"}
    points = mask_outline(JsonValue(Path("x.json"), "", value))
    assert [*points.min(axis=0), *points.max(axis=0)] == [3, 2, 7, 4]


def test_no_pixels():
    assert len(corners_of_runs([24], 4)) == len(corners_of_runs([9, 0, 15], 4)) == 0
