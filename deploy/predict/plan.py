"""The windows of every image, and the batches that they go through the network in."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from deploy.predict.settings import Detects, PredictSettings
from deploy.predict.sources import ImageSource
from deploy.predict.windows import Tiling, Window, plan_windows, whole_window
from DOTA_devkit.errors import InputError

logger = logging.getLogger(__name__)


FITS = 4 / 3
"""Without a tile or a scale asked for, an image goes in as a whole where it is at most so many
times as long as the network's input: `test` and `eval` do so, and it loses little."""


OVERLAP = 100
"""Of two windows, in input pixels."""


WHOLE = 0
"""A `tile` that is the image."""


class WindowJob(NamedTuple):
    """A window of a source."""

    source: int
    window: Window


def plan(
    sources: Sequence[ImageSource], detector: Detects, settings: PredictSettings
) -> tuple[list[WindowJob], dict[str, str]]:
    """Every window of every source, in order, and path -> why a source has none."""
    jobs: list[WindowJob] = []
    faults = {}
    for number, source in enumerate(sources):
        try:
            if set(settings.formats) == {"geojson"}:
                _require_place(source, "--formats geojson alone", "name another format, too")
            scale = (1.0, 1.0) if settings.gsd is None else _ground_scale(source, settings.gsd)
        except InputError as error:
            faults[str(source.path)] = str(error)
            continue
        windows = windows_of(source.size_wh, detector, settings, scale)
        jobs += [WindowJob(number, window) for window in windows]
    return jobs, faults


def windows_of(
    size_wh: tuple[int, int],
    detector: Detects,
    settings: PredictSettings,
    base_scale: tuple[float, float] = (1.0, 1.0),
) -> list[Window]:
    """How one image goes through the network.

    base_scale: input pixels a source pixel at scale 1, in x and y.
    """
    height, width = detector.input_hw
    free = settings.tile is None and settings.scales is None and settings.gsd is None
    if free and max(size_wh[0] / width, size_wh[1] / height) <= FITS:
        return [whole_window(detector.letterbox(size_wh))]
    tiling = tiling_of(detector, settings)
    return plan_windows(size_wh, tiling, (width, height) if detector.fixed_hw else None, base_scale)


def tiling_of(detector: Detects, settings: PredictSettings) -> Tiling:
    """How images that do not go in as a whole are cut, with what the settings leave open."""
    if settings.tile is None:
        tile_wh = detector.input_hw[::-1]
    else:
        tile_wh = None if settings.tile == WHOLE else (settings.tile, settings.tile)
    overlap = settings.overlap
    if overlap is None:
        overlap = min(OVERLAP, min(tile_wh or (0,)) // 6)
    return Tiling(tile_wh, overlap, settings.scales or (1.0,))


def _ground_scale(source: ImageSource, gsd: float) -> tuple[float, float]:
    """Input pixels a source pixel in x and y that make a pixel `gsd` metres."""
    _require_place(source, f"--gsd {gsd:g}", "--scales rescales by a factor")
    width, height = source.size_wh
    try:
        size = source.georeference.ground_size((width / 2, height / 2))
    except InputError as error:
        raise InputError(f"{source.path}: {error}") from None
    logger.info("%s: a pixel is %.3g x %.3g m on the ground", source.path, *size)
    return size[0] / gsd, size[1] / gsd


def _require_place(source: ImageSource, asked: str, instead: str) -> None:
    if source.georeference is None:
        raise InputError(
            f"{source.path}: {asked} needs an image with coordinates (a GeoTIFF read through "
            f"rasterio), and this one has none; {instead}"
        )


def into_batches(jobs: Sequence[WindowJob], batch_size: int) -> list[list[WindowJob]]:
    """Jobs in their order, up to `batch_size` of one input size together."""
    batches: list[list[WindowJob]] = []
    for job in jobs:
        last = batches[-1] if batches else []
        if last and len(last) < batch_size and last[0].window.input_wh == job.window.input_wh:
            last.append(job)
        else:
            batches.append([job])
    return batches
