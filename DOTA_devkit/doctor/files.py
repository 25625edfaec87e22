"""Images and labels without each other, labels that cannot be read, and names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from DOTA_devkit.doctor.findings import ERROR, NOTE, WARNING, Finding
from DOTA_devkit.doctor.survey import Survey
from DOTA_devkit.errors import did_you_mean

_MAX_SUGGESTIONS = 20
"""Names for which a similar one is looked for, which takes long among many."""


def image_names(survey: Survey) -> Iterator[Finding]:
    """Find images that share an id, for which it is unclear which one the labels belong to."""
    if faults := survey.faults.get("image_names"):
        yield Finding(
            "image_names", ERROR, "images share an id (the file name without its suffix)",
            list(faults),
            "A label file belongs to one image: rename or remove the other image.",
        )  # fmt: skip


def label_text(survey: Survey) -> Iterator[Finding]:
    """Find label files of which a line cannot be understood."""
    if faults := survey.faults.get("label_text"):
        yield Finding(
            "label_text", ERROR, "label files that cannot be used", list(faults),
            "Mend the line that is named; training stops at each of them. Labels of another tool "
            "are converted by python -m DOTA_devkit convert.",
            len(survey.data.image_ids) + len(faults),
        )  # fmt: skip


def missing_labels(survey: Survey) -> Iterator[Finding]:
    """Find images without a label file, in the lists that need labels."""
    labeled = {
        image_id
        for image_id, path in zip(survey.data.image_ids, survey.data.label_paths, strict=True)
        if path is not None
    }
    bare = [i for i in survey.images if i not in labeled and not _is_unread(survey, i)]
    # Test images may have no labels, but then all of them: scores need the labels of each.
    test = survey.ids_of("test")
    needed = {*survey.ids_of("train"), *survey.ids_of("val")}
    if any(image_id in labeled for image_id in test):
        needed.update(test)
    total = len(survey.images)
    if listed := [i for i in bare if i in needed]:
        yield Finding(
            "missing_labels", ERROR, "images of the lists have no label file",
            [survey.image_file(i) for i in listed],
            "Label them, or take them out of the lists. An image without objects has an empty "
            "label file (python -m DOTA_devkit convert with --empty writes these).",
            total, survey.image_examples(listed),
        )  # fmt: skip
    if others := [i for i in bare if i not in needed and i not in set(test)]:
        yield Finding(
            "missing_labels", NOTE, "images without a label file, in no list",
            [survey.image_file(i) for i in others],
            "Nothing uses them; label them, or leave them.",
            total, survey.image_examples(others),
        )  # fmt: skip


def _is_unread(survey: Survey, image_id: str) -> bool:
    """Return whether a label file of the image exists that could not be read."""
    return any(f"/{image_id}." in text for text in survey.faults.get("label_text", ()))


def missing_images(survey: Survey) -> Iterator[Finding]:
    """Find label files without an image."""
    rows = [
        (image_id, path)
        for image_id, path in zip(survey.data.image_ids, survey.data.label_paths, strict=True)
        if path is not None and image_id not in survey.images
    ]
    if rows:
        yield Finding(
            "missing_images", WARNING, "labels without an image",
            [
                f"{survey.file_of(path)}: {image_id}{suggestion(k, image_id, survey.images)}"
                for k, (image_id, path) in enumerate(rows)
            ],
            "Nothing is learned from them: add the images, or mend the names, which must be the "
            "same but for the suffix.",
            len(survey.data.image_ids),
        )  # fmt: skip


def label_sizes(survey: Survey) -> Iterator[Finding]:
    """Find label files that were made for an image of another size."""
    places = []
    for image_id, declared in survey.declared_wh.items():
        size = survey.data.sizes_wh[survey.rows[image_id]]
        if np.isfinite(size).all() and tuple(size) != tuple(declared):
            width, height = size.astype(int)
            path = survey.data.label_paths[survey.rows[image_id]]
            places.append(
                f"{survey.file_of(path)}: made for {image_id} of {declared[0]}x{declared[1]}, but "
                f"the image has {width}x{height} (width x height)"
            )
    if places:
        yield Finding(
            "label_sizes", ERROR, "labels of an image of another size", places,
            "The boxes lie elsewhere in an image that was resized, cropped or turned: take the "
            "image that was labeled, or label this one.",
            len(survey.declared_wh),
        )  # fmt: skip


def suggestion(number: int, name: str, known: Iterable[str]) -> str:
    """Return what `did_you_mean` does for the first names of a finding, "" for all others."""
    return did_you_mean(name, known) if number < _MAX_SUGGESTIONS else ""
