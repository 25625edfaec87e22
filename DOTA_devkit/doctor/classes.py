"""Class names: misspelled, unknown, rare and absent ones, and those of a checkpoint."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping

import numpy as np

from DOTA_devkit.class_lists import CLASS_FILE
from DOTA_devkit.doctor.boxes import found
from DOTA_devkit.doctor.findings import ERROR, NOTE, WARNING, Finding
from DOTA_devkit.doctor.survey import FROM_RELEASE, Survey
from DOTA_devkit.errors import did_you_mean
from DOTA_devkit.formats import DOTA_CLASSES

_RARE = 10
"""Objects for training, below which nothing general is learned."""
_ALIKE = 0.85
_SLIPS = 0.05
"""Objects of the misspelled name by those of the right one, at most."""


def class_list(survey: Survey) -> Iterator[Finding]:
    """Find class lists that cannot be used, or that are missing."""
    if faults := survey.faults.get("class_list"):
        yield Finding(
            "class_list", ERROR, "class list that cannot be used", list(faults),
            "A class list has one name per line, in the order of the classes.",
        )  # fmt: skip
        return
    names = list(survey.data.rows_by_class())
    where = survey.file_of(survey.root / CLASS_FILE)
    if survey.classes is None and names:
        yield Finding(
            "class_list", WARNING, "classes that no list names: training would take DOTA's 15",
            [name for name in names if name not in DOTA_CLASSES["1.0"]],
            f"Write the classes into {where}, one per line, or give `classes`; their order is that "
            "of the network's channels.",
            len(names),
        )  # fmt: skip
    elif survey.class_source.startswith(FROM_RELEASE) and len(names) < len(survey.classes):
        yield Finding(
            "class_list", NOTE, f"class list that is missing: {survey.class_source}",
            [f"{len(names)} of these {len(survey.classes)} classes have objects"],
            f"To train on these alone, write them into {where}, one per line.",
        )  # fmt: skip


def unknown_classes(survey: Survey) -> Iterator[Finding]:
    """Find objects of a class that is not in the class list."""
    if survey.classes is None:
        return
    for name, rows in survey.data.rows_by_class().items():
        if name not in survey.classes:
            yield from found(
                survey, "unknown_classes", ERROR,
                f"objects of the class {name!r}, which is not in the list"
                f"{_nearest(name, survey.classes)}",
                np.sort(rows),
                "Training stops at them. Rename or drop the class (python -m DOTA_devkit convert "
                f"with --rename or --drop), or add it to the list ({survey.class_source}).",
            )  # fmt: skip


def _nearest(name: str, classes: tuple[str, ...]) -> str:
    same = next((one for one in classes if _plain(one) == _plain(name)), None)
    return f" (did you mean {same}?)" if same else did_you_mean(name, classes)


def misspelled_classes(survey: Survey) -> Iterator[Finding]:
    """Find names that look like a misspelling of another one, if there is no class list."""
    counts = {name: len(rows) for name, rows in survey.data.rows_by_class().items()}
    if survey.classes is not None:
        counts = {name: n for name, n in counts.items() if name in survey.classes}
    for name, right in sorted(_slips(counts).items()):
        rows = np.sort(survey.data.rows_by_class()[name])
        yield from found(
            survey, "misspelled_classes", WARNING,
            f"objects of the class {name!r}, which seems to be {right!r} misspelled", rows,
            f"Rename it: python -m DOTA_devkit convert with --rename '{name}={right}'. If it is "
            "another class, all is well.",
        )  # fmt: skip


def _slips(counts: Mapping[str, int]) -> dict[str, str]:
    """Return misspelled name -> the more frequent name that it seems to be."""
    slips = {}
    for name, count in counts.items():
        for other, more in counts.items():
            if (more, other) <= (count, name) or re.sub(r"\D", "", name) != re.sub(
                r"\D", "", other
            ):
                continue
            alike = difflib.SequenceMatcher(None, name, other).ratio() >= _ALIKE
            if _plain(name) == _plain(other) or (alike and count <= _SLIPS * more):
                slips[name] = other
                break
    return slips


def _digits(name: str) -> str:
    return re.sub(r"\D", "", name)


def _plain(name: str) -> str:
    """Return a name without what people write in different ways: case, hyphens, plural."""
    return re.sub(r"[\W_]", "", name.casefold()).removesuffix("s")


def rare_classes(survey: Survey) -> Iterator[Finding]:
    """Find classes with few objects or none, in training or in what is measured."""
    if not len(survey.data.names):
        return
    train = survey.counts(survey.in_list("train"))
    names = survey.classes or tuple(train)
    own_list = survey.classes is not None and not survey.class_source.startswith(FROM_RELEASE)
    absent = [name for name in names if not train.get(name)]
    if absent and (own_list or any(name in train for name in absent)):
        yield Finding(
            "rare_classes", WARNING, "classes without an object in the training set", absent,
            "The detector can never find them: label some, take the class out of the list, or "
            "draw new lists.", len(names),
        )  # fmt: skip
    if rare := [name for name in names if 0 < train.get(name, 0) < _RARE]:
        yield Finding(
            "rare_classes", WARNING, f"classes with fewer than {_RARE} objects for training",
            [f"{name}: {train[name]}" for name in rare],
            "Too few to learn what they have in common: label more, merge them with another class "
            "(python -m DOTA_devkit convert with --rename), or drop them.", len(names),
        )  # fmt: skip
    for list_name in ("val", "test"):
        counts = survey.counts(survey.in_list(list_name))
        if not any(counts.values()):
            continue
        missing = [name for name in names if train.get(name) and not counts.get(name)]
        if missing:
            yield Finding(
                "rare_classes", WARNING, f"classes of the training set without any in {list_name}",
                [f"{name}: {train[name]} for training" for name in missing],
                "Their AP is unknown, and the mean is that of the others: draw new lists (python "
                "-m DOTA_devkit lists).", len(names),
            )  # fmt: skip


def checkpoint_classes(survey: Survey) -> Iterator[Finding]:
    """Compare the classes of a checkpoint with those of the data."""
    model = survey.model
    labels = tuple(survey.data.rows_by_class())
    path = survey.file_of(model.path)
    if model.names is None:
        expected = len(survey.classes) if survey.classes else len(labels)
        if model.count != expected:
            yield Finding(
                "checkpoint_classes", ERROR, "checkpoint with another number of classes",
                [f"{path}: {model.count} classes, the data have {expected}"], _CHECKPOINT,
            )  # fmt: skip
        else:
            yield Finding(
                "checkpoint_classes", NOTE, "checkpoint without class names",
                [f"{path}: {model.count} classes whose order it does not state"],
                "Make sure that the class list has the order of its training.",
            )  # fmt: skip
        return
    if unknown := [name for name in labels if name not in model.names]:
        yield Finding(
            "checkpoint_classes", ERROR, f"classes of the labels that {path} does not know",
            [f"{name}{did_you_mean(name, model.names)}" for name in unknown], _CHECKPOINT,
            len(labels),
        )  # fmt: skip
    if survey.classes and survey.classes != model.names:
        same = set(survey.classes) == set(model.names)
        title = "in another order than" if same else "other than"
        yield Finding(
            "checkpoint_classes", ERROR, f"class list {title} that of {path}",
            [
                f"channel {k}: {ours or 'none'} in the list, {theirs or 'none'} in the checkpoint"
                for k, (ours, theirs) in enumerate(_paired(survey.classes, model.names))
                if ours != theirs
            ],
            _CHECKPOINT,
        )  # fmt: skip


_CHECKPOINT = (
    "Give the classes of the checkpoint, in its order, to test and evaluate it. To train it for "
    "other classes, start from it with `finetune`."
)


def _paired(a: tuple[str, ...], b: tuple[str, ...]) -> list[tuple[str, str]]:
    length = max(len(a), len(b))
    return list(zip(a + ("",) * (length - len(a)), b + ("",) * (length - len(b)), strict=True))
