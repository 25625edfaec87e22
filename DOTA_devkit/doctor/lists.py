"""Id lists: entries that name nothing, repeated ones, and images in two lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from DOTA_devkit.doctor.files import suggestion
from DOTA_devkit.doctor.findings import ERROR, NOTE, WARNING, Finding
from DOTA_devkit.doctor.survey import Survey
from DOTA_devkit.lists import count_overlap


def list_text(survey: Survey) -> Iterator[Finding]:
    """Find lists that are empty or no text, and entries that lead out of the folder."""
    if faults := survey.faults.get("list_text"):
        yield Finding(
            "list_text", ERROR, "lists or entries that cannot be used", list(faults),
            "A list has one image id per line: the file name of the image without suffix.",
        )  # fmt: skip


def list_entries(survey: Survey) -> Iterator[Finding]:
    """Find entries that name no image, or name one again."""
    unknown, repeated, total = [], [], 0
    for one in survey.lists.values():
        first: dict[str, int] = {}
        total += len(one.entries)
        for (line, text), image_id in zip(one.entries, one.ids, strict=True):
            place = f"{survey.file_of(one.path)}:{line}: {text}"
            if image_id not in survey.images:
                unknown.append(place + suggestion(len(unknown), image_id, survey.images))
            elif first.setdefault(image_id, line) != line:
                repeated.append(f"{place}, as in line {first[image_id]}")
    if unknown:
        yield Finding(
            "list_entries", ERROR, "list entries that name no image", unknown,
            "Mend the entries, or add the images: training stops where one is missing.", total,
        )  # fmt: skip
    if repeated:
        yield Finding(
            "list_entries", WARNING, "list entries that repeat another one", repeated,
            "A repeated training image counts twice in every epoch: remove the entry unless that "
            "is what you want.", total,
        )  # fmt: skip


def list_overlap(survey: Survey) -> Iterator[Finding]:
    """Find images, or patches of one image, that are trained on and evaluated on."""
    train = survey.ids_of("train")
    for name in ("val", "test"):
        if name not in survey.lists:
            continue
        ids, sources = count_overlap(train, survey.ids_of(name))
        listed = "train" in survey.lists
        why = "" if listed else " (there is no train.txt, so training takes all images)"
        if ids:
            yield Finding(
                "list_overlap", ERROR, f"images in both the training and the {name} list{why}",
                [survey.image_file(i) for i in ids],
                "Scores on images of the training set say nothing about new images: take them out "
                "of one list (python -m DOTA_devkit lists draws new ones).",
                len(survey.ids_of(name)), survey.image_examples(ids),
            )  # fmt: skip
        if patches := sorted(set(sources) - set(ids)):
            yield Finding(
                "list_overlap", ERROR,
                f"source images with patches in both the training and the {name} list{why}",
                patches,
                "Overlapping patches show the same objects: keep all patches of an image in one "
                "list (python -m DOTA_devkit lists does).",
            )  # fmt: skip


def unlisted_images(survey: Survey) -> Iterator[Finding]:
    """Find images that no list has."""
    if not survey.lists:
        return
    listed = {image_id for name in ("train", "val", "test") for image_id in survey.ids_of(name)}
    if rest := [image_id for image_id in survey.images if image_id not in listed]:
        yield Finding(
            "unlisted_images", NOTE, "images in no list", [survey.image_file(i) for i in rest],
            "Nothing uses them; add them to a list if they are labeled.", len(survey.images),
        )  # fmt: skip


def set_sizes(survey: Survey) -> dict[str, int]:
    """Return the number of images of each list, and of all."""
    counts = Counter({name: len(survey.ids_of(name)) for name in survey.lists})
    return {"all": len(survey.images), **counts}
