"""Duplicate and near-duplicate images, above all between training and validation or test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from DOTA_devkit.doctor.findings import ERROR, MAX_EXAMPLES, WARNING, Example, Finding
from DOTA_devkit.doctor.image_facts import THUMB_PX, ImageFacts
from DOTA_devkit.doctor.survey import Survey
from DOTA_devkit.imaging import import_cv2

NEAR = 0.9
"""Correlation of the details of two images, from which on they count as one view. Images that
were saved again, resized or brightened are above it. The most alike pair of training and test
images of HIT-UAV, whose lists show the same places at other times, has 0.67."""

_COARSE_PX = 16
_COARSE = 0.8
"""Correlation of copies of 16 x 16 pixels, below which the details are not compared."""
_CANDIDATES = 20
"""Images with which one is compared in detail, at most."""
_DETAIL_PX = 9
"""Side of the mean that is taken away: what is left are details, not light and shadow."""
_LEAST_DETAIL = 1.5
"""Standard deviation of the details in gray levels; less is sea or sky, and all of it is alike."""


def same_pixels(survey: Survey, facts: Mapping[str, ImageFacts]) -> Iterator[Finding]:
    """Find images with the very same pixels, in whatever format they are saved."""
    groups: dict[bytes, list[str]] = {}
    for image_id, one in facts.items():
        if one.digest and not one.flat:
            groups.setdefault(one.digest, []).append(image_id)
    train = set(survey.ids_of("train"))
    measured = {*survey.ids_of("val"), *survey.ids_of("test")} - train
    leaks, twins = [], []
    for group in (group for group in groups.values() if len(group) > 1):
        leak = [(i, j) for i in group if i in train for j in group if j in measured]
        leaks += _one_each(leak)
        if not leak:
            twins += [(group[0], other) for other in group[1:]]
    if leaks:
        yield Finding(
            "same_pixels", ERROR, "images of val or test that are, by their pixels, in train too",
            _pair_lines(survey, leaks), _LEAK, len(measured), _pairs(survey, leaks),
        )  # fmt: skip
    if twins:
        yield Finding(
            "same_pixels", WARNING, "images that have the same pixels as another one",
            _pair_lines(survey, twins),
            "Keep one of them, with the right labels; the others only count it twice.",
            len(facts), _pairs(survey, twins),
        )  # fmt: skip


_LEAK = (
    "Scores on images of the training set say nothing about new images: take them out of one "
    "list. python -m DOTA_devkit lists draws new lists."
)


def _one_each(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Keep one pair for each second image."""
    return list({second: (first, second) for first, second in reversed(pairs)}.values())


def near_duplicates(survey: Survey, facts: Mapping[str, ImageFacts]) -> Iterator[Finding]:
    """Find images of val and test that look nearly like one of train, also rotated or mirrored."""
    train = [i for i in survey.ids_of("train") if _has_details(facts.get(i))]
    known = set(survey.ids_of("train"))
    measured = [
        i
        for i in dict.fromkeys([*survey.ids_of("val"), *survey.ids_of("test")])
        if i not in known and _has_details(facts.get(i))
    ]
    digests = {facts[i].digest for i in train}
    measured = [i for i in measured if facts[i].digest not in digests]
    if not train or not measured:
        return
    pairs = nearest_views(
        np.stack([facts[i].thumb for i in train]), np.stack([facts[i].thumb for i in measured])
    )
    found = [(train[k], measured[row]) for row, (k, alike) in enumerate(pairs) if alike >= NEAR]
    if found:
        yield Finding(
            "near_duplicates", WARNING, "images of val or test that nearly look like one of train",
            _pair_lines(survey, found, "looks like"), _LEAK, len(measured), _pairs(survey, found),
        )  # fmt: skip


def nearest_views(known: np.ndarray, queries: np.ndarray) -> list[tuple[int, float]]:
    """Find for each image the one that looks most alike, in any of eight orientations.

    Args:
        known: ``[N, S, S]`` uint8 gray copies, N > 0.
        queries: ``[M, S, S]`` the same of other images.

    Returns:
        For each query the row of `known` and the correlation of their details.
    """
    coarse = np.stack([_coarse(one) for one in known])
    found = []
    for query in queries:
        views = [np.rot90(one, turns) for one in (query, query[:, ::-1]) for turns in range(4)]
        rough = np.stack([_coarse(view) for view in views]) @ coarse.T  # [8, N]
        best = np.argsort(-rough, axis=None)[:_CANDIDATES]
        pairs = [divmod(int(k), len(known)) for k in best if rough.flat[k] >= _COARSE]
        details = {view: _details(views[view]) for view, _ in pairs}
        scores = [(float(details[view] @ _details(known[row])), row) for view, row in pairs]
        alike, row = max(scores, default=(0.0, 0))
        found.append((row, alike))
    return found


def _coarse(thumb: np.ndarray) -> np.ndarray:
    """Return the light and shadow of a gray copy as a vector of length 1."""
    step = THUMB_PX // _COARSE_PX
    small = thumb.reshape(_COARSE_PX, step, _COARSE_PX, step).mean(axis=(1, 3))
    return _unit(small)


def _details(thumb: np.ndarray) -> np.ndarray:
    """Return the details of a gray copy as a vector of length 1."""
    return _unit(_high_pass(thumb))


def _high_pass(thumb: np.ndarray) -> np.ndarray:
    values = thumb.astype(np.float32)
    cv2 = import_cv2()
    return values - cv2.blur(values, (_DETAIL_PX, _DETAIL_PX), borderType=cv2.BORDER_REFLECT)


def _unit(values: np.ndarray) -> np.ndarray:
    flat = (values - values.mean()).astype(np.float32).ravel()
    return flat / max(float(np.linalg.norm(flat)), 1e-6)


def _has_details(facts: ImageFacts | None) -> bool:
    thumb = None if facts is None else facts.thumb
    return thumb is not None and float(_high_pass(thumb).std()) >= _LEAST_DETAIL


def _pair_lines(survey: Survey, pairs: list[tuple[str, str]], how: str = "is") -> list[str]:
    return [f"{survey.image_file(b)} {how} {survey.image_file(a)}" for a, b in pairs]


def _pairs(survey: Survey, pairs: list[tuple[str, str]]) -> tuple[Example, ...]:
    return tuple(
        Example(f"{survey.image_file(a)} | {survey.image_file(b)}", (a, b))
        for a, b in pairs[:MAX_EXAMPLES]
    )
