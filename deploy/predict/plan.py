"""The windows of every image, and the batches in which they go through the network.

A plan depends only on the images, the model and the settings, so every process that shares the
work makes the same plan.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from deploy.predict.settings import WHOLE_IMAGE, DetectorLike, PredictSettings
from deploy.predict.sidecars import parse_crs
from deploy.predict.sources import COORDINATES_FROM, ImageSource, inspect_images
from deploy.predict.windows import Chain, Tiling, Window, plan_windows, whole_window
from DOTA_devkit.errors import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TilingDefaults:
    """Defaults of tiling, for settings that are not given.

    Attributes:
        max_whole_ratio: Without a tile or a scale, an image is scaled to the network's input as a
            whole if at the scale of the training it is at most this many times as long as the
            input, and not shorter by more. `test` and `eval` take whole images too, and little is
            lost. Where the scale of the training is not known, shorter ones are scaled as well.
        overlap_px: Overlap of neighboring windows in input pixels.
        overlap_divisor: The overlap is at most the window's side divided by this.
    """

    max_whole_ratio: float = 4 / 3
    overlap_px: int = 100
    overlap_divisor: int = 6


DEFAULTS = TilingDefaults()


class WindowJob(NamedTuple):
    """A window to be searched.

    Attributes:
        source: Number of its image in `Plan.sources`.
        window: The window.
    """

    source: int
    window: Window


@dataclass(frozen=True)
class Plan:
    """The work of a prediction.

    Attributes:
        paths: The image files that were named.
        sources: Those that can be opened.
        jobs: Every window of every source, in order.
        batches: The same, as they go through the network.
        faults: Path -> why an image is left out.
    """

    paths: list[Path]
    sources: list[ImageSource]
    jobs: Chain[WindowJob]
    batches: Batches
    faults: dict[str, str]


def plan_images(paths: Sequence[Path], detector: DetectorLike, settings: PredictSettings) -> Plan:
    """Plan how image files go through the network; only their headers are read if possible."""
    crs = None if settings.crs is None else parse_crs(settings.crs)
    sources, faults = inspect_images(paths, detector.reading, crs)
    jobs, without_windows = plan_jobs(sources, detector, settings)
    batches = Batches(jobs, settings.batch_size)
    return Plan(list(paths), sources, jobs, batches, faults | without_windows)


def plan_jobs(
    sources: Sequence[ImageSource], detector: DetectorLike, settings: PredictSettings
) -> tuple[Chain[WindowJob], dict[str, str]]:
    """Plan the windows of every source.

    Returns:
        The windows in order, and path -> why a source has none.
    """
    parts: list[SourceJobs] = []
    faults = {}
    for number, source in enumerate(sources):
        try:
            if set(settings.formats) == {"geojson"}:
                _require_georeference(source, "formats=geojson alone", "name another format, too")
            scale = (1.0, 1.0) if settings.gsd is None else _ground_scale(source, settings.gsd)
        except InputError as error:
            faults[str(source.path)] = str(error)
            continue
        windows = windows_of(source.size_wh, detector, settings, scale)
        parts += [SourceJobs(number, part) for part in windows.parts]
    return Chain(parts), faults


def windows_of(
    size_wh: tuple[int, int],
    detector: DetectorLike,
    settings: PredictSettings,
    base_scale: tuple[float, float] = (1.0, 1.0),
) -> Chain[Window]:
    """Plan how one image goes through the network.

    Args:
        size_wh: Width and height of the image.
        detector: The detector, whose input size and shape matter.
        settings: How images are searched.
        base_scale: Input pixels per source pixel at scale 1, in x and y.
    """
    height, width = detector.input_hw
    free = settings.tile is None and settings.scales is None and settings.gsd is None
    longest = max(size_wh[0] / width, size_wh[1] / height) * usual_scale(detector)
    most = DEFAULTS.max_whole_ratio
    # To fill the input, a smaller image would be enlarged, and with it objects of a known size.
    least = 0 if detector.train_scale is None else 1 / most
    if free and least <= longest <= most:
        return Chain([[whole_window(detector.letterbox(size_wh))]])
    tiling = tiling_of(detector, settings)
    return plan_windows(size_wh, tiling, (width, height) if detector.fixed_hw else None, base_scale)


def tiling_of(detector: DetectorLike, settings: PredictSettings) -> Tiling:
    """Return how images are cut that are not taken as a whole.

    Raises:
        InputError: The settings contradict one another.
    """
    if settings.tile is None:
        tile_wh = detector.input_hw[::-1]
    else:
        tile_wh = None if settings.tile == WHOLE_IMAGE else (settings.tile, settings.tile)
    overlap = settings.overlap
    if overlap is None:
        overlap = min(DEFAULTS.overlap_px, min(tile_wh or (0,)) // DEFAULTS.overlap_divisor)
    return Tiling(tile_wh, overlap, settings.scales or (usual_scale(detector),))


def usual_scale(detector: DetectorLike) -> float:
    """Return the scale at which images are searched if no other is asked for.

    It is that of the training images, so that objects have the size that the network knows. Scales
    near 1, as of patches that are about as large as the input, count as 1, and pixels then go
    through the network as they are.
    """
    scale, near = detector.train_scale, DEFAULTS.max_whole_ratio
    return 1.0 if scale is None or 1 / near <= scale <= near else scale


class SourceJobs(Sequence[WindowJob]):
    """The jobs of one image at one scale, all of them with one size of input."""

    def __init__(self, source: int, windows: Sequence[Window]):
        self._source, self._windows = source, windows

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> WindowJob:
        return WindowJob(self._source, self._windows[index])


class Batches(Sequence[list[WindowJob]]):
    """Consecutive jobs of one input size, at most `batch_size` of them to a batch."""

    def __init__(self, jobs: Chain[WindowJob], batch_size: int):
        self._jobs, self._batch_size = jobs, batch_size
        # First and last job (exclusive) of each run of one input size.
        self._runs: list[tuple[int, int]] = []
        start, before = 0, None
        for part in jobs.parts:
            input_wh, end = part[0].window.input_wh, start + len(part)
            if input_wh == before:
                self._runs[-1] = (self._runs[-1][0], end)
            else:
                self._runs.append((start, end))
            start, before = end, input_wh
        self._ends = list(accumulate(-(-(end - start) // batch_size) for start, end in self._runs))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> list[WindowJob]:
        return [self._jobs[k] for k in self._positions(index)]

    def size(self, index: int) -> int:
        """Return the number of jobs of a batch, without making them."""
        return len(self._positions(index))

    def _positions(self, index: int) -> range:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect_right(self._ends, index)
        start, end = self._runs[number]
        start += (index - (self._ends[number - 1] if number else 0)) * self._batch_size
        return range(start, min(start + self._batch_size, end))


def _ground_scale(source: ImageSource, gsd: float) -> tuple[float, float]:
    """Return the input pixels per source pixel in x and y that make a pixel `gsd` meters."""
    _require_georeference(source, f"gsd={gsd:g}", "scales rescale by a factor")
    width, height = source.size_wh
    try:
        size = source.georeference.ground_size((width / 2, height / 2))
    except InputError as error:
        raise InputError(f"{source.path}: {error}") from None
    logger.info("%s: a pixel is %.3g x %.3g m on the ground", source.path, *size)
    return size[0] / gsd, size[1] / gsd


def _require_georeference(source: ImageSource, setting: str, instead: str) -> None:
    if source.georeference is None:
        raise InputError(
            f"{source.path}: {setting} needs an image with coordinates, and this one has none: "
            f"{source.unlocated.removeprefix(f'{source.path}: ') or COORDINATES_FROM}; {instead}"
        )
