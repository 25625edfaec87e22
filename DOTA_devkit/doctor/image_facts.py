"""Facts that require decoding an image: whether it can be read, and what it looks like."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from DOTA_devkit.cores import usable_cores
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import ReadOptions, import_cv2, read_image
from DOTA_devkit.imaging.headers import PixelKind, orientation_of, pixel_kind
from DOTA_devkit.imaging.raster import is_flat
from DOTA_devkit.progress import progress

THUMB_PX = 64
"""Side of the small gray copy of an image."""

_MAX_THREADS = 4
"""More would hold more decoded images in memory, and the disk is the limit by then."""


@dataclass(frozen=True)
class ImageFacts:
    """One image.

    Attributes:
        fault: why it cannot be read; empty if it can.
        kind: what its header says about its pixels.
        orientation: its orientation tag, 1 to 8.
        digest: of its size and pixels; empty if they were not read.
        flat: whether all pixels have one color.
        thumb: ``[64, 64]`` uint8, the image in gray, stretched to a square; None if not read.
    """

    fault: str = ""
    kind: PixelKind = field(default_factory=PixelKind)
    orientation: int = 1
    digest: bytes = b""
    flat: bool = False
    thumb: np.ndarray | None = None


def read_facts(
    images: Mapping[str, Path], image_ids: Sequence[str], options: ReadOptions, pixels: bool = True
) -> dict[str, ImageFacts]:
    """Look at images, several at a time.

    Args:
        images: image id -> file.
        image_ids: those to look at.
        options: how they are read.
        pixels: decode them, else only their headers are read.

    Returns:
        Image id -> facts.
    """
    look = partial(_look, options=options, pixels=pixels)
    with ThreadPoolExecutor(min(usable_cores(), _MAX_THREADS)) as pool:
        paths = [images[image_id] for image_id in image_ids]
        try:
            found = list(progress(pool.map(look, paths), "images", len(paths), unit="image"))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return dict(zip(image_ids, found, strict=True))


def _look(path: Path, options: ReadOptions, pixels: bool) -> ImageFacts:
    try:
        kind, orientation = pixel_kind(path), orientation_of(path)
        if not pixels:
            return ImageFacts(kind=kind, orientation=orientation)
        image = read_image(path, options)
    except (InputError, OSError) as error:
        return ImageFacts(str(error))
    return ImageFacts("", kind, orientation, _digest(image), is_flat(image), _thumb(image))


def _digest(image: np.ndarray) -> bytes:
    digest = hashlib.blake2b(str(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image))
    return digest.digest()


def _thumb(image: np.ndarray) -> np.ndarray:
    cv2 = import_cv2()
    small = cv2.resize(image, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
