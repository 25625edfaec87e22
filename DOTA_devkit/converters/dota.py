"""DOTA label text (`labelTxt`): reading it, and writing what other formats hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from DOTA_devkit.converters.annotation import Annotation
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.formats import read_labels


def read_dota(path: Path | str) -> Annotation:
    """The labels of one DOTA text file."""
    path = Path(path)
    return Annotation(image_id=path.stem, path=path, labels=read_labels(path))


def check_dota_names(annotation: Annotation) -> None:
    """InputError with file and line for a class name that the blank-separated text cannot carry."""
    for name, line in zip(annotation.labels.names, annotation.labels.lines, strict=True):
        if len(name.split()) != 1:
            raise InputError(
                f"{annotation.path}:{line}: class {name!r} holds a blank, which label text cannot "
                f"carry; give --rename '{name}={'-'.join(name.split())}'"
            )


def write_dota(
    path: Path | str, annotation: Annotation, classes: Sequence[str] | None = None
) -> None:
    """One line an object: eight corner values, class, difficulty.

    The class is its position in `classes` where these are given, else its name. Values keep two
    decimals: 0.005 pixels are far below what anybody can label.
    """
    labels = annotation.labels
    with replacing(path) as file:
        for corners, name, difficult in zip(
            labels.corners, labels.names, labels.difficult, strict=True
        ):
            values = " ".join(format_number(value, 2) for value in corners.ravel())
            label = name if classes is None else classes.index(name)
            file.write(f"{values} {label} {difficult}\n")


def format_number(value: float, decimals: int) -> str:
    """The shortest text of `value` rounded to `decimals`: 12.5, 7, 0."""
    text = f"{value:.{decimals}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
