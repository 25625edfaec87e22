"""Image files: unreadable ones, and kinds of pixels, sizes and orientations that surprise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from DOTA_devkit.doctor.findings import ERROR, NOTE, WARNING, Example, Finding
from DOTA_devkit.doctor.image_facts import ImageFacts
from DOTA_devkit.doctor.survey import Survey
from DOTA_devkit.imaging.turn import Turn

_SHRUNK = 2.0
"""Times by which the input makes an image smaller, from which on small objects are lost."""

_LEAST_SIDE_PX = 32
_WIDEST = 8
"""Longer by shorter side, above which most of the square input is black."""


def unreadable_images(survey: Survey, facts: Mapping[str, ImageFacts]) -> Iterator[Finding]:
    """Find images that are no images, truncated, or too large to be read."""
    if bad := {i: one.fault for i, one in facts.items() if one.fault}:
        yield Finding(
            "unreadable_images", ERROR, "images that cannot be read", list(bad.values()),
            "Copy or download them again, or take them out of the lists. Training stops at the "
            "first of them, or leaves them out with `skip_bad_images`.",
            len(survey.images),
        )  # fmt: skip


def empty_images(survey: Survey, facts: Mapping[str, ImageFacts]) -> Iterator[Finding]:
    """Find images of one color, such as a border without data."""
    flat = [image_id for image_id, one in facts.items() if one.flat]
    if flat:
        labeled = set(survey.data.image_index.tolist())
        with_objects = [i for i in flat if survey.rows[i] in labeled]
        yield Finding(
            "empty_images", ERROR if with_objects else WARNING,
            "images of a single color" + (", some with labels" if with_objects else ""),
            [survey.image_file(i) for i in flat],
            "There is nothing to see in them: was the image exported wrongly? Remove them.",
            len(survey.images), survey.image_examples(flat),
        )  # fmt: skip


def pixel_kinds(survey: Survey, facts: Mapping[str, ImageFacts]) -> Iterator[Finding]:
    """Find images of 16 bits, with transparency or with a palette."""
    readable = {image_id: one for image_id, one in facts.items() if not one.fault}
    total = len(readable)
    deep = [image_id for image_id, one in readable.items() if one.kind.bits > 8]
    if deep:
        mixed = len(deep) < total
        yield Finding(
            "pixel_kinds", WARNING if mixed else NOTE,
            "images of more than 8 bits" + (", among others of 8" if mixed else ""),
            [f"{survey.image_file(i)}: {readable[i].kind.bits} bits" for i in deep],
            "Each is stretched to 8 bits by its own percentiles, so that its brightness differs "
            "from that of images of 8 bits; `depth` high_byte keeps the brightness. Convert all "
            "images alike if they come from one sensor.",
            total, survey.image_examples(deep),
        )  # fmt: skip
    if clear := [image_id for image_id, one in readable.items() if one.kind.alpha]:
        yield Finding(
            "pixel_kinds", NOTE, "images with transparency",
            [survey.image_file(i) for i in clear],
            "Transparent pixels are black in TIFFs, and show the color below them in other "
            "formats: check that they show no objects that are not labeled.",
            total, survey.image_examples(clear),
        )  # fmt: skip
    if tables := [image_id for image_id, one in readable.items() if one.kind.palette]:
        yield Finding(
            "pixel_kinds", NOTE, "images with a palette", [survey.image_file(i) for i in tables],
            "They have at most 256 colors. A screenshot or a map of classes, instead of the "
            "photo? Otherwise they are fine.",
            total, survey.image_examples(tables),
        )  # fmt: skip


def turned_images(survey: Survey, facts: Mapping[str, ImageFacts]) -> Iterator[Finding]:
    """Find photos that their EXIF data turn, beside labels of the stored pixels in particular."""
    turned = [image_id for image_id, one in facts.items() if one.orientation != 1]
    if not turned:
        return
    beside = [i for i in turned if _fits_stored_only(survey, i, facts[i].orientation)]
    remedy = (
        "All commands show a photo as its EXIF data turn it, and labels must refer to that. Where "
        "the boxes lie elsewhere, the tool showed the stored pixels: exiftool -Orientation= "
        "FILE removes the tag, and the labels fit."
    )
    if beside:
        yield Finding(
            "turned_images", ERROR,
            "photos turned by EXIF data, whose labels only fit the photo as it is stored",
            [f"{survey.image_file(i)}: orientation {facts[i].orientation}" for i in beside],
            remedy, len(survey.images), _with_boxes(survey, beside),
        )  # fmt: skip
    if rest := [image_id for image_id in turned if image_id not in set(beside)]:
        yield Finding(
            "turned_images", WARNING, "photos turned by EXIF data: check where their boxes lie",
            [f"{survey.image_file(i)}: orientation {facts[i].orientation}" for i in rest],
            remedy, len(survey.images), _with_boxes(survey, rest),
        )  # fmt: skip


def _with_boxes(survey: Survey, image_ids: list[str]) -> tuple[Example, ...]:
    """Return images to draw as a whole, with all of their boxes."""
    return tuple(
        replace(
            one,
            corners=survey.data.corners[survey.data.image_index == survey.rows[one.image_ids[0]]],
            whole=True,
        )
        for one in survey.image_examples(image_ids)
    )


def _fits_stored_only(survey: Survey, image_id: str, orientation: int) -> bool:
    """Return whether the objects lie in the image as stored, but not in the image as shown."""
    row = survey.rows[image_id]
    shown = survey.data.sizes_wh[row]
    corners = survey.data.corners[survey.data.image_index == row]
    if not len(corners) or not np.isfinite(shown).all():
        return False
    stored = np.array(Turn.of(orientation, tuple(shown)).shown_wh)
    centers = corners.mean(axis=1)
    return bool((centers <= stored).all() and (centers > shown).any())


def image_sizes(survey: Survey) -> Iterator[Finding]:
    """Find images that are scaled down a lot to fit the input, tiny ones, and narrow strips."""
    sizes = survey.data.sizes_wh
    known = np.flatnonzero(np.isfinite(sizes).all(axis=1))
    if not len(known):
        return
    height, width = survey.settings.input_hw
    shrink = (sizes[known] / (width, height)).max(axis=1)
    total = len(known)

    def size_lines(rows: np.ndarray) -> list[str]:
        return [
            f"{survey.image_file(survey.data.image_ids[k])}: {sizes[k, 0]:.0f}x{sizes[k, 1]:.0f}"
            for k in rows
        ]

    def drawn(rows: np.ndarray) -> tuple[Example, ...]:
        return survey.image_examples([survey.data.image_ids[k] for k in rows])

    if len(large := known[shrink > _SHRUNK]):
        yield Finding(
            "image_sizes", WARNING,
            f"images of which the input of {height}x{width} shows less than half of the resolution",
            size_lines(large),
            "Objects become as much smaller. Split the images (python -m DOTA_devkit split), or "
            "train with a larger `input_h` and `input_w`.",
            total, drawn(large),
        )  # fmt: skip
    if len(tiny := known[sizes[known].min(axis=1) < _LEAST_SIDE_PX]):
        yield Finding(
            "image_sizes", WARNING, f"images with a side below {_LEAST_SIDE_PX} pixels",
            size_lines(tiny),
            "A crop or an icon among photos? They are enlarged to the input, and their objects "
            "with them.", total, drawn(tiny),
        )  # fmt: skip
    aspect = sizes[known].max(axis=1) / sizes[known].min(axis=1)
    if len(stripes := known[aspect > _WIDEST]):
        yield Finding(
            "image_sizes", WARNING, f"images more than {_WIDEST} times as long as wide",
            size_lines(stripes),
            "Most of the input is black for them: split the images.", total, drawn(stripes),
        )  # fmt: skip


def size_table(survey: Survey) -> list[tuple[str, int]]:
    """Return the most frequent image sizes, and how many images have them."""
    sizes = survey.data.sizes_wh
    known = sizes[np.isfinite(sizes).all(axis=1)].astype(int).tolist()
    counts = Counter(f"{width}x{height}" for width, height in known)
    return counts.most_common(8)
