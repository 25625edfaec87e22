"""Names of classes and images as names of files: what cannot stand in a file name is escaped.

A class ``Hut/Tent`` has its detections in ``Task1_Hut%2FTent.txt``. Names come from files of
others (checkpoints, lists, results), so none of them may lead out of a folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from DOTA_devkit.errors import InputError

MAX_CLASS_NAME = 200
"""Bytes of a class name in UTF-8: more would not fit the name of a result file (255)."""

MAX_IMAGE_ID = 1000
"""Bytes of the id of an image in UTF-8, which may have folders in it."""

# The separators of folders, control characters, and a percent sign that would be read as an escape.
_UNFIT = re.compile(r"[/\\\x00-\x1f\x7f]|%(?=[0-9A-Fa-f]{2})")
# Controls, and what stands for the bytes of a name that is not UTF-8.
_ODD = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_ESCAPES = re.compile("%([0-9A-Fa-f]{2})")
_RESULT_PREFIX = re.compile("Task[12]_")


def file_stem(name: str) -> str:
    """Return the name of a class or an image as (part of) the name of a file.

    Args:
        name: any name.

    Returns:
        `name` with the separators of folders, control characters and ambiguous percent signs as
        ``%2F`` and the like; most names stay as they are.
    """
    return _UNFIT.sub(lambda match: f"%{ord(match[0]):02X}", name)


def name_of_stem(stem: str) -> str:
    """Return the name that `file_stem` turned into `stem`."""
    return _ESCAPES.sub(_unescaped, stem)


def _unescaped(match: re.Match[str]) -> str:
    char = chr(int(match[1], 16))
    # Anything else was not written by `file_stem`, and stays as it is.
    return char if char == "%" or _UNFIT.match(char) else match[0]


def result_name(class_name: str, task: int = 1) -> str:
    """Return the name of the result file of a class, ``Task1_ship.txt`` for ship."""
    return f"Task{task}_{file_stem(class_name)}.txt"


def class_of(result_file: Path | str) -> str:
    """Class name of a result file: ``Task1_small-vehicle.txt`` -> ``small-vehicle``."""
    stem = Path(result_file).stem
    return name_of_stem(_RESULT_PREFIX.sub("", stem, count=1) if task_of(result_file) else stem)


def task_of(result_file: Path | str) -> int | None:
    """Return the task, 1 or 2, in the name of a result file; None if it names no task."""
    match = _RESULT_PREFIX.match(Path(result_file).name)
    return None if match is None else int(match[0][4])


def find_result_files(folder: Path, pattern: str = "*.txt") -> list[Path]:
    """List the result files of a folder.

    Raises:
        InputError: a class with a slash in its name has its file in a folder of its own, where
            nobody would look for it.
    """
    for inner in sorted(folder.glob("Task[12]_*/")):
        files = sorted(inner.rglob("*.txt")) if inner.is_dir() else []
        if files:
            relative = files[0].relative_to(folder).with_suffix("").as_posix()
            raise InputError(
                f"{inner}: expected result files beside each other, got a folder of them; rename "
                f"{files[0]} to {folder / file_stem(relative)}.txt (a class name with a slash)"
            )
    return sorted(folder.glob(pattern))


def is_odd(name: str) -> bool:
    """Whether a name has line breaks, other control characters, or bytes that are not UTF-8."""
    return _ODD.search(name) is not None


def check_ids(image_ids: Iterable[str]) -> None:
    """Check that ids of images can stand in the lines of a list or result file.

    Raises:
        InputError: one has a line break, another control character, or is not UTF-8.
    """
    for image_id in image_ids:
        if is_odd(image_id):
            raise InputError(
                f"{image_id!a}: expected the name of an image without line breaks and control "
                "characters, in UTF-8, as it becomes a part of text files: rename the image"
            )


def is_short(name: str, limit: int) -> bool:
    """Whether a name has at most `limit` bytes in UTF-8."""
    return len(name) <= limit and len(name.encode("utf-8", "surrogatepass")) <= limit


def check_class_name(name: str, source: str = "") -> None:
    """Check the length of a class name.

    Args:
        name: the name.
        source: where it comes from, such as ``file:line``, for the error.

    Raises:
        InputError: it has more than `MAX_CLASS_NAME` bytes.
    """
    _check_length("a class name", name, MAX_CLASS_NAME, source)


def check_image_id(image_id: str, source: str = "") -> None:
    """Check the length of the id of an image; `source` as for `check_class_name`.

    Raises:
        InputError: it has more than `MAX_IMAGE_ID` bytes.
    """
    _check_length("the id of an image", image_id, MAX_IMAGE_ID, source)


def _check_length(what: str, name: str, limit: int, source: str) -> None:
    if not is_short(name, limit):
        size = len(name.encode("utf-8", "surrogatepass"))
        raise InputError(
            f"{f'{source}: ' if source else ''}expected {what} of at most {limit} bytes, got "
            f"{size} bytes: {name[:40]!r}..."
        )


def path_inside(folder: Path | str, name: str, suffix: str, source: Path | str = "") -> Path:
    """Return ``folder/name + suffix``, after checking that it lies in the folder.

    Args:
        folder: the folder.
        name: id of an image, which may have folders in it ("a/b").
        suffix: suffix of the file.
        source: where the name comes from, for the error.

    Raises:
        InputError: `name` leads out of `folder`.
    """
    parts = re.split(r"[/\\]", name)
    if Path(name).is_absolute() or Path(name).drive or ".." in parts or "\0" in name:
        raise InputError(
            f"{f'{source}: ' if source else ''}expected the id of an image, got {name!r}, which "
            f"leads out of the folder {folder}"
        )
    return Path(folder) / f"{name}{suffix}"
