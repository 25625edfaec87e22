"""TIFF files of all kinds, written by rasterio."""

from pathlib import Path

import pytest


def write_tiff(path, pixels, names=(), **profile) -> Path:
    """Write pixels [H, W, C] in the order of the bands; `names` are the bands' descriptions."""
    rasterio = pytest.importorskip("rasterio")
    height, width, count = pixels.shape
    profile = {"transform": rasterio.Affine(1, 0, 9, 0, -1, 9), "dtype": pixels.dtype} | profile
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=count, **profile
    ) as file:
        file.write(pixels.transpose(2, 0, 1))
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)
    return path
