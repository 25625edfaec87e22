"""Results: whether a server accepts them, and the usual causes of a low score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from DOTA_devkit.doctor.findings import ERROR, NOTE, WARNING, Finding
from DOTA_devkit.doctor.survey import Survey
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_names import class_of, find_result_files
from DOTA_devkit.formats import Task1, read_task1
from DOTA_devkit.patches import parse_patch_id
from DOTA_devkit.polygon import grouped_iou
from DOTA_devkit.submit import TEST_IMAGES, check_submission

_BEST = 2000
"""Detections of a class that are compared with the labels: those with the highest scores."""
_MIN_MATCHES = 5
_MOSTLY = 0.6
_HIGH_SCORE = 0.15
"""Lowest score in results, above which the curve of precision and recall is cut off."""


def submission(survey: Survey) -> Iterator[Finding]:
    """Find what the server of DOTA would reject or score too low."""
    classes = _classes(survey)
    expected = TEST_IMAGES.get(survey.release or "")
    listed = survey.ids_of("test") or survey.ids_of("val")
    report = check_submission(
        survey.results, classes, image_ids=listed or None, expected_images=expected
    )
    for problem in report.problems:
        yield Finding("submission", ERROR, *_explained(problem))


def _explained(problem: str) -> tuple[str, list[str], str]:
    """Return title, place and remedy of a problem of `check_submission`."""
    for sign, title, remedy in (
        (
            "are patches", "results that are not merged: their ids are those of patches",
            "Merge them into whole images first: python -m DOTA_devkit merge RESULTS MERGED. "
            "Unmerged results get about 58 on DOTA where merged ones get 75.",
        ),
        (
            "test images have a detection", "results of a part of the test set only",
            "Every object of the other images counts as missed: half of DOTA's test set gives an "
            "AP of about 38. Run the detector on all images.",
        ),
        (
            "not in the list", "results of images that are not in the list",
            "Another list, another set, or ids with a suffix: the server does not know them.",
        ),
        (
            "files are missing", "result files that are missing",
            "The server expects a file for each class, an empty one where nothing was found.",
        ),
        (
            "belong to no class", "result files of no class",
            "Rename them to Task1_CLASS.txt with a class of the release, or give `classes` or the "
            "`version`.",
        ),
    ):  # fmt: skip
        if sign in problem:
            return title, [problem], remedy
    return "result files that cannot be read", [problem], "Mend the line that is named."


def low_scores(survey: Survey) -> Iterator[Finding]:
    """Find a wrong order of the classes, boxes that hit nothing, and scores that are cut off."""
    detections = _read(survey)
    scores = np.concatenate([np.zeros(0), *(one.scores for one in detections.values())])
    if not len(scores):
        return
    if scores.min() > _HIGH_SCORE:
        yield Finding(
            "low_scores", WARNING, "results without detections of low scores",
            [f"{survey.results}: the lowest score is {scores.min():.3g}"],
            "AP counts what is found at any score: evaluate with `conf_thresh` 0.01, a high one "
            "is for looking at pictures.",
        )  # fmt: skip
    matches, compared = _matches(survey, detections)
    wrong = {
        name: counts
        for name, counts in matches.items()
        if sum(counts.values()) >= _MIN_MATCHES
        and counts.most_common(1)[0][0] != name
        and counts.most_common(1)[0][1] >= _MOSTLY * sum(counts.values())
    }
    if wrong:
        yield Finding(
            "low_scores", ERROR, "classes whose detections lie on objects of another class",
            [
                f"Task1_{name}.txt: {counts.most_common(1)[0][1]} of {sum(counts.values())} on "
                f"{counts.most_common(1)[0][0]}"
                for name, counts in wrong.items()
            ],
            "The class list has another order than in training: give the `classes` of the "
            "checkpoint, in its order, and run the detector again.", len(matches),
        )  # fmt: skip
    hits = sum(sum(counts.values()) for counts in matches.values())
    if compared >= 4 * _MIN_MATCHES and hits < 0.05 * compared:
        yield Finding(
            "low_scores", ERROR, "detections that lie on no object",
            [f"{survey.results}: {hits} of the {compared} best have an IoU of 0.5 with a label"],
            "Coordinates of another size (of the network's input, or of patches of other images)? "
            "Another set of images, or an untrained model?",
        )  # fmt: skip
    elif compared == 0 and len(survey.data.names):
        yield Finding(
            "low_scores", NOTE, "results that no label can be compared with",
            [f"{survey.results}: no detection is on an image with labels"],
            "Without labels only the files are judged.",
        )  # fmt: skip


def _classes(survey: Survey) -> tuple[str, ...]:
    classes = survey.classes or tuple(survey.data.rows_by_class())
    return classes or tuple(class_of(p) for p in find_result_files(survey.results, "Task1_*"))


def _read(survey: Survey) -> dict[str, Task1]:
    """Read the result files; those that cannot be read are findings of `submission`."""
    found = {}
    for path in find_result_files(survey.results, "Task1_*"):
        try:
            found[class_of(path)] = read_task1(path)
        except InputError:
            continue
    return found


def _matches(
    survey: Survey, detections: Mapping[str, Task1]
) -> tuple[dict[str, Counter[str]], int]:
    """Compare the best detections with the labels.

    Returns:
        Class of the detections -> how many lie on objects of each class (IoU of 0.5), and how
        many detections were compared.
    """
    rows = survey.rows
    labeled = {rows[i] for i, p in zip(rows, survey.data.label_paths, strict=True) if p is not None}
    matches, compared = {}, 0
    for name, one in detections.items():
        order = np.argsort(-one.scores, kind="stable")[:_BEST]
        corners, images = _in_images([one.image_ids[k] for k in order], one.corners[order], rows)
        known = np.isin(images, list(labeled))
        corners, images = corners[known], images[known]
        compared += len(images)
        i, j, iou = grouped_iou(corners, survey.data.corners, images, survey.data.image_index)
        i, j, iou = i[iou >= 0.5], j[iou >= 0.5], iou[iou >= 0.5]
        best = {int(i[k]): int(j[k]) for k in np.argsort(iou, kind="stable")}
        matches[name] = Counter(str(survey.data.names[row]) for row in best.values())
    return matches, compared


def _in_images(
    image_ids: list[str], corners: np.ndarray, rows: Mapping[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return corners in the images of the labels, and the rows of these; -1 for other images."""
    corners, images = corners.copy(), np.full(len(image_ids), -1)
    for k, image_id in enumerate(image_ids):
        patch = parse_patch_id(image_id)
        if image_id in rows or patch is None:
            images[k] = rows.get(image_id, -1)
        else:
            images[k] = rows.get(patch.name, -1)
            corners[k] = (corners[k] + (patch.x, patch.y)) / patch.rate
    return corners, images
