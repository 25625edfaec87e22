"""The checks: one row each, which the command, the documentation and the tests walk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from DOTA_devkit.doctor import angles, boxes, classes, files, lists, pixels, results, sizes, twins
from DOTA_devkit.doctor.findings import Finding
from DOTA_devkit.doctor.image_facts import ImageFacts
from DOTA_devkit.doctor.survey import Survey

Facts = Mapping[str, ImageFacts]


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        about: what it looks for, for the documentation.
        run: yields what it finds in a survey; with `needs_images` also given the image facts.
        needs_images: look at the image files, which takes the most time.
        needs: what the survey must include ("pixels", "model" or "results"); else it is not run.
        at_start: part of the short check at the start of a training. The others take long there,
            or training reports the same in its own messages.
    """

    about: str
    run: Callable[[Survey], Iterator[Finding]] | Callable[[Survey, Facts], Iterator[Finding]]
    needs_images: bool = False
    needs: str = ""
    at_start: bool = False


CHECKS: dict[str, Check] = {
    "image_names": Check("images that share an id", files.image_names),
    "label_text": Check("label files that cannot be parsed, with file and line", files.label_text),
    "missing_labels": Check("images without a label file", files.missing_labels),
    "missing_images": Check("labels without an image", files.missing_images),
    "label_sizes": Check("labels made for an image of another size", files.label_sizes),
    "list_text": Check("lists that are empty, or lead out of the folder", lists.list_text),
    "list_entries": Check("list entries that name no image, or repeat one", lists.list_entries),
    "list_overlap": Check(
        "images, or patches of one image, in train and in val or test", lists.list_overlap
    ),
    "unlisted_images": Check("images in no list", lists.unlisted_images),
    "unreadable_images": Check(
        "files that are truncated, or are not images", pixels.unreadable_images, True
    ),
    "empty_images": Check("images of a single color", pixels.empty_images, True, "pixels"),
    "pixel_kinds": Check("16 bits, transparency, palettes", pixels.pixel_kinds, True),
    "turned_images": Check(
        "photos that are rotated by their EXIF data, and labels that do not match them",
        pixels.turned_images,
        True,
    ),
    "image_sizes": Check(
        "images that are scaled down a lot to fit the input, tiny ones and narrow strips",
        pixels.image_sizes,
    ),
    "same_pixels": Check(
        "images with the same pixels, in train and val or test above all",
        twins.same_pixels,
        True,
        "pixels",
    ),
    "near_duplicates": Check(
        "images of val or test that look nearly like one of train: saved again, resized, "
        "brightened, rotated, mirrored",
        twins.near_duplicates,
        True,
        "pixels",
    ),
    "outside": Check("objects outside their image", boxes.outside, at_start=True),
    "degenerate": Check("boxes without area", boxes.degenerate, at_start=True),
    "crossing": Check("boxes whose edges cross (bow ties)", boxes.crossing),
    "duplicates": Check(
        "objects labeled twice, as one class or as two", boxes.duplicates, at_start=True
    ),
    "too_large": Check(
        "boxes as large as the image, and sizes far from those of the class",
        sizes.too_large,
        at_start=True,
    ),
    "below_cell": Check("objects smaller than a cell in the input", sizes.below_cell),
    "min_size": Check("objects that `min_size` excludes", sizes.min_size),
    "max_objs": Check("objects that `max_objs` excludes", sizes.max_objs),
    "shared_cells": Check(
        "two centers of one class in a cell of the heat map", sizes.shared_cells, at_start=True
    ),
    "upright_labels": Check(
        "angles that are all 0 or 90: horizontal labels converted",
        angles.upright_labels,
        at_start=True,
    ),
    "class_list": Check("a class list that is missing or cannot be used", classes.class_list),
    "unknown_classes": Check("classes that are not in the list", classes.unknown_classes),
    "misspelled_classes": Check(
        "names that look like a misspelling of another one",
        classes.misspelled_classes,
        at_start=True,
    ),
    "rare_classes": Check(
        "classes that are rare, or absent from train, val or test",
        classes.rare_classes,
        at_start=True,
    ),
    "checkpoint_classes": Check(
        "another class list than that of a checkpoint", classes.checkpoint_classes, needs="model"
    ),
    "submission": Check(
        "results that a server rejects or scores too low", results.submission, needs="results"
    ),
    "low_scores": Check(
        "results in a wrong class order, on no object, or cut at a high score",
        results.low_scores,
        needs="results",
    ),
}
"""Name of a check -> the check, in the order of the page within a severity."""
